"""The names under which dashboards made for Triton and KServe look for the same figures.

| theirs                                                              | ours                                          |
|---------------------------------------------------------------------|-----------------------------------------------|
| ``nv_inference_request_success``, ``…_failure``                     | requests that a version answered, and did not |
| ``nv_inference_count``, ``nv_inference_exec_count``                 | rows scored, batches executed                 |
| ``nv_inference_queue_duration_us``                                  | the stage queue                               |
| ``nv_inference_compute_{input,infer,output}_duration_us``           | the stages input, infer and output            |
| ``nv_inference_request_duration_us``                                | from bytes read to answer                     |
| ``nv_inference_pending_request_count``                              | requests that wait for their batch            |
| ``request_preprocess_seconds``, ``request_postprocess_seconds``     | the stage input; the stages log and output    |
| ``request_predict_seconds``                                         | from bytes read to answer                     |
| ``request_explain_seconds``                                         | never observed: nothing is explained          |

Triton's are sums over requests, each charged with the whole of its batch. What is refused before it reaches a model
has no version; where one model is served it counts as a failure of the version that answers first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kaizen.serve.message import Route
from kaizen.serve.stages import NAMES, Stages

_COUNTED: Final = (
    ("nv_inference_request_success", "Requests answered.", lambda stages: stages.answered),
    ("nv_inference_count", "Rows scored.", lambda stages: stages.rows),
    ("nv_inference_exec_count", "Batches executed.", lambda stages: stages.batches),
    ("nv_inference_request_duration_us", "From bytes read to answer.", lambda stages: stages.answered_ns // 1000),
    ("nv_inference_queue_duration_us", "Waiting for a batch.", lambda stages: _us(stages, "queue")),
    ("nv_inference_compute_input_duration_us", "Packing tensors.", lambda stages: _us(stages, "input")),
    ("nv_inference_compute_infer_duration_us", "Running the model.", lambda stages: _us(stages, "infer")),
    ("nv_inference_compute_output_duration_us", "Sending answers.", lambda stages: _us(stages, "output")),
)
Version = tuple[str, str]  # endpoint and version


def of_triton(versions: Mapping[Version, Stages], waiting: Mapping[Version, int], refused: int) -> Iterable[Metric]:
    """Yield the figures of versions, those that answer first before others; `refused` had no version."""
    for name, says, value in _COUNTED:
        yield _Plain(name, says, {version: value(stages) for version, stages in versions.items()})
    failures = {version: stages.failures for version, stages in versions.items()}
    for version in tuple(failures)[:1]:
        failures[version] += refused
    yield _Plain("nv_inference_request_failure", "Requests refused or failed.", failures)
    pending = GaugeMetricFamily("nv_inference_pending_request_count", "Waiting for a batch.", labels=_LABELS)
    for version in versions:
        pending.add_metric(version, waiting.get(version, 0))
    yield pending


def of_kserve(versions: Mapping[Version, Stages], routes: Sequence[Route]) -> Iterable[Metric]:
    """Yield the histograms of models; `routes` are those of the only one, none if there are several."""
    before = HistogramMetricFamily("request_preprocess_seconds", "Packing tensors.", labels=["model_name"])
    after = HistogramMetricFamily("request_postprocess_seconds", "Logging, answering.", labels=["model_name"])
    whole = HistogramMetricFamily("request_predict_seconds", "From bytes read to answer.", labels=["model_name"])
    for name in dict.fromkeys(name for name, _ in versions):
        own = [stages for (model, _), stages in versions.items() if model == name]
        spent = [sum(figures) / 1e9 for figures in zip(*(stages.spent_ns for stages in own), strict=True)]
        before.add_metric([name], cumulative(_summed(stages.before for stages in own), 1e-6), spent[1])
        after.add_metric([name], cumulative(_summed(stages.after for stages in own), 1e-6), spent[3] + spent[4])
        counts = [route.counts for route in routes if route.scope == "predict"]
        if counts:
            spent_s = sum(each.spent_us for each in counts) / 1e6
            whole.add_metric([name], cumulative(_summed(each.buckets for each in counts), 1e-6), spent_s)
    yield from (before, whole, after)
    yield HistogramMetricFamily("request_explain_seconds", "Never: nothing is explained.", labels=["model_name"])


def cumulative(counts: Sequence[int], unit: float) -> list[tuple[str, float]]:
    """Return Prometheus buckets of counts by `int.bit_length`: those of power k are at most 2**k - 1 units."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for power, count in enumerate(counts):
        total += count
        buckets.append((repr((2**power - 1) * unit), total))
    return [*buckets, ("+Inf", total)]


_LABELS: Final = ["model", "version"]


def _us(stages: Stages, name: str) -> int:
    return stages.spent_ns[NAMES.index(name)] // 1000


def _summed(counts: Iterable[Sequence[int]]) -> list[int]:
    return [sum(bucket) for bucket in zip(*counts, strict=True)]


class _Plain(CounterMetricFamily):
    """A counter whose name does not end in ``_total``: the names are Triton's."""

    def __init__(self, name: str, says: str, values: Mapping[Version, float]) -> None:
        super().__init__(name, says, labels=_LABELS)
        for version, value in values.items():
            self.add_sample(name, dict(zip(_LABELS, version, strict=True)), value)
