"""Curves of arrival: the textbook's figures, and the truth behind what has not come yet."""

import numpy as np
import pytest

from kaizen.stats.arrivals import arrived_by, kaplan_meier

# Weeks in remission of 21 patients on 6-mercaptopurine (Freireich et al. 1963): (week, relapses, at risk).
REMISSION = [(6, 3, 21), (7, 1, 17), (10, 1, 15), (13, 1, 12), (16, 1, 11), (22, 1, 7), (23, 1, 6)]


def test_kaplan_meier_as_tabled_by_klein_and_moeschberger():
    events, at_risk = np.array([d for _, d, _ in REMISSION], float), np.array([n for _, _, n in REMISSION], float)
    share = kaplan_meier(events, at_risk).share
    assert np.round(1 - share, 3).tolist() == [1.0, 0.857, 0.807, 0.753, 0.69, 0.627, 0.538, 0.448]


def test_the_band_is_greenwoods():
    # At week 6: S = 18/21, Greenwood's standard error .0764, so log(-log S) +- 1.96 * .0764 / (S |log S|).
    found = kaplan_meier(np.array([3.0]), np.array([21.0]))
    s = 18 / 21
    reach = 1.959964 * 0.07636 / (s * abs(np.log(s)))
    assert 1 - found.low[1] == pytest.approx(s ** np.exp(-reach), abs=1e-4)
    assert 1 - found.high[1] == pytest.approx(s ** np.exp(reach), abs=1e-4)


def test_without_censoring_it_is_the_share_that_came():
    found = kaplan_meier(np.array([2.0, 0.0, 8.0]), np.array([10.0, 8.0, 8.0]))
    assert found.share.tolist() == pytest.approx([0, 0.2, 0.2, 1.0])
    assert np.all(found.low <= found.share)
    assert np.all(found.share <= found.high)


def test_the_band_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, covered = 1 - 0.8**3, 0
    for _ in range(800):
        delay, watched = rng.geometric(0.2, 150) - 1, rng.integers(1, 6, 150)
        events = np.array([np.sum((delay == j) & (watched > j)) for j in range(3)], float)
        at_risk = np.array([np.sum((delay >= j) & (watched > j)) for j in range(3)], float)
        found = kaplan_meier(events, at_risk)
        covered += found.low[3] <= truth <= found.high[3]
    assert 0.93 <= covered / 800 <= 0.97


def test_early_arrivals_of_recent_days_do_not_hide_that_others_take_longer():
    # Day d has been watched for d + 1 bins; 1000 a day, delays 0, 1, 2 with chances .5, .3, .2.
    rng = np.random.default_rng(2)
    events, up_to = np.zeros(3), np.zeros(3)
    for watched in (1, 2, 3, 3):
        came = rng.multinomial(1000, [0.5, 0.3, 0.2])
        for j in range(watched):
            events[j] += came[j]
            up_to[j] += came[: j + 1].sum()
    assert arrived_by(events, up_to) == pytest.approx([0, 0.5, 0.8, 1], abs=0.03)


def test_what_was_never_seen_teaches_nothing():
    assert arrived_by(np.zeros(2), np.zeros(2)).tolist() == [0, 1, 1]
    assert kaplan_meier(np.zeros(2), np.zeros(2)).share.tolist() == [0, 0, 0]
