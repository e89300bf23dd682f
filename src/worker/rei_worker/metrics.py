"""What the worker tells Prometheus; every label has few values."""

from __future__ import annotations

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as Process

from rei_core.db import Pool
from rei_core.metrics import DatabaseMetrics, RedisMetrics, tell_build
from rei_core.process import watch_loop_lag
from rei_telegram.calls import TelegramCalls

OrderEnd = Literal["completed", "refused", "failed"]
"""`refused` is the customer's doing (a blocked prompt, a file that is no picture), `failed` ours or
the provider's."""
SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600)


class Metrics:
    """The worker's metrics in a registry of their own, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        Process(registry=registry)
        tell_build("worker", registry)
        self.database = DatabaseMetrics("worker", registry)
        self.redis = RedisMetrics("worker", registry)
        self.telegram = TelegramCalls("worker", registry)
        self._jobs = Counter(
            "rei_worker_jobs_total", "Attempts at jobs by their end", ["end"], registry=registry
        )
        self._job_seconds = Histogram(
            "rei_worker_job_seconds", "From claim to end", ["end"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._orders = Counter(
            "rei_worker_orders_ended_total", "Orders that ended here, by whose fault a failure is",
            ["outcome"], registry=registry,
        )  # fmt: skip
        # A series that begins with its first event has no increase to see: these begin with 0.
        for outcome in get_args(OrderEnd):
            self._orders.labels(outcome)
        self._calls = Counter(
            "rei_worker_provider_calls_total", "Calls of the image provider", ["outcome", "failure"],
            registry=registry,
        )  # fmt: skip
        self._call_seconds = Histogram(
            "rei_worker_provider_call_seconds", "Time of a call", ["outcome"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._deliveries = Counter(
            "rei_worker_deliveries_total", "Attempts at deliveries", ["kind", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._delivery_seconds = Histogram(
            "rei_worker_delivery_seconds", "Time of an attempt at a delivery", ["kind"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._circuits = Counter(
            "rei_worker_circuits_opened_total", "Circuits opened", ["code"], registry=registry
        )
        self._swept = Counter(
            "rei_worker_swept_total", "Rows that the sweep mended", ["what"], registry=registry
        )
        self._used = Gauge("rei_worker_slots_used", "Jobs running", registry=registry)
        self._slots = Gauge("rei_worker_slots", "Jobs at a time", registry=registry)
        self._lag = Gauge(
            "rei_worker_event_loop_lag_seconds", "How late the loop wakes", registry=registry
        )

    def job_ended(self, end: str, seconds: float) -> None:
        self._jobs.labels(end).inc()
        self._job_seconds.labels(end.split("_", maxsplit=1)[0]).observe(seconds)

    def order_ended(self, outcome: OrderEnd, orders: int = 1) -> None:
        self._orders.labels(outcome).inc(orders)

    def provider_call(self, outcome: str, seconds: float, *, failure: str = "none") -> None:
        self._calls.labels(outcome, failure).inc()
        self._call_seconds.labels("ok" if outcome == "ok" else "failed").observe(seconds)

    def delivery(self, kind: str, outcome: str, seconds: float) -> None:
        self._deliveries.labels(kind, outcome).inc()
        self._delivery_seconds.labels(kind).observe(seconds)

    def circuit_opened(self, code: str) -> None:
        self._circuits.labels(code).inc()

    def swept(self, what: str, rows: int) -> None:
        self._swept.labels(what).inc(rows)

    def slots(self, *, used: int, total: int) -> None:
        self._used.set(used)
        self._slots.set(total)

    async def watch_loop(self) -> None:
        """Measure the event loop's lag until cancelled."""
        await watch_loop_lag(self._lag.set)

    def exposition(self, pool: Pool) -> bytes:
        """The text format, with the pool as it is now."""
        self.database.look(pool)
        return generate_latest(self.registry)
