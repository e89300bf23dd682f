"""Whether what a process stands on answers, asked every few seconds: traffic alone does not tell, for
a bot that nobody writes to has none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

PERIOD_SECONDS: Final = 5.0
REDIS_SECONDS_MAX: Final = 2.0


async def watch(
    ask: Callable[[], Awaitable[bool]],
    report: Callable[[bool], None],
    *,
    period_seconds: float = PERIOD_SECONDS,
) -> NoReturn:
    """Ask and report until cancelled. `ask` raises nothing, and is bounded in time."""
    while True:
        report(await ask())
        await asyncio.sleep(period_seconds)


class RedisPing:
    """Asks Redis over a connection of its own, so that a full pool is not taken for an absence."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(
            redis_url,
            max_connections=1,
            socket_timeout=REDIS_SECONDS_MAX,
            socket_connect_timeout=REDIS_SECONDS_MAX,
            # One more try at once, for a connection that Redis's restart has cut.
            retry=Retry(NoBackoff(), 1),
        )

    async def answers(self) -> bool:
        """Whether Redis answers now."""
        try:
            return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False

    async def aclose(self) -> None:
        """Close the connection."""
        await self._redis.aclose()
