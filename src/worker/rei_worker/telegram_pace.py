"""Telegram's limits, shared by all pods through Redis: about 30 messages a second in all, one a
second to a chat.

With Redis away each process counts for itself. That may be too fast for many pods; Telegram then
answers 429, and the delivery is postponed as Telegram says.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

logger = structlog.get_logger(__name__)

ALL_PER_SECOND = RateLimitItemPerSecond(25, namespace="rei-telegram-all")
"""Below Telegram's 30: the bot's own answers need room too."""
CHAT_PER_SECOND = RateLimitItemPerSecond(1, namespace="rei-telegram-chat")
REDIS_SECONDS_MAX = 1.0
LOCAL_FOR_SECONDS = 5.0
"""After a failure Redis is left alone for this long."""
STEP_SECONDS = 0.1


class TelegramPace:
    """Permits to send."""

    def __init__(self, redis_url: str) -> None:
        self._shared = MovingWindowRateLimiter(
            RedisStorage(
                f"async+{redis_url}",
                implementation="redispy",
                key_prefix="rei:limits",
                socket_timeout=REDIS_SECONDS_MAX,
                socket_connect_timeout=REDIS_SECONDS_MAX,
            )
        )
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._local_until = float("-inf")

    async def acquire(self, chat_id: int, *, deadline_seconds: float) -> bool:
        """Wait for a permit to send to a chat; False if there is none within the deadline."""
        deadline = time.monotonic() + deadline_seconds
        return await self._wait(CHAT_PER_SECOND, str(chat_id), deadline) and await self._wait(
            ALL_PER_SECOND, "all", deadline
        )

    async def _wait(self, limit: RateLimitItemPerSecond, name: str, deadline: float) -> bool:
        while not await self._hit(limit, name):
            if time.monotonic() + STEP_SECONDS > deadline:
                return False
            await asyncio.sleep(STEP_SECONDS)
        return True

    async def _hit(self, limit: RateLimitItemPerSecond, name: str) -> bool:
        if time.monotonic() >= self._local_until:
            try:
                async with asyncio.timeout(REDIS_SECONDS_MAX):
                    return await self._shared.hit(limit, name)
            except Exception as error:  # limits passes on whatever its client raises
                self._local_until = time.monotonic() + LOCAL_FOR_SECONDS
                logger.warning("telegram_pace.redis_away", error=type(error).__name__)
        return await self._local.hit(limit, name)

    async def aclose(self) -> None:
        """Close the connections."""
        storage = self._shared.storage
        client = getattr(getattr(storage, "bridge", None), "storage", None)
        if client is not None:
            await client.aclose()
