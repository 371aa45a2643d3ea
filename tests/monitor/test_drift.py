"""Two keys: no page without evidence, none without an effect, and hardly any without a change."""

import numpy as np
import pytest

from kaizen.core.records import Column
from kaizen.monitor.columns.binning import tally
from kaizen.monitor.drift.change import change
from kaizen.monitor.drift.compare import limit_of
from kaizen.monitor.reference import fit


@pytest.fixture
def rng():
    """Chance of its own for each test, so that they may run alone and in any order."""
    return np.random.default_rng(9)


LIMIT = limit_of(50)  # 50 columns


def fires(seen):
    """Say whether both keys turn."""
    return seen.evidence >= LIMIT and seen.matters is not None


def profile(values, kind="number", blocks=None):
    return fit([Column("x", kind)], {"x": values}, None, blocks=blocks).columns[0]


def counts(made, values):
    return tally(made.bins, values)


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_window_of_50_columns_without_change_pages_in_at_most_one_percent(n, kind, rng):
    # Of 100 windows 1 may page; 4 is 3 standard deviations of a Poisson law above that. Measured: 0 to 0.3 %.
    labels, p = np.array([f"v{i}" for i in range(20)], dtype=object), rng.dirichlet(np.ones(20))

    def draw(count):
        return rng.standard_normal(count) if kind == "number" else rng.choice(labels, count, p=p)

    pages = 0
    for _ in range(100):
        made = profile(draw(5000), kind)
        pages += any(fires(change(made, counts(made, draw(n)), LIMIT)) for _ in range(50))
    assert pages <= 4


def test_large_windows_need_an_effect_too(rng):
    made = profile(rng.standard_normal(200_000))
    seen = change(made, counts(made, rng.standard_normal(200_000) + 0.05), LIMIT)
    assert seen.value_evidence > 1e9
    assert not fires(seen)


def test_a_shift_of_half_a_deviation_pages(rng):
    made = profile(rng.standard_normal(20_000))
    seen = change(made, counts(made, rng.standard_normal(2000) + 0.5), LIMIT)
    assert fires(seen)
    # Two normals half a deviation apart: divergence about 0.25 / 8 nats.
    assert seen.distance == pytest.approx(np.sqrt(0.25 / 8), rel=0.1)
    assert not seen.is_clean


def test_an_absurd_value_or_a_rare_new_category_does_not_page(rng):
    made = profile(rng.standard_normal(20_000))
    values = rng.standard_normal(2000)
    values[0] = 1e12
    assert not fires(change(made, counts(made, values), LIMIT))
    labels = np.array(["a", "b"], dtype=object)
    named = profile(rng.choice(labels, 20_000), "category")
    later = rng.choice(labels, 2000)
    later[:20] = "new"
    assert not fires(change(named, counts(named, later), LIMIT))


@pytest.mark.parametrize(("share", "pages"), [(0.01, False), (0.05, True), (1.0, True)])
def test_values_that_go_missing_page_when_it_is_more_than_a_percent(share, pages, rng):
    made = profile(rng.standard_normal(20_000))
    values = rng.standard_normal(6000)
    values[: int(share * 6000)] = np.nan
    seen = change(made, counts(made, values), LIMIT)
    assert fires(seen) is pages
    assert seen.matters == ("missing" if pages else None)


def test_values_that_appear_where_all_were_missing_page():
    made = profile(np.full(5000, np.nan))
    assert fires(change(made, counts(made, np.full(1000, 2.5)), LIMIT))


def weather(rng, days, a_day=100):
    return np.repeat(rng.standard_normal(days), a_day) + 0.3 * rng.standard_normal(days * a_day)


def test_a_week_of_weather_is_no_drift_though_its_rows_are_many(rng):
    pages, by_rows = 0, 0
    for _ in range(60):
        values, blocks = weather(rng, 59), np.repeat(np.arange(59), 100)
        week = weather(rng, 7)
        made, blind = profile(values, blocks=blocks), profile(values)
        pages += fires(change(made, counts(made, week), LIMIT))
        by_rows += fires(change(blind, counts(blind, week), LIMIT))
    assert by_rows >= 57
    assert pages <= 1


def test_a_change_of_climate_is_drift(rng):
    blocks = np.repeat(np.arange(59), 100)
    made = profile(weather(rng, 59), blocks=blocks)
    assert fires(change(made, counts(made, weather(rng, 7) + 4), LIMIT))


def test_what_could_have_shown_is_told(rng):
    made = profile(rng.standard_normal(20_000))
    large = change(made, counts(made, rng.standard_normal(20_000)), LIMIT)
    small = change(made, counts(made, rng.standard_normal(300)), LIMIT)
    assert large.detectable == 0.112
    # By hand: an e-value of 2 x 5,000 is a p-value of 4.7e-7, and that quantile of chi2 with 31 degrees is 85.9.
    assert small.detectable == pytest.approx(np.sqrt((85.9 - 31) / 8 * (1 / 300 + 1 / 20_000)), rel=0.02)
