"""`kaizen.Detector`: its promise, what it finds, how it counts, and that it fits where River's detectors do."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kaizen
from kaizen.core.errors import DataError
from kaizen.monitor.detector.detector import MARGIN, values_of


def rng_of(seed):
    return np.random.default_rng(seed)


def first_alarm(detector, draw, most):
    """Return after how many values the first alarm came; `most` if none did."""
    for start in range(0, most, 512):
        if detector.observe(draw(min(512, most - start))) is not None:
            return detector.alarmed_at + 1
    return most


FAMILIES = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy tails": lambda rng, n: rng.standard_t(1.5, n),
    "atoms": lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, rng.poisson(4, n)),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(0, 1, n)),
    "coin": lambda rng, n: rng.random(n) < 0.1,
    "labels": lambda rng, n: rng.choice(np.array(["a", "b", "c", "d", "e"], object), n, p=[0.5, 0.3, 0.1, 0.06, 0.04]),
    "correlated columns": lambda rng, n: rng.standard_normal((n, 1)) + 0.3 * rng.standard_normal((n, 20)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_false_alarms_are_as_rare_as_promised(family):
    # One alarm in 300 values: 30 streams of at most 2,000, within two standard errors. Of 300 streams, measured: 410 to
    # 450 of single ones.
    lengths = []
    for seed in range(30):
        rng = rng_of(seed)
        detector = kaizen.Detector(FAMILIES[family](rng, 600), max_false_alarms="1/300", block=1)
        lengths.append(first_alarm(detector, lambda n, rng=rng: FAMILIES[family](rng, n), 2000))
    assert np.mean(lengths) + 2 * np.std(lengths) / np.sqrt(30) >= 300
    assert np.mean(np.array(lengths) < 60) <= 0.2


CHANGES = {
    "mean": (lambda rng, n: rng.standard_normal(n), lambda rng, n: rng.standard_normal(n) + 1, 40),
    "spread": (lambda rng, n: rng.standard_normal(n), lambda rng, n: rng.standard_normal(n) * 1.6, 120),
    "narrower": (lambda rng, n: rng.standard_normal(n), lambda rng, n: rng.standard_normal(n) * 0.5, 100),
    "shape": (lambda rng, n: rng.standard_normal(n), lambda rng, n: rng.exponential(1, n) - 1, 150),
    "rate": (lambda rng, n: rng.random(n) < 0.1, lambda rng, n: rng.random(n) < 0.25, 150),
    "labels": (FAMILIES["labels"], lambda rng, n: rng.choice(np.array(["a", "f"], object), n, p=[0.6, 0.4]), 60),
    "goes missing": (lambda rng, n: rng.standard_normal(n), lambda rng, n: np.full(n, np.nan), 20),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_kind_of_change_is_found_soon(change):
    before, after, soon = CHANGES[change]
    delays = []
    for seed in range(6):
        rng = rng_of(seed)
        detector = kaizen.Detector(before(rng, 2000), max_false_alarms="1/10000", rebase=False)
        assert detector.observe(before(rng, 200)) is None
        found = detector.observe(after(rng, 2000))
        assert found is not None
        delays.append(found.n - 200)
    assert np.median(delays) <= soon


@pytest.mark.parametrize("kind", ["one", "several"])
def test_one_by_one_is_what_many_at_once_give(kind):
    rng = rng_of(1)
    stream = np.concatenate((rng.standard_normal(150), rng.standard_normal(60) + 1.5))
    if kind == "several":
        stream = np.stack((stream, rng.standard_normal(210)), axis=1)
    reference = rng.standard_normal(500) if kind == "one" else rng.standard_normal((500, 2))
    whole, single = (kaizen.Detector(reference, max_false_alarms="1/2000", rebase=False) for _ in range(2))
    whole.observe(stream)
    for row in stream:
        single.update(row if kind == "one" else dict(zip(("value 0", "value 1"), row, strict=True)))
        if single.drift_detected:
            break
    assert single.alarmed_at == whole.findings[0].n - 1


def test_a_finding_names_the_stream_that_changed_and_since_when():
    rng = rng_of(2)
    names = [f"x{place}" for place in range(10)]
    detector = kaizen.Detector({name: rng.standard_normal(1000) for name in names}, max_false_alarms="1/5000")
    rows = {name: rng.standard_normal(800) for name in names}
    rows["x3"][500:] += 1.5
    found = detector.observe(rows)
    assert found.blames == ("x3",)
    assert found.subject == "x3"
    assert found.evidence >= found.limit == detector.limit == 5000 * MARGIN
    assert found.estimate > 0.2
    assert "x3 has changed, probably" in found.says
    began = detector.alarmed_at + 1 - int(found.says.split("probably ")[1].split(" ")[0])
    assert abs(began - 500) <= 12


def test_what_does_not_matter_raises_no_alarm():
    rng = rng_of(3)
    detector = kaizen.Detector(rng.standard_normal(3000), matters=0.2)
    assert detector.observe(rng.standard_normal(4000) + 0.3) is None
    assert detector.observe(rng.standard_normal(2000) + 1.5) is not None


def test_after_an_alarm_the_new_is_usual_or_the_old_stays():
    rng = rng_of(4)
    reference, later = rng.standard_normal(1000), rng.standard_normal(4000) + 2
    moved, kept = kaizen.Detector(reference), kaizen.Detector(reference, rebase=False)
    moved.observe(later)
    kept.observe(later)
    assert len(moved.findings) == 1
    assert len(kept.findings) > 10
    assert moved.observe(rng.standard_normal(1000)) is not None


def test_without_a_reference_it_learns_from_the_stream():
    rng = rng_of(5)
    detector = kaizen.Detector(warm_up=300)
    assert "learning" in detector.plan
    assert detector.observe(rng.standard_normal(400)) is None
    assert "single values" in detector.plan
    assert detector.observe(rng.standard_normal(200) + 1.5) is not None
    assert detector.n == 600


def day_and_night(rng, n, first=0, shift=0.0):
    return 2 * np.sin(2 * np.pi * (first + np.arange(n)) / 24) + 0.5 * rng.standard_normal(n) + shift


def test_a_daily_cycle_is_counted_in_days_and_keeps_the_promise():
    lengths, delays = [], []
    for seed in range(8):
        rng = rng_of(seed)
        detector = kaizen.Detector(day_and_night(rng, 24 * 60), max_false_alarms="1/720")
        assert "blocks of" in detector.plan
        lengths.append(first_alarm(detector, lambda n, rng=rng, d=detector: day_and_night(rng, n, d.n), 24 * 120))
        changed = kaizen.Detector(day_and_night(rng, 24 * 60), max_false_alarms="1/720")
        delays.append(first_alarm(changed, lambda n, rng=rng, d=changed: day_and_night(rng, n, d.n, 1.0), 24 * 60))
    assert np.mean(lengths) >= 720
    assert np.median(delays) <= 24 * 5


def test_neighbours_that_resemble_each_other_go_in_blocks():
    rng, x = rng_of(6), [0.0]
    for _ in range(12_000):
        x.append(0.9 * x[-1] + rng.standard_normal())
    detector = kaizen.Detector(np.array(x[:6000]), max_false_alarms="1/3000")
    assert "blocks of" in detector.plan
    single = kaizen.Detector(np.array(x[:6000]), max_false_alarms="1/3000", block=1, rebase=False)
    detector.observe(x[6000:])
    single.observe(x[6000:])
    assert len(single.findings) > 5 > len(detector.findings)


def test_a_rise_of_losses_is_told_and_a_fall_is_not():
    rng = rng_of(7)
    losses = (rng.random(800) < 0.1).astype(float)
    detector = kaizen.Detector(losses, watch="rise", max_false_alarms="1/2000")
    assert "upper 95 % bound" in detector.plan
    assert detector.observe((rng.random(1000) < 0.05).astype(float)) is None
    found = detector.observe((rng.random(1000) < 0.3).astype(float))
    assert found.question == "rise"
    assert found.estimate > 0.1
    with pytest.raises(DataError, match="from 0 to 1"):
        detector.clone().observe([1.5])


def test_a_rise_needs_no_exchangeable_losses():
    # Bursts: independent of nothing, and their mean given the past stays under the bound.
    alarms = 0
    for seed in range(10):
        rng = rng_of(seed)
        burst = np.repeat(rng.random(60) < 0.08, 50)
        losses = np.where(rng.random(3000) < 0.08, 1.0, 0.0) * (0.5 + 0.5 * burst)
        detector = kaizen.Detector((rng.random(2000) < 0.1).astype(float), watch="rise", max_false_alarms="1/6000")
        alarms += detector.observe(losses) is not None
    assert alarms <= 1


@given(st.lists(st.floats(width=32) | st.just(np.nan), min_size=1, max_size=120), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_any_numbers_are_survived(values, seed):
    detector = kaizen.Detector(rng_of(seed).standard_normal(100))
    detector.observe(values)
    assert detector.n == len(values)
    assert np.isfinite(detector.evidence)


@pytest.mark.parametrize(
    ("reference", "match"),
    [([1.0] * 10, "too short"), (np.ones((60, 2, 2)), "shape"), ({"a": [1] * 60, "b": [1] * 50}, "differ in length")],
)
def test_what_cannot_be_a_reference_is_refused(reference, match):
    with pytest.raises(DataError, match=match):
        kaizen.Detector(reference)


@pytest.mark.parametrize("text", ["", "1", "0/100", "5/2", "1/30d", "one in ten"])
def test_a_promise_that_says_nothing_is_refused(text):
    with pytest.raises(DataError, match="how many false alarms"):
        values_of(text)


def test_a_stream_that_is_missing_is_named():
    detector = kaizen.Detector({"a": rng_of(9).random(60), "b": rng_of(10).random(60)})
    with pytest.raises(DataError, match="the stream 'b' is missing"):
        detector.update({"a": 1.0, "c": 2.0})


def test_it_clones_and_pickles():
    rng = rng_of(8)
    detector = kaizen.Detector(rng.standard_normal(300), seed=3)
    detector.observe(rng.standard_normal(100))
    again = pickle.loads(pickle.dumps(detector))
    more = rng.standard_normal(300)
    assert again.observe(more) == detector.observe(more)
    assert again.evidence == detector.evidence
    assert detector.clone().n == 0
