"""What an error of Telegram means for a delivery: pure, so that each case can be read and tested."""

from __future__ import annotations

from dataclasses import dataclass

from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNotFound,
    TelegramRetryAfter,
)

DELAY_SECONDS_MAX = 300.0
UNREACHABLE_WORDS = (
    "chat not found",
    "user is deactivated",
    "peer_id_invalid",
    "bot was blocked",
    "have no rights to send",
    "not enough rights to send",
)


@dataclass(frozen=True, slots=True)
class Postpone:
    """Try again after `delay_seconds`."""

    delay_seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The customer cannot be reached, or Telegram will never take this. The result stays stored."""

    detail: str


def outcome_of(
    error: Exception, *, attempt: int, attempts_max: int, jitter: float
) -> Postpone | GiveUp:
    """What to do after a send that failed; `jitter` in [0, 1)."""
    detail = f"{type(error).__name__}: {getattr(error, 'message', '')}"[:300]
    if isinstance(error, TelegramForbiddenError | TelegramBadRequest | TelegramNotFound):
        return GiveUp(detail)
    if attempt >= attempts_max:
        return GiveUp(f"out of attempts; the last: {detail}")
    if isinstance(error, TelegramRetryAfter):
        # Telegram means it: earlier attempts prolong the ban.
        return Postpone(error.retry_after + jitter, detail)
    backoff = min(2.0 ** min(attempt, 16), DELAY_SECONDS_MAX)
    return Postpone(backoff * (0.75 + jitter / 2), detail)


def photo_refused(error: Exception) -> bool:
    """Does Telegram refuse this picture as a photo, rather than the chat or us?

    Then the file alone is sent: a document is neither decoded nor measured by Telegram.
    """
    if isinstance(error, TelegramEntityTooLarge):
        return True
    if not isinstance(error, TelegramBadRequest):
        return False
    return not any(word in error.message.lower() for word in UNREACHABLE_WORDS)
