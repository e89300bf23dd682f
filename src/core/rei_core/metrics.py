"""What several processes tell Prometheus in the same way; each names it after its part.

docs/metrics.md has all metrics with their labels, and a test holds it to the code.
"""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from rei_core.db import Pool

# Every counter would bring another series, of when it began, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations

CALL_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25)


def tell_build(part: str, registry: CollectorRegistry) -> None:
    """One series that is there exactly while a process of this part is scraped."""
    build = Gauge(
        "rei_build_info", "Always 1: which part this is, of which version", ["component", "version"],
        registry=registry,
    )  # fmt: skip
    build.labels(part, version("rei")).set(1)


class DatabaseMetrics:
    """How PostgreSQL looks from this process: does it answer, and how full is the pool."""

    def __init__(self, part: str, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            f"rei_{part}_database_up", "Did PostgreSQL answer when it was last asked (0 or 1)",
            registry=registry,
        )  # fmt: skip
        self._connections = Gauge(
            f"rei_{part}_database_connections", "Connections of the pool", ["state"],
            registry=registry,
        )  # fmt: skip
        self._connections_max = Gauge(
            f"rei_{part}_database_connections_max", "The most there may be", registry=registry
        )

    def answered(self, yes: bool) -> None:
        """What came of asking."""
        self._up.set(yes)

    def look(self, pool: Pool) -> None:
        """Take the pool as it is now."""
        idle = pool.get_idle_size()
        self._connections.labels("idle").set(idle)
        self._connections.labels("used").set(pool.get_size() - idle)
        self._connections_max.set(pool.get_max_size())


class RedisMetrics:
    """How Redis looks from this process."""

    def __init__(self, part: str, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            f"rei_{part}_redis_up", "Did Redis answer when it was last asked (0 or 1)",
            registry=registry,
        )  # fmt: skip

    def answered(self, yes: bool) -> None:
        """What came of asking."""
        self._up.set(yes)


class YooKassaMetrics:
    """Calls of YooKassa by their end; `called` is what `YooKassaClient` reports to."""

    def __init__(self, part: str, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            f"rei_{part}_yookassa_calls_total", "Calls of YooKassa", ["operation", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            f"rei_{part}_yookassa_call_seconds", "Time of a call", ["operation"],
            buckets=CALL_SECONDS, registry=registry,
        )  # fmt: skip

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        """A call has ended."""
        self._calls.labels(operation, outcome).inc()
        self._seconds.labels(operation).observe(seconds)
