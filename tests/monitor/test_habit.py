"""How days differ: what is read off a reference, and that it does not mistake chance for a habit."""

import numpy as np
import pytest

from kaizen.monitor.columns.binning import bins_of, tally
from kaizen.monitor.columns.habit import Measure, Value, bin_scores, habit_of, values


def days(rng, count, level, rows=150):
    """Return the bins and the table of so many days whose mean is `level(day)`."""
    samples = [rng.standard_normal(rows) * 0.5 + level(day) for day in range(count)]
    bins = bins_of("number", np.concatenate(samples))
    return bins, np.stack([tally(bins, sample) for sample in samples])


WEEKDAYS = np.arange(70) % 7


def autoregressive(rng, coefficient):
    x = [0.0]
    for _ in range(400):
        x.append(coefficient * x[-1] + rng.standard_normal())
    return lambda day: x[day + 50]


def test_days_that_do_not_differ_are_blocks_by_themselves():
    lengths = []
    for seed in range(20):
        bins, table = days(np.random.default_rng(seed), 70, lambda _: 0.0)
        habit = habit_of(bins, table, WEEKDAYS)
        lengths.append((habit.days, habit.classes))
    assert lengths.count((1, 1)) >= 17


def test_days_that_resemble_their_neighbours_go_in_longer_blocks():
    lengths = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        bins, table = days(rng, 280, autoregressive(rng, 0.8))
        lengths.append(habit_of(bins, table, np.arange(280) % 7).days)
    assert np.median(lengths) >= 4


@pytest.mark.parametrize(("count", "classes"), [(70, 7), (35, 2)])
def test_weekdays_that_differ_are_ranked_among_their_like(count, classes):
    bins, table = days(np.random.default_rng(1), count, lambda day: 1.0 if day % 7 >= 5 else 0.0)
    habit = habit_of(bins, table, np.arange(count) % 7)
    assert (habit.days, habit.classes) == (1, classes)
    assert habit.group(6) == classes - 1
    assert sum(len(scores) for scores in habit.measures[0].scores) == count


def test_too_few_days_have_no_habit():
    bins, table = days(np.random.default_rng(2), 7, lambda _: 0.0)
    assert habit_of(bins, table, np.arange(7)) is None
    assert habit_of(bins, np.vstack((table, table[:1])), np.arange(8) % 7).blocks == 8


def test_place_is_the_mean_normal_score_and_missing_the_share():
    bins = bins_of("number", np.array([0.0] * 50 + [1.0] * 50))
    reference = tally(bins, np.array([0.0] * 50 + [1.0] * 50)).astype(float)
    scores = bin_scores(reference)
    found = values(bins, reference, tally(bins, np.array([1.0] * 10 + [np.nan] * 10)).astype(float))
    assert found["missing"].value == 0.5
    assert found["place"].value == pytest.approx(0.6745, abs=1e-3)  # the middle of the upper half
    assert min(scores[reference[:-1] > 0]) == pytest.approx(-0.6745, abs=1e-3)
    assert "shape" in values(bins, reference, reference)
    assert values(bins, reference, reference)["place"].value == pytest.approx(0.0, abs=1e-12)


def test_cells_are_in_order_and_ties_share_one():
    measure = Measure(name="place", centre=0.0, between=1.0, scores=((-1.0, 0.0, 0.0, 2.0),))
    cells = [measure.cell(score, 0) for score in (-2.0, -1.0, -0.5, 0.0, 1.0, 2.0, 3.0)]
    assert cells == sorted(set(cells))
    assert measure.cells(0).sum() == 4
    assert measure.cells(0)[measure.cell(0.0, 0)] == 2


def test_few_rows_make_a_score_small():
    measure = Measure(name="place", centre=0.1, between=0.01, scores=((0.0,),))
    assert measure.score(Value(0.3, 0.0)) == pytest.approx(2.0)
    assert measure.score(Value(0.3, 0.03)) == pytest.approx(1.0)
