"""What the operator tells Prometheus.

Counters are of this process; what must survive a restart (the last success, the queue) is read
from PostgreSQL and the status, and is absent rather than stale when it cannot be read: an alert on
a number that stands still is worse than one on a number that is gone.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as Process

from rei_core.db import Pool
from rei_core.jobs.model import QueueState
from rei_core.maintenance.runs.model import Run
from rei_core.metrics import DatabaseMetrics, YooKassaMetrics, tell_build
from rei_core.process import watch_loop_lag
from rei_operator.figures import Books, Figures, book_figures, queue_figures
from rei_operator.standing import Standing, Standings, Who

SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)


class Metrics:
    """The operator's metrics in a registry of their own, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        Process(registry=registry)
        tell_build("operator", registry)
        self.database = DatabaseMetrics("operator", registry)
        self.yookassa = YooKassaMetrics("operator", registry)
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
        self._resources = Standings()
        self._queue = Figures()
        self._books = Figures()
        for collector in (self._resources, self._queue, self._books):
            registry.register(collector)

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

    def tell(self, who: Who, standing: Standing) -> None:
        """How a resource stands."""
        self._resources.known[who] = standing

    def forget(self, who: Who) -> None:
        """The resource is gone."""
        self._resources.known.pop(who, None)

    def queue(self, queue: QueueState | None) -> None:
        """The queue as it was just counted; None if it cannot be."""
        self._queue.latest = () if queue is None else queue_figures(queue)

    def books(self, books: Books | None) -> None:
        """Money and what waits as they were just read; None if they cannot be."""
        self._books.latest = () if books is None else book_figures(books)

    async def watch_loop(self) -> None:
        """Measure the event loop's lag until cancelled."""
        await watch_loop_lag(self._lag.set)

    def exposition(self, pool: Pool) -> bytes:
        """The text format, with the pool as it is now."""
        self.database.look(pool)
        return generate_latest(self.registry)
