"""The names under which dashboards made for Triton and KServe look for the same figures.

| theirs                                                         | ours, of the routes that predict         |
|----------------------------------------------------------------|------------------------------------------|
| ``nv_inference_request_success``, ``…_failure``                | requests answered 200, and not           |
| ``nv_inference_count``, ``nv_inference_exec_count``            | rows scored, batches executed            |
| ``nv_inference_request_duration_us``                           | time from bytes read to answer, summed   |
| ``nv_inference_pending_request_count``                         | requests without an answer               |
| ``request_predict_seconds`` (KServe)                           | the histogram of the same time           |

Triton's queue and compute durations are not kept apart here, so they are not claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kaizen.serve.message import Route

PREDICTING = frozenset({"predict", "infer"})


def aliases(
    *, model: str, version: str, routes: Sequence[Route], rows: int, batches: int, waiting: int
) -> Iterable[Metric]:
    """Yield the figures under their names; `waiting` counts every request that has no answer yet."""
    predicting = [route.counts for route in routes if route.name in PREDICTING]
    succeeded = sum(counts.statuses.get(200, 0) for counts in predicting)
    answered = sum(sum(counts.statuses.values()) for counts in predicting)
    spent_us = sum(counts.spent_us for counts in predicting)
    labels = {"model": model, "version": version}
    for name, says, value in (
        ("nv_inference_request_success", "Requests for predictions answered 200.", succeeded),
        ("nv_inference_request_failure", "Requests for predictions refused or failed.", answered - succeeded),
        ("nv_inference_count", "Rows scored.", rows),
        ("nv_inference_exec_count", "Batches executed.", batches),
        ("nv_inference_request_duration_us", "From bytes read to answer, microseconds, summed.", spent_us),
    ):
        yield _Plain(name, says, labels, value)
    pending = GaugeMetricFamily("nv_inference_pending_request_count", "Without an answer.", labels=list(labels))
    pending.add_metric(list(labels.values()), waiting)
    yield pending
    seconds = HistogramMetricFamily("request_predict_seconds", "From bytes read to answer.", labels=["model_name"])
    counted = [sum(bucket) for bucket in zip(*(counts.buckets for counts in predicting), strict=True)]
    seconds.add_metric([model], cumulative(counted, 1e-6), spent_us / 1e6)
    yield seconds


def cumulative(counts: Sequence[int], unit: float) -> list[tuple[str, float]]:
    """Return Prometheus buckets of counts by `int.bit_length`: those of power k are at most 2**k - 1 units."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for power, count in enumerate(counts):
        total += count
        buckets.append((repr((2**power - 1) * unit), total))
    return [*buckets, ("+Inf", total)]


class _Plain(CounterMetricFamily):
    """A counter whose name does not end in ``_total``: the names are Triton's."""

    def __init__(self, name: str, says: str, labels: dict[str, str], value: float) -> None:
        super().__init__(name, says, labels=list(labels))
        self.samples.clear()
        self.add_sample(name, labels, value)
