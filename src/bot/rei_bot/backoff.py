"""Trying Telegram again, and what to tell the person on call meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog
from aiogram.exceptions import (
    TelegramConflictError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)

from rei_bot.updates import is_outage

log = structlog.get_logger(__name__)

SECONDS_MIN = 1.0
SECONDS_MAX = 60.0


class Backoff:
    """Pauses that double, with some chance in them; Telegram's own wish comes first."""

    def __init__(self, *, seconds_min: float = SECONDS_MIN) -> None:
        self._seconds_min = seconds_min
        self._next_seconds = seconds_min

    def succeeded(self) -> None:
        """Start over."""
        self._next_seconds = self._seconds_min

    def failed(self, error: Exception) -> float:
        """How many seconds to wait after this failure."""
        seconds = self._next_seconds
        self._next_seconds = min(seconds * 2, SECONDS_MAX)
        if isinstance(error, TelegramRetryAfter):
            return max(seconds, float(error.retry_after))
        # Pods that lost Telegram together must not come back together.
        return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret in it


def report(action: str, error: Exception, *, pause_seconds: float) -> None:
    """Log why `action` failed, in words that tell what to do."""
    if isinstance(error, TelegramConflictError):
        problem = (
            "another process polls this bot's updates, or a webhook is set: "
            "only one bot may run in polling mode, and none beside a webhook"
        )
    elif isinstance(error, (TelegramUnauthorizedError, TelegramNotFound)):
        problem = "Telegram refuses the bot's credentials: check BOT_TOKEN"
    elif is_outage(error):
        log.warning(
            "out of reach",
            action=action,
            error=type(error).__name__,
            detail=str(error),
            retry_in_seconds=round(pause_seconds, 1),
        )
        return
    else:
        problem = "an unexpected answer"
    log.error(
        "refused",
        action=action,
        problem=problem,
        detail=str(error),
        retry_in_seconds=round(pause_seconds, 1),
    )


async def until_done(action: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` until it succeeds, reporting each failure; for what must not keep the bot down."""
    backoff = Backoff()
    while True:
        try:
            await work()
        except Exception as error:
            pause_seconds = backoff.failed(error)
            report(action, error, pause_seconds=pause_seconds)
            await asyncio.sleep(pause_seconds)
        else:
            log.info("telegram told", action=action)
            return
