"""The reference: small, mergeable, JSON, and a bound of the daily loss that holds."""

import msgspec
import numpy as np
import pytest

from kaizen.core.errors import DataError
from kaizen.core.records import Column
from kaizen.monitor.reference import Reference, count, fit
from kaizen.stats.distances import INDEPENDENT
from tests.monitor.days import COLUMNS, reference, rows


@pytest.fixture
def rng():
    """Chance of its own for each test, so that they may run alone and in any order."""
    return np.random.default_rng(5)


def test_it_is_small_json_and_comes_back_the_same(rng):
    made = reference(rng)
    text = msgspec.json.encode(made)
    assert len(text) < 20_000
    assert msgspec.json.decode(text, type=Reference) == made


def test_counts_of_days_add_up_to_counts_of_windows(rng):
    made, day, other = reference(rng), rows(rng, 200), rows(rng, 300)
    both = {name: np.concatenate([day[name], other[name]]) for name in day}
    one, two, sum_ = (count(made, frame, None) for frame in (day, other, both))
    for key, total in sum_.items():
        assert (one[key] + two[key]).tolist() == total.tolist()
        assert total.sum() == 500


def test_times_are_compared_by_their_hour_and_answers_are(rng):
    made = reference(rng)
    assert [p.label for p in made.columns] == ["price", "size", "kind", "member", "when (hour)"]
    assert [p.key for p in made.profiles][-2:] == ["column:when:hour", "answer:prediction"]


def test_a_column_may_be_called_prediction(rng):
    frame = {"prediction": rng.random(50)}
    made = fit([Column("prediction", "number")], frame, rng.random(50), blocks=None)
    assert len(count(made, frame, rng.random(50))) == 2


def test_rows_that_are_alike_within_days_count_for_less(rng):
    days = np.repeat(np.arange(30), 100)
    frame = {"weather": np.repeat(rng.standard_normal(30), 100), "noise": rng.standard_normal(3000)}
    made = fit([Column("weather", "number"), Column("noise", "number")], frame, None, blocks=days)
    assert made.columns[0].spread.factor > 50
    assert made.columns[1].spread == INDEPENDENT


@pytest.mark.parametrize(("days", "sigma", "least"), [(14, 0.1, 0.92), (45, 0.1, 0.92), (14, 0.4, 0.88)])
def test_the_bound_covers_the_mean_of_days(days, sigma, least, rng):
    # Nominal 95 %; 400 references; a fifth column of log-normal days costs a few points, as documented.
    covered = 0
    for _ in range(400):
        blocks = np.arange(days)
        made = fit(
            [Column("x", "number")],
            {"x": np.zeros(days)},
            None,
            blocks=blocks,
            losses=np.exp(sigma * rng.standard_normal(days)),
            loss_blocks=blocks,
            metric="absolute",
        ).loss
        future, usual = np.minimum(np.exp(sigma * rng.standard_normal(4000)), made.cap), made.daily
        covered += np.clip((future - usual.floor) / (usual.ceiling - usual.floor), 0, 1).mean() <= usual.bound
    assert covered / 400 >= least


def test_one_hopeless_row_does_not_make_a_bad_day(rng):
    made = reference(rng).loss
    calm = np.full(300, 0.5)
    worst = calm.copy()
    worst[0] = 700.0
    assert made.score(worst) - made.score(calm) < 0.1


@pytest.mark.parametrize("days", [0, 1, 4])
def test_too_few_days_of_losses_watch_no_performance(days, rng):
    frame = {c.name: v for c, v in zip(COLUMNS, rows(rng, 10).values(), strict=True)}
    blocks = np.arange(days)
    made = fit(COLUMNS, frame, None, blocks=None, losses=np.ones(days), loss_blocks=blocks)
    assert made.loss is None


def test_losses_that_never_differ_still_make_a_reference():
    blocks = np.arange(10)
    made = fit(
        [Column("x", "number")], {"x": np.zeros(10)}, None, blocks=blocks, losses=np.zeros(10), loss_blocks=blocks
    )
    assert made.loss.score(np.zeros(3)) <= made.loss.daily.bound <= 1


def test_a_day_with_a_handful_of_rows_is_no_day():
    blocks = np.concatenate([np.repeat(np.arange(10), 50), [10, 11]])
    losses = np.concatenate([np.full(500, 0.5), [9.0, 9.0]])
    frame = {"x": np.zeros(502)}
    made = fit([Column("x", "number")], frame, None, blocks=blocks, losses=losses, loss_blocks=blocks).loss
    assert (made.daily.days, made.daily.least_rows, made.daily.mean) == (10, 5, pytest.approx(0.5))


def test_a_missing_column_is_named(rng):
    with pytest.raises(DataError, match="'price' is missing"):
        count(reference(rng), {"prices": np.zeros(3)}, None)


def test_no_rows_make_no_reference():
    with pytest.raises(DataError, match="at least one row"):
        fit(COLUMNS, {c.name: np.array([]) for c in COLUMNS}, None, blocks=None)
