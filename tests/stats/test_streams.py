"""Many streams, one promise; and the fast form of the detector is the slow one."""

import numpy as np
import pytest

from kaizen.stats.detectors import RiskDetector
from kaizen.stats.streams import Streams, risk_levels


def test_all_streams_at_once_are_each_stream_alone():
    rng = np.random.default_rng(1)
    scores, bounds = rng.random((4, 30)), np.array([0.3, 0.5, 0.7, 0.9])
    scores[rng.random(scores.shape) < 0.2] = np.nan
    alone = []
    for stream, bound in zip(scores, bounds, strict=True):
        detector = RiskDetector()
        for block, x in enumerate(stream):
            if np.isfinite(x):
                detector = detector.update(float(x), float(bound), block)
        alone.append(detector.evidence)
    assert risk_levels(scores, bounds) == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("count", [1, 20])
def test_the_time_to_a_false_alarm_is_kept_by_the_mean_however_many_streams_and_however_alike(count):
    # Coins with p = 0.2 and a bound that is the truth, target 40; half of the streams are one and the same.
    rng, times = np.random.default_rng(2), []
    for _ in range(120):
        levels, time = np.zeros((count, 5)), 0
        bets = np.array([0.2, 0.4, 0.6, 0.8, 0.95])
        while levels.mean() < 40 and time < 400:
            coins = (rng.random(count) < 0.2).astype(float)
            coins[: count // 2] = coins[0]
            levels = (1 + bets * (coins / 0.2 - 1)[:, None]) * (1 + levels)
            time += 1
        times.append(time)
    assert np.mean(times) >= 40 - 3 * np.std(times) / np.sqrt(120)


def test_evidence_is_weighted_and_names_are_by_e_bh():
    streams = Streams(("a", "b", "c"), (0.5, 0.3, 0.2), (10.0, 200.0, 120.0))
    assert streams.evidence == pytest.approx(0.5 * 10 + 0.3 * 200 + 0.2 * 120)
    assert streams.named(1 / 31) == ("b", "c")
    assert Streams((), (), ()).evidence == 0.0
    assert Streams((), (), ()).named(0.1) == ()
