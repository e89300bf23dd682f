"""What the worker tells Prometheus; every label has few values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as Process

from rei_core.process import watch_loop_lag

SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600)


class Metrics:
    """The worker's metrics in a registry of their own, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        Process(registry=registry)
        self._jobs = Counter(
            "rei_worker_jobs_total", "Attempts at jobs by their end", ["end"], registry=registry
        )
        self._job_seconds = Histogram(
            "rei_worker_job_seconds", "From claim to end", ["end"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._calls = Counter(
            "rei_worker_provider_calls_total", "Calls of the image provider", ["outcome"],
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

    def provider_call(self, outcome: str, seconds: float) -> None:
        self._calls.labels(outcome).inc()
        self._call_seconds.labels("ok" if outcome == "ok" else "failed").observe(seconds)

    def delivery(self, kind: str, outcome: str) -> None:
        self._deliveries.labels(kind, outcome).inc()

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

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)
