"""``GET /metrics``: plain integers kept on the hot path, given Prometheus' form when somebody asks.

Latencies and batch sizes are counted by power of two, so an observation is one list element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kaizen.serve.aliases import Version, cumulative, of_kserve, of_triton
from kaizen.serve.commit import Commit
from kaizen.serve.feedback import Feedback
from kaizen.serve.generation import Generation
from kaizen.serve.lanes import NAMES
from kaizen.serve.listener import Listener
from kaizen.serve.message import Request, Route
from kaizen.serve.models import Models
from kaizen.serve.scoring import Scoring
from kaizen.serve.stages import NAMES as STAGES
from kaizen.serve.stages import Stages
from kaizen.serve.tally import Family
from kaizen.serve.telemetry import Telemetry

_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Collects the server's figures.

    Parameters
    ----------
    models
        The endpoints.
    routes
        Whose answers are counted.
    together
        Returns the figures of all workers of the server, where there are several, this one's included.
    """

    def __init__(
        self,
        models: Models,
        routes: Sequence[Route],
        listener: Listener,
        scoring: Scoring,
        feedback: Feedback,
        commit: Commit,
        together: Callable[[], list[Family]] | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._models = models
        self._routes = routes
        self._listener = listener
        self._scoring = scoring
        self._feedback = feedback
        self._commit = commit
        self._together = together
        self._telemetry = telemetry
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def handle(self, request: Request) -> None:
        """Answer with every figure."""
        request.reply(generate_latest(self._registry), content_type=_TEXT)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; called by prometheus_client."""
        if self._together is None:
            yield from self._own()
            return
        for family in self._together():
            metric = Metric(family.name, family.says, family.type)
            for name, labels, value in family.samples:
                metric.add_sample(name, dict(labels), value)
            yield metric

    def families(self) -> list[Family]:
        """Return this process' figures in plain values."""
        return [
            Family(
                each.name,
                each.documentation,
                each.type,
                [(s.name, tuple(s.labels.items()), s.value) for s in each.samples],
            )
            for each in self._own()
        ]

    def _own(self) -> Iterable[Metric]:
        yield from self._requests()
        yield from self._rows()
        yield from self._log()
        yield from self._state()
        yield from self._stages()
        yield from self._watchers()

    def _requests(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("kaizen_requests", "Requests answered.", labels=["route", "status"])
        seconds = HistogramMetricFamily("kaizen_request_seconds", "From bytes read to answer.", labels=["route"])
        for route in self._routes:
            counts = route.counts
            for status, count in sorted(counts.statuses.items()):
                requests.add_metric([route.name, str(status)], count)
            if counts.statuses:
                seconds.add_metric([route.name], cumulative(counts.buckets, 1e-6), counts.spent_us / 1e6)
        yield requests
        yield seconds

    def _rows(self) -> Iterable[Metric]:
        scored = CounterMetricFamily(
            "kaizen_rows", "Rows scored, since the revision.", labels=["endpoint", "arm", "bundle"]
        )
        for name, generation in self._generations():
            for arm in (*generation.arms, *generation.shadows):
                scored.add_metric([name, arm.arm.role, arm.bundle.id], arm.rows)
        yield scored
        yield self._violations()
        batches = cumulative(self._scoring.batches, 1.0)
        yield HistogramMetricFamily("kaizen_batch_rows", "Rows a batch.", batches, self._scoring.batch_rows)
        yield CounterMetricFamily("kaizen_labels", "Labels taken.", self._feedback.labels)
        yield from self._queue()
        yield CounterMetricFamily("kaizen_shadow_dropped_rows", "Not scored: too busy.", self._scoring.shadow_dropped)
        yield CounterMetricFamily("kaizen_shadow_failed_rows", "Shadow failures.", self._scoring.shadow_failed)

    def _violations(self) -> Metric:
        broken = CounterMetricFamily(
            "kaizen_violations", "Rows that break a rule, since the revision.", labels=["endpoint", "column", "rule"]
        )
        for name, generation in self._generations():
            for rule, rows in generation.rowwatch.totals() if generation.rowwatch is not None else ():
                broken.add_metric([name, rule.name, rule.kind], rows)
        return broken

    def _queue(self) -> Iterable[Metric]:
        batcher, held = self._scoring.batcher, self._scoring.held_rows
        lanes = batcher.lanes
        queued = GaugeMetricFamily("kaizen_queue_rows", "Rows that wait.", labels=["lane"])
        for lane, rows in zip(NAMES, lanes.rows, strict=True):
            queued.add_metric([lane], rows)
        yield queued
        waited = cumulative(lanes.waited_us, 1e-6)
        yield HistogramMetricFamily("kaizen_queue_seconds", "From asked to its batch.", waited, lanes.waited_ns / 1e9)
        wait_s = batcher.wait_ns() / 1e9
        yield GaugeMetricFamily("kaizen_queue_wait_seconds", "What a new request would wait, as expected.", wait_s)
        yield GaugeMetricFamily("kaizen_disk_wait_rows", "Rows scored that wait for the disk.", sum(held))
        yield GaugeMetricFamily("kaizen_loop_lag_seconds", "How late what arrives is read.", self._scoring.lag_s)
        dropped = CounterMetricFamily("kaizen_unscored", "Requests, or parts, not scored.", labels=["reason"])
        dropped.add_metric(["overload"], batcher.refused)
        dropped.add_metric(["deadline"], batcher.expired)
        dropped.add_metric(["cancelled"], batcher.cancelled)
        yield dropped
        yield CounterMetricFamily(
            "kaizen_failed_batches", "Batches cut to find what spoilt them.", batcher.failed_batches
        )
        yield CounterMetricFamily("kaizen_quarantined", "Requests, or parts, that spoil a batch.", batcher.failed_jobs)

    def _log(self) -> Iterable[Metric]:
        scoring = self._scoring
        failures = scoring.log_failures + self._feedback.log_failures
        yield CounterMetricFamily("kaizen_log_rows", "Predictions written to the log.", scoring.log_rows)
        yield CounterMetricFamily("kaizen_log_bytes", "Input bytes written to the log.", scoring.log_bytes)
        yield CounterMetricFamily("kaizen_log_seconds", "Time spent writing the log.", scoring.log_s)
        yield CounterMetricFamily("kaizen_log_failures", "Batches that could not be written.", failures)
        yield CounterMetricFamily("kaizen_log_syncs", "Times the log was brought to the disk.", self._commit.syncs)
        yield CounterMetricFamily("kaizen_log_sync_failures", "Times the disk refused.", self._commit.failures)

    def _state(self) -> Iterable[Metric]:
        revision = GaugeMetricFamily("kaizen_revision", "The revision that answers.", labels=["endpoint"])
        swaps = CounterMetricFamily("kaizen_swaps", "Revisions switched to.", labels=["endpoint"])
        failures = CounterMetricFamily("kaizen_swap_failures", "Revisions that did not load.", labels=["endpoint"])
        for hosted in self._models:
            generation = hosted.generation
            revision.add_metric([hosted.name], 0 if generation is None else generation.endpoint.revision)
            swaps.add_metric([hosted.name], hosted.swap.swaps)
            failures.add_metric([hosted.name], hosted.swap.failures)
        yield from (revision, swaps, failures)
        yield GaugeMetricFamily("kaizen_connections", "Open connections.", len(self._listener.connections))
        yield GaugeMetricFamily("kaizen_requests_waiting", "Requests without an answer.", self._listener.waiting)

    def _stages(self) -> Iterable[Metric]:
        versions, waiting = self._versions()
        seconds = CounterMetricFamily(
            "kaizen_stage_seconds", "Time of requests by stage.", labels=["endpoint", "version", "stage"]
        )
        for version, stages in versions.items():
            for name, spent_ns in zip(STAGES, stages.spent_ns, strict=True):
                seconds.add_metric([*version, name], spent_ns / 1e9)
        yield seconds
        alone = self._routes if len(self._models) == 1 else ()
        predicting = [route.counts.statuses for route in alone if route.scope == "predict"]
        failed = sum(sum(statuses.values()) - statuses.get(200, 0) for statuses in predicting)
        known = sum(stages.failures for stages in versions.values())
        yield from of_triton(versions, waiting, max(0, failed - known))
        yield from of_kserve(versions, alone)

    def _versions(self) -> tuple[dict[Version, Stages], dict[Version, int]]:
        """Return the figures of the versions that answer, and how many requests wait for each."""
        known, jobs = self._scoring.stages, self._scoring.batcher.lanes.waiting()
        versions: dict[Version, Stages] = {}
        waiting: dict[Version, int] = {}
        for name, generation in self._generations():
            for arm in generation.arms:
                version = (name, str(arm.bundle.version))
                versions[version] = known.get(version) or Stages()
                waiting[version] = waiting.get(version, 0) + jobs.get(arm, 0)
        return versions, waiting

    def _watchers(self) -> Iterable[Metric]:
        if self._telemetry is None:
            return
        for name, says, outcomes in self._telemetry.figures():
            counter = CounterMetricFamily(name, says, labels=["outcome"])
            for outcome, count in outcomes.items():
                counter.add_metric([outcome], count)
            yield counter

    def _generations(self) -> list[tuple[str, Generation]]:
        return [(hosted.name, hosted.generation) for hosted in self._models if hosted.generation is not None]
