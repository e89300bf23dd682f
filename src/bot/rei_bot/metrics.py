"""What the bot tells Prometheus; every label has few values, seconds and kopecks are the units."""

from __future__ import annotations

from aiogram.types import Update
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as Process

from rei_core.db import Pool
from rei_core.jobs.model import Outcome
from rei_core.metrics import DatabaseMetrics, RedisMetrics, YooKassaMetrics, tell_build
from rei_core.process import watch_loop_lag
from rei_telegram.calls import TelegramCalls

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25)
EVENTS = (
    "payment.succeeded",
    "payment.waiting_for_capture",
    "payment.canceled",
    "refund.succeeded",
)
"""The events that become a label of their own: a notification is unsigned, anybody may name one."""
KINDS = ("message", "callback_query", "other")


class Metrics:
    """The bot's metrics in a registry of their own, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        Process(registry=registry)
        tell_build("bot", registry)
        self.database = DatabaseMetrics("bot", registry)
        self.redis = RedisMetrics("bot", registry)
        self.yookassa = YooKassaMetrics("bot", registry)
        self.telegram = TelegramCalls("bot", registry)
        self._updates = Counter(
            "rei_bot_updates_total", "Telegram updates by their end", ["kind", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._update_seconds = Histogram(
            "rei_bot_update_seconds", "From an update's arrival to its end", ["kind"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._polls = Counter(
            "rei_bot_polls_total", "Calls of getUpdates", ["outcome"], registry=registry
        )
        # A series that begins with its first event has no increase to see: these, which alerts look
        # at, begin with 0.
        for kind in KINDS:
            for outcome in ("handled", "failed", "given_up"):
                self._updates.labels(kind, outcome)
        self._notifications = Counter(
            "rei_bot_notifications_total", "YooKassa's notifications by their end",
            ["event", "outcome"], registry=registry,
        )  # fmt: skip
        for event in EVENTS:
            for outcome in ("credited", "settled"):
                self._notifications.labels(event, outcome)
        self._notification_seconds = Histogram(
            "rei_bot_notification_seconds", "From a notification's arrival to its answer",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._credits = Counter(
            "rei_bot_credits_total", "Top-ups credited because of a notification",
            registry=registry,
        )  # fmt: skip
        self._credited = Counter(
            "rei_bot_credited_kopecks_total", "Their sum", registry=registry
        )  # fmt: skip
        self._rings = Counter(
            "rei_bot_rings_total", "Accepted orders, by whether the doorbell could be rung",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self._orders = Counter(
            "rei_bot_orders_total", "Orders, by what came of them", ["outcome"], registry=registry
        )
        self._waiting = Gauge(
            "rei_bot_telegram_pending_updates", "Updates that wait at Telegram, as it says",
            registry=registry,
        )  # fmt: skip
        self._webhook_error = Gauge(
            "rei_bot_telegram_last_error_timestamp_seconds",
            "When Telegram last failed to bring us an update, as it says; 0 if it never did",
            registry=registry,
        )
        self._lag = Gauge(
            "rei_bot_event_loop_lag_seconds", "How late the loop wakes", registry=registry
        )

    def update(self, kind: str, outcome: str, seconds: float) -> None:
        self._updates.labels(kind, outcome).inc()
        self._update_seconds.labels(kind).observe(seconds)

    def poll(self, outcome: str) -> None:
        self._polls.labels(outcome).inc()

    def notification(self, event: str, outcome: str, seconds: float) -> None:
        self._notifications.labels(event if event in EVENTS else "other", outcome).inc()
        self._notification_seconds.observe(seconds)

    def credited(self, amount_kopecks: int) -> None:
        self._credits.inc()
        self._credited.inc(amount_kopecks)

    def ring(self, outcome: str) -> None:
        self._rings.labels(outcome).inc()

    def order(self, outcome: Outcome) -> None:
        self._orders.labels(outcome.value).inc()

    def waiting(self, updates: int, *, last_error: float) -> None:
        """What Telegram says about the updates that it has for us."""
        self._waiting.set(updates)
        self._webhook_error.set(last_error)

    async def watch_loop(self) -> None:
        """Measure the event loop's lag until cancelled."""
        await watch_loop_lag(self._lag.set)

    def exposition(self, pool: Pool) -> bytes:
        """The text format, with the pool as it is now."""
        self.database.look(pool)
        return generate_latest(self.registry)


def kind_of(update: Update) -> str:
    """An update's kind as a label."""
    if update.message is not None:
        return "message"
    return "callback_query" if update.callback_query is not None else "other"
