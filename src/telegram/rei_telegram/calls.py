"""Calls of the Bot API by their end, as Prometheus sees them."""

from __future__ import annotations

from typing import Final

from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramConflictError,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)

# The first that fits counts: some of these are kinds of others.
OUTCOMES: Final[tuple[tuple[str, tuple[type[BaseException], ...]], ...]] = (
    ("limited", (TelegramRetryAfter,)),
    ("blocked", (TelegramForbiddenError,)),
    # A token that Telegram does not know is answered 401 or, its form being wrong, 404.
    ("unauthorized", (TelegramUnauthorizedError, TelegramNotFound)),
    ("conflict", (TelegramConflictError,)),
    ("refused", (TelegramBadRequest, TelegramMigrateToChat, TelegramEntityTooLarge)),
    ("server_error", (TelegramServerError,)),
    ("network", (TelegramNetworkError,)),
    ("unreadable", (ClientDecodeError,)),
)


def outcome_of(error: BaseException) -> str:
    """How a call that raised has ended, as a label."""
    return next((name for name, kinds in OUTCOMES if isinstance(error, kinds)), "failed")


class TelegramCalls:
    """Counts and times the calls; what a `BoundedSession` reports to."""

    def __init__(self, part: str, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            f"rei_{part}_telegram_calls_total", "Calls of the Bot API", ["method", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            f"rei_{part}_telegram_call_seconds", "Time of a call; getUpdates waits on purpose",
            ["method"], buckets=SECONDS, registry=registry,
        )  # fmt: skip

    def called(self, method: str, outcome: str, seconds: float) -> None:
        """A call has ended."""
        self._calls.labels(method, outcome).inc()
        self._seconds.labels(method).observe(seconds)
