"""Telegram's limits, shared by all pods: so many messages a second in all, one a second to a chat.

With Redis away each process counts for itself. That may be too fast for many pods; Telegram then
answers 429, and the delivery is postponed as Telegram says.
"""

from __future__ import annotations

import time

from limits import RateLimitItemPerSecond

from rei_core.rates import SharedLimiter

CHAT_PER_SECOND = RateLimitItemPerSecond(1, namespace="chat")


class TelegramPace:
    """Permits to send."""

    def __init__(self, redis_url: str, *, messages_per_second_max: int) -> None:
        self._limiter = SharedLimiter(redis_url, name="telegram")
        self._all = RateLimitItemPerSecond(messages_per_second_max, namespace="all")

    async def acquire(self, chat_id: int, *, deadline_seconds: float) -> bool:
        """Wait for a permit to send to a chat; False if there is none within the deadline."""
        deadline = time.monotonic() + deadline_seconds
        return await self._limiter.wait(
            CHAT_PER_SECOND, str(chat_id), deadline_seconds=deadline_seconds
        ) and await self._limiter.wait(self._all, deadline_seconds=deadline - time.monotonic())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._limiter.aclose()
