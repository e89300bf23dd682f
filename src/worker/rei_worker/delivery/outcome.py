"""What an error of Telegram means for a delivery: pure, so that each case can be read and tested.

The customer has paid for what is delivered. So it is given up only when Telegram says that it can
never arrive, or after many attempts that may each have failed through the message itself. Telegram
being away, or telling us to wait, or a wrong token or address of ours, is held against no message.
"""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)

from rei_core.deliveries.model import Delivery

DELAY_SECONDS_MAX = 300.0
AGE_SECONDS_MAX = 24 * 3600.0
"""After a day nobody waits for it any more, whatever the reason was."""
NOT_THE_MESSAGE = (
    TelegramRetryAfter,
    TelegramServerError,
    TelegramNotFound,  # no such method: the address or the token is wrong, not the chat
    TelegramUnauthorizedError,
)
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
    """Try again after `delay_seconds`; `counts`: the attempt is held against the delivery."""

    delay_seconds: float
    detail: str
    counts: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The customer cannot be reached, or Telegram will never take this. The result stays stored."""

    detail: str


def outcome_of(
    error: Exception, delivery: Delivery, *, attempts_max: int, jitter: float
) -> Postpone | GiveUp:
    """What to do after a send that failed; `jitter` in [0, 1)."""
    detail = _detail(error)
    if isinstance(error, TelegramForbiddenError | TelegramBadRequest | TelegramEntityTooLarge):
        return GiveUp(detail)
    counts = not (isinstance(error, NOT_THE_MESSAGE) or _never_connected(error))
    if counts and delivery.failures >= attempts_max:
        return GiveUp(f"out of attempts; the last: {detail}")
    if delivery.age_seconds >= AGE_SECONDS_MAX:
        return GiveUp(f"too old; the last: {detail}")
    if isinstance(error, TelegramRetryAfter):
        # Telegram means it: earlier attempts prolong the ban.
        wish = min(max(error.retry_after, 1), AGE_SECONDS_MAX)
        return Postpone(wish + jitter, detail, counts)
    backoff = min(2.0 ** min(delivery.attempt, 16), DELAY_SECONDS_MAX)
    return Postpone(backoff * (0.75 + jitter / 2), detail, counts)


def _never_connected(error: Exception) -> bool:
    """Is it certain that nothing was sent? After a time-out or a cut connection it is not, and each
    repeat may show the customer one copy more: those attempts are counted."""
    return isinstance(error, TelegramNetworkError) and isinstance(
        error.__cause__, aiohttp.ClientConnectorError
    )


def _detail(error: Exception) -> str:
    if isinstance(error, TelegramNetworkError):  # its text may hold the URL, and that the token
        return f"{type(error).__name__}: {type(error.__cause__).__name__}"
    return f"{type(error).__name__}: {getattr(error, 'message', '')}"[:300]


def photo_refused(error: Exception) -> bool:
    """Does Telegram refuse this picture as a photo, rather than the chat or us?

    Then the file alone is sent: a document is neither decoded nor measured by Telegram.
    """
    if isinstance(error, TelegramEntityTooLarge):
        return True
    if not isinstance(error, TelegramBadRequest):
        return False
    return not any(word in error.message.lower() for word in UNREACHABLE_WORDS)
