"""River's detectors on given streams; run by the interpreter of their own environment.

    river_streams.py JOB.npz     prints JSON: for each detector and setting, the rows of the alarms of each stream

A job has ``streams`` (streams, rows), ``warm`` (rows that every detector sees first, unasked), ``binary`` (0 or 1) and
``slow`` (streams, and their rows, that KSWIN is given: it takes a third of a millisecond a value).
"""

import json
import sys

import numpy as np
from river import drift
from river.drift import binary


def settings(is_binary):
    """Return every detector with every setting that is tried, the defaults among them."""
    found = {}
    for clock in (32, 1):
        for delta in (0.0002, 0.002, 0.01, 0.03, 0.1, 0.2, 0.35, 0.6):
            found[f"ADWIN clock={clock}", delta] = lambda d=delta, c=clock: drift.ADWIN(delta=d, clock=c)
    for slack in (0.005, 0.1, 0.25):
        for threshold in (2, 5, 8, 12, 18, 25, 35, 50, 80, 120, 180, 260):
            found[f"PageHinkley delta={slack}", threshold] = lambda threshold=threshold, slack=slack: drift.PageHinkley(
                threshold=threshold, delta=slack
            )
    for alpha in (1e-6, 1e-5, 1e-4):
        found["KSWIN", alpha] = lambda alpha=alpha: drift.KSWIN(alpha=alpha, seed=1)
    if is_binary:
        for level in (2.5, 3.0, 3.5, 4.0, 5.0):
            found["DDM", level] = lambda level=level: binary.DDM(drift_threshold=level)
        for confidence in (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
            found["HDDM_A", confidence] = lambda c=confidence: binary.HDDMA(drift_confidence=c)
            found["HDDM_W", confidence] = lambda c=confidence: binary.HDDMW(drift_confidence=c)
            found["FHDDM", confidence] = lambda c=confidence: binary.FHDDM(sliding_window_size=100, confidence_level=c)
    return found


def alarms(make, stream, warm, *, is_binary):
    """Return the rows, counted after the warm-up, at which a detector raises an alarm."""
    detector, found = make(), []
    values = [bool(x) for x in stream] if is_binary else [float(x) for x in stream]
    for value in values[:warm]:
        detector.update(value)
    for row, value in enumerate(values[warm:], 1):
        detector.update(value)
        if detector.drift_detected:
            found.append(row)
    return found


def main():
    """Run, and print."""
    job = np.load(sys.argv[1])
    is_binary, warm = bool(job["binary"]), int(job["warm"])
    told = {}
    for (name, setting), make in settings(is_binary).items():
        count, rows = job["slow"].tolist() if name == "KSWIN" else job["streams"].shape
        streams = job["streams"][:count, :rows]
        try:
            rows = [alarms(make, stream, warm, is_binary=is_binary) for stream in streams]
        except Exception as err:  # a detector that fails on such values has no figure
            print(f"{name} {setting}: {err}", file=sys.stderr)
            continue
        told.setdefault(name, []).append({"setting": setting, "alarms": rows})
    print(json.dumps(told))


if __name__ == "__main__":
    main()
