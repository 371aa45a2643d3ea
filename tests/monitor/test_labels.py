"""The book of labels: in whatever order they come, the figures are those of the labels that count."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.monitor.performance.labels import LabelBook
from kaizen.monitor.performance.openday import Measures, OpenDay, fine_bin
from kaizen.monitor.performance.provisional import final_figures
from kaizen.stats import metrics

DAY_US = 86_400_000_000
START = 15_000 * DAY_US
CAP = float(np.log(100))
EDGES = tuple(np.arange(1, 16) / 16)
MEASURES = Measures("classification", ("log_loss", "brier", "error"), (CAP, 1.0, 1.0), EDGES)
DELAY = timedelta(days=2)

answers = st.floats(0.001, 0.999)
rows = st.lists(st.tuples(st.integers(0, 3 * DAY_US - 1), answers), min_size=1, max_size=12, unique_by=lambda r: r[0])


def filled(predictions, labels):
    """Return a book with these predictions (time, answer) and then these labels (row, value, known)."""
    book = LabelBook(MEASURES, "UTC", DELAY)
    at = np.array([START + time for time, _ in predictions])
    book.add_predictions([str(i) for i in range(len(at))], at, np.array([answer for _, answer in predictions]))
    for row, value, known in labels:
        book.add_labels([str(row)], np.array([value]), np.array([START + known]))
    return book


def state_of(day):
    return [day.count, day.sums, day.squares, day.would, day.waiting, day.arrivals, day.histogram]


@given(rows, st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_of_labels_and_corrections_gives_the_figures_of_those_that_count(predictions, data):
    known = st.tuples(st.integers(0, len(predictions) - 1), st.sampled_from([0.0, 1.0]), st.integers(0, 5 * DAY_US))
    labels = data.draw(st.lists(known, max_size=20, unique_by=lambda label: (label[0], label[2])))
    last = {}
    for row, value, known_at in sorted(labels, key=lambda label: label[2]):
        last[row] = (value, known_at)
    shuffled = filled(predictions, data.draw(st.permutations(labels)))
    once = filled(predictions, [(row, value, known_at) for row, (value, known_at) in last.items()])
    for number, day in shuffled.days.items():
        for mine, theirs in zip(state_of(day), state_of(once.days[number]), strict=True):
            assert np.array_equal(mine, theirs)  # to the last digit
        of_day = [row for row in last if (START + predictions[row][0]) // DAY_US == number]
        _same_as_from_scratch(
            day, np.array([predictions[r][1] for r in of_day]), np.array([last[r][0] for r in of_day])
        )


def _same_as_from_scratch(day, outputs, target):
    figures = {figure.name: figure.value for figure in final_figures(day, MEASURES)}
    if not len(target):
        assert figures == {}
        return
    log_loss = np.minimum(metrics.per_row("log_loss", target, outputs), CAP).mean()
    assert figures["log_loss"] == pytest.approx(log_loss, abs=1e-8)
    assert figures["brier"] == pytest.approx(metrics.brier(target, outputs), abs=1e-8)
    assert figures["error"] == pytest.approx(1 - metrics.accuracy(target, outputs), abs=1e-8)


def test_labels_may_be_here_before_their_predictions():
    rng = np.random.default_rng(1)
    at, outputs = START + np.sort(rng.integers(0, DAY_US, 50)), rng.random(50)
    ids, values, known_at = (
        [str(i) for i in range(50)],
        (rng.random(50) < outputs) * 1.0,
        at + rng.integers(0, DAY_US, 50),
    )
    after, before = LabelBook(MEASURES, "UTC", DELAY), LabelBook(MEASURES, "UTC", DELAY)
    after.add_predictions(ids, at, outputs)
    for book in (after, before):
        book.add_labels(ids, values, known_at)
        book.add_labels(ids[:9], 1 - values[:9], known_at[:9] + 5)
    before.add_predictions(ids, at, outputs)
    for name in ("label", "known_at"):
        assert np.array_equal(after.days[15_000].column(name), before.days[15_000].column(name))
    assert np.array_equal(after.days[15_000].count, before.days[15_000].count)


def test_a_label_costs_the_same_however_many_rows_the_day_has(monkeypatch):
    looked_at = []
    real = Measures.counted
    monkeypatch.setattr(Measures, "counted", lambda self, a, y: looked_at.append(len(y)) or real(self, a, y))
    costs = []
    for size in (100, 20_000):
        rng = np.random.default_rng(2)
        book = LabelBook(MEASURES, "UTC", DELAY)
        at = START + np.sort(rng.integers(0, DAY_US, size))
        book.add_predictions([str(i) for i in range(size)], at, rng.random(size))
        book.add_labels([str(i) for i in range(size // 2)], np.ones(size // 2), at[: size // 2] + 1)
        looked_at.clear()
        book.add_labels([str(size - 1)], np.array([1.0]), at[-1:] + 1)  # a new one
        book.add_labels(["3"], np.array([0.0]), at[3:4] + 2)  # a correction
        costs.append(sum(looked_at))
    assert costs == [costs[0], costs[0]]
    assert costs[0] < 10


def test_of_labels_for_one_id_the_one_known_last_counts_and_of_equals_the_later():
    book = filled([(0, 0.3)], [(0, 1.0, 20), (0, 0.0, 10)])
    assert book.days[15_000].column("label").tolist() == [1.0]
    book.add_labels(["0", "0"], np.array([1.0, 0.0]), np.array([START + 20, START + 20]))
    assert book.days[15_000].column("label").tolist() == [0.0]


def test_a_prediction_id_that_comes_twice_counts_once_with_its_first_answer():
    book = LabelBook(MEASURES, "UTC", DELAY)
    for answer in (0.2, 0.9):
        book.add_predictions(["a", "a"], np.array([START, START + 1]), np.array([answer, 0.5]))
    assert book.days[15_000].column("answers")[:, 0].tolist() == [0.2]


def test_a_closed_day_forgets_its_ids_and_takes_no_more_labels():
    book = filled([(0, 0.3), (DAY_US, 0.4)], [(0, 1.0, 5)])
    closed = book.close(15_000)
    assert closed is not None
    book.add_labels(["0", "1"], np.array([0.0, 1.0]), np.array([START + 9, START + DAY_US + 9]))
    assert closed.column("label").tolist() == [1.0]
    assert book.days[15_001].column("label").tolist() == [1.0]
    assert list(book._places) == ["1"]
    book.close(15_001)
    assert (book._places, book.unmatched) == ({}, 1)


def test_rows_that_do_not_count_still_say_what_turned_out():
    book = LabelBook(MEASURES, "UTC", DELAY)
    book.add_labels(["old"], np.array([1.0]), np.array([START - 10]))
    book.add_predictions(
        ["old", "new"], np.array([START - 50, START]), np.array([0.5, 0.5]), counted=np.array([False, True])
    )
    assert list(book.days) == [15_000]
    assert book.days[15_000].column("last").tolist() == [1.0]
    assert book.days[15_000].knows_rivals


def test_a_forecast_without_a_model_knows_only_what_was_known_then():
    # Hourly rows, labels two hours late, in runs of 6: "as the newest known" is wrong twice in six.
    hours = np.arange(20 * 24)
    target = (hours // 6 % 2).astype(float)
    at = START + hours * 3_600_000_000
    book = LabelBook(MEASURES, "UTC", timedelta(days=2))
    ids = [str(i) for i in hours]
    book.add_labels(ids, target, at + 2 * 3_600_000_000)
    book.add_predictions(ids, at, np.full(len(at), 0.5))
    last = book.days[15_010].column("last")
    assert last.tolist() == target[10 * 24 - 2 : 11 * 24 - 2].tolist()
    figure = next(f for f in final_figures(book.days[15_010], MEASURES) if f.name == "error")
    assert figure.no_change == pytest.approx(1 / 3)
    assert figure.rate == pytest.approx(0.5, abs=0.1)


def test_the_first_days_have_no_rival():
    book = filled([(0, 0.3)], [(0, 1.0, 10)])
    assert all(figure.no_change is None for figure in final_figures(book.days[15_000], MEASURES))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=200))
def test_the_histogram_gives_the_area_under_the_curve(pairs):
    outputs, target = np.array([p for p, _ in pairs]), np.array([float(y) for _, y in pairs])
    exact = metrics.auc(target, outputs)
    book = filled([(i, p) for i, (p, _) in enumerate(pairs)], [(i, y, i) for i, (_, y) in enumerate(pairs)])
    found = [f.value for f in final_figures(book.days[15_000], MEASURES) if f.name == "auc"]
    if np.isnan(exact):
        assert found == []
        return
    # Pairs in one bin count half, at most half a pair wrong each.
    bins = fine_bin(outputs)
    together = np.mean(bins[target > 0.5][:, None] == bins[target <= 0.5])
    assert found[0] == pytest.approx(exact, abs=together / 2 + 1e-9)


def test_numbers_are_summed_without_classes():
    measures = Measures("regression", ("squared", "absolute"), (100.0, 10.0), (1.0, 2.0))
    book = LabelBook(measures, "UTC", DELAY)
    book.add_predictions(["a", "b", "c"], np.array([START, START + 1, START + 2]), np.array([0.0, 1.5, 9.0]))
    book.add_labels(["a", "b", "c"], np.array([3.0, 1.5, 1e300]), np.full(3, START + 9))
    figures = {f.name: f.value for f in final_figures(book.days[15_000], measures)}
    assert figures == {"squared": pytest.approx((9 + 0 + 100) / 3), "absolute": pytest.approx((3 + 0 + 10) / 3)}


def test_a_half_falls_on_the_right_side_of_the_middle():
    assert fine_bin(np.array([0.5, np.nextafter(0.5, 0)])).tolist() == [512, 511]


def test_rows_added_bit_by_bit_are_the_rows_added_at_once():
    rng = np.random.default_rng(3)
    at, outputs = START + np.arange(70), rng.random((3, 70))
    bits, once = (OpenDay(15_000, START, LabelBook(MEASURES, "UTC", DELAY).grid, MEASURES) for _ in range(2))
    once.add(at, outputs, np.zeros(70))
    for i in range(70):
        bits.add(at[i : i + 1], outputs[:, i : i + 1], np.zeros(1))
    assert all(np.array_equal(a, b) for a, b in zip(state_of(bits), state_of(once), strict=True))
    assert np.array_equal(bits.column("answers"), once.column("answers"))
