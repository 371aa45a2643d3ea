"""Early labels set an estimate right: by hand, and how often the interval holds."""

import numpy as np
import pytest

from kaizen.monitor.performance.corrected import FEWEST_KNOWN, Shown, corrected


def days(rng, known, waiting, miss=0.03):
    """Return days whose expected loss follows the true one, but is off by `miss`."""
    true = 0.15 + 0.02 * rng.normal(size=known + waiting)
    told = true + 0.002 * rng.normal(size=known + waiting)
    shown = true + miss + 0.006 * rng.normal(size=known + waiting)
    return [Shown(t, s if at < known else None) for at, (t, s) in enumerate(zip(told, shown, strict=True))]


def test_a_constant_miss_is_known_and_the_days_that_wait_move_the_mean():
    expected = np.linspace(0.1, 0.2, 12)
    found = corrected([Shown(e, e + 0.05 if at < 7 else None) for at, e in enumerate(expected)])
    assert found.difference == pytest.approx(0.05)
    wholly = expected.mean() + 0.05
    labels_alone = expected[:7].mean() + 0.05
    assert found.mean == pytest.approx(labels_alone + found.trust * (wholly - labels_alone))
    assert abs(found.mean - wholly) < abs(labels_alone - wholly)


def test_few_known_days_or_none_that_waits_are_not_corrected():
    rng = np.random.default_rng(0)
    assert corrected([]) is None
    assert corrected(days(rng, FEWEST_KNOWN - 1, 9)) is None
    assert corrected(days(rng, 9, 0)) is None
    assert corrected(days(rng, FEWEST_KNOWN, 1)) is not None


def test_the_interval_holds_the_mean_and_is_narrower_than_that_of_the_labels():
    """1,000 streams of 7 known and 21 waiting days; their mean is 0.18: 95 % to 2 points."""
    rng, inside, widths, alone = np.random.default_rng(1), 0, [], []
    for _ in range(1000):
        seen = days(rng, 7, 21)
        found = corrected(seen)
        inside += found.low <= 0.18 <= found.high
        widths.append(found.high - found.low)
        labels = np.array([day.shown for day in seen if day.shown is not None])
        alone.append(2 * 2.447 * labels.std(ddof=1) / np.sqrt(7))  # Student's t, 6 degrees of freedom
    assert 0.93 <= inside / 1000 <= 0.99
    assert np.mean(widths) < 0.8 * np.mean(alone)
