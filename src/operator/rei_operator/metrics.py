"""What the operator tells Prometheus.

Counters are of this process; what must survive a restart (the last success, the queue) is read
from PostgreSQL and the status, and is absent rather than stale when it cannot be read: an alert on
a number that stands still is worse than one on a number that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as Process
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rei_core.jobs.model import QueueState
from rei_core.maintenance.runs.model import Run
from rei_core.process import watch_loop_lag

SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
NAMES = ("kind", "namespace", "name")
Who = tuple[str, str, str]


class Metrics:
    """The operator's metrics in a registry of their own, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        Process(registry=registry)
        self._runs = Counter(
            "rei_maintenance_runs_total", "Runs by kind and result", ["kind", "result"],
            registry=registry,
        )  # fmt: skip
        self._run_seconds = Histogram(
            "rei_maintenance_run_seconds", "Time of a run", ["kind"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._rows = Counter(
            "rei_maintenance_rows_changed_total", "Rows changed by runs", ["kind"],
            registry=registry,
        )  # fmt: skip
        self._failed = Counter(
            "rei_maintenance_rows_failed_total", "Rows that runs could not deal with", ["kind"],
            registry=registry,
        )  # fmt: skip
        self._kopecks = Counter(
            "rei_maintenance_kopecks_moved_total", "Kopecks moved by runs", ["kind", "direction"],
            registry=registry,
        )  # fmt: skip
        self._reconciles = Counter(
            "rei_operator_reconciles_total", "Looks at a resource", ["kind", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._lag = Gauge(
            "rei_operator_event_loop_lag_seconds", "How late the loop wakes", registry=registry
        )
        self._resources = _Resources()
        self._queue = _Queue()
        registry.register(self._resources)
        registry.register(self._queue)

    def ran(self, run: Run, *, seconds: float) -> None:
        """A run has ended here."""
        kind, result = run.key.kind, run.result
        self._runs.labels(kind, run.status.value).inc()
        self._run_seconds.labels(kind).observe(seconds)
        self._rows.labels(kind).inc(result.changed)
        self._failed.labels(kind).inc(result.failed)
        direction = "to_customers" if result.amount_kopecks >= 0 else "from_customers"
        self._kopecks.labels(kind, direction).inc(abs(result.amount_kopecks))

    def adjusted(self, amount_kopecks: int) -> None:
        """A balance was changed by hand."""
        direction = "to_customers" if amount_kopecks >= 0 else "from_customers"
        self._kopecks.labels("BalanceAdjustment", direction).inc(abs(amount_kopecks))

    def reconciled(self, kind: str, outcome: str) -> None:
        self._reconciles.labels(kind, outcome).inc()

    def tell(
        self,
        who: Who,
        *,
        last_success: float | None,
        interval_seconds: float | None,
        healthy: bool | None,
    ) -> None:
        """How a resource stands."""
        self._resources.known[who] = _Standing(last_success, interval_seconds, healthy)

    def forget(self, who: Who) -> None:
        """The resource is gone."""
        self._resources.known.pop(who, None)

    def queue(self, queue: QueueState | None) -> None:
        """The queue as it was just counted; None if it cannot be."""
        self._queue.latest = queue

    async def watch_loop(self) -> None:
        """Measure the event loop's lag until cancelled."""
        await watch_loop_lag(self._lag.set)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class _Standing:
    last_success: float | None
    interval_seconds: float | None
    healthy: bool | None


class _Resources(Collector):
    def __init__(self) -> None:
        self.known: dict[Who, _Standing] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        success = GaugeMetricFamily(
            "rei_maintenance_last_success_timestamp_seconds", "When it last succeeded", labels=NAMES
        )
        interval = GaugeMetricFamily(
            "rei_maintenance_expected_interval_seconds", "Seconds between its runs", labels=NAMES
        )
        healthy = GaugeMetricFamily(
            "rei_maintenance_healthy", "Is its condition true (1) or false (0)", labels=NAMES
        )
        for who, standing in self.known.items():
            for family, value in (
                (success, standing.last_success),
                (interval, standing.interval_seconds),
                (healthy, standing.healthy),
            ):
                if value is not None:
                    family.add_metric(who, float(value))
        yield from (success, interval, healthy)


class _Queue(Collector):
    def __init__(self) -> None:
        self.latest: QueueState | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        queue = self.latest
        if queue is None:
            return
        for name, text, value in (
            ("rei_queue_queued", "Jobs that wait", queue.queued),
            ("rei_queue_due", "Jobs that wait and could be worked on now", queue.due),
            ("rei_queue_processing", "Jobs at work", queue.processing),
            ("rei_queue_oldest_age_seconds", "Age of the job that waits longest",
             queue.oldest_queued_seconds),
            ("rei_queue_mean_seconds", "Mean time of the jobs of the last minutes",
             queue.mean_seconds),
        ):  # fmt: skip
            if value is not None:
                yield GaugeMetricFamily(name, text, value=float(value))
