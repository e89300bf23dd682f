"""Rates that all pods share, counted in Redis: how often something may happen, whoever does it.

With Redis away or slow each process counts for itself for a few seconds, then asks Redis again;
one line in the log says so, and one that Redis is back. Until then the limit holds for each process
alone, so what is limited must bear being too fast for a while (Telegram and Gemini answer 429, and
that is obeyed). Nobody ever sees an error of Redis, or waits longer than a second for it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import structlog
from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

logger = structlog.get_logger(__name__)

REDIS_SECONDS_MAX = 1.0
LOCAL_FOR_SECONDS = 5.0
"""After a failure Redis is left alone for this long."""
CONNECTIONS_MAX = 10
TOGETHER_MAX = 50
"""Permits that the first in line takes at once, for those behind it as well."""
PAUSE_SECONDS_MIN = 0.05
PAUSE_SECONDS_MAX = 0.5


@dataclass(eq=False, slots=True)
class Line:
    """Those in this process who wait for the same permit; gone with the last one of them."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    people: int = 0
    """Those who wait, and the first in line, whose turn it is."""
    spare: int = 0
    """Permits taken for those who wait."""
    together: int = 1
    """How many are taken at once: more each time it goes well, one after a refusal."""


class SharedLimiter:
    """Permits under limits over a moving window. `name` keeps the keys of different uses apart."""

    def __init__(self, redis_url: str, *, name: str) -> None:
        self._name = name
        # A pool of our own: `limits` has no way to close the one it would make.
        self._connections = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=CONNECTIONS_MAX,
            timeout=REDIS_SECONDS_MAX,
            socket_timeout=REDIS_SECONDS_MAX,
            socket_connect_timeout=REDIS_SECONDS_MAX,
            # One more try at once, for a connection that Redis's restart has cut.
            retry=Retry(NoBackoff(), 1),
        )
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=f"rei:limits:{name}",
            connection_pool=self._connections,  # type: ignore[arg-type]  # documented, not annotated
        )
        self._shared = MovingWindowRateLimiter(storage)
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._redis_is_away = False
        self._local_until = float("-inf")
        self._calls: set[asyncio.Task[bool]] = set()
        self._turns: dict[str, Line] = {}

    async def hit(self, limit: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Take a permit, or `cost` of them, if there are so many now."""
        if time.monotonic() >= self._local_until:
            if self._redis_is_away:
                # One caller asks whether Redis is back; the others need not wait for that.
                self._local_until = time.monotonic() + LOCAL_FOR_SECONDS
            try:
                permitted = await self._ask_redis(limit, *identifiers, cost=cost)
            except Exception as error:  # limits passes on whatever its client raises
                self._redis_failed(error)
            else:
                self._redis_answered()
                return permitted
        return await self._local.hit(limit, *identifiers, cost=cost)

    async def wait(self, limit: RateLimitItem, *identifiers: str, deadline_seconds: float) -> bool:
        """Wait for a permit; False if there was none within the deadline.

        Those who wait for the same permit in one process stand in line: the first one alone
        asks, a few times a second, so a thousand of them are no load on Redis. Where there is
        plenty it takes permits for those behind it too: one by one a thousand jobs would wait for
        a thousand answers, one after the other.
        """
        deadline = time.monotonic() + deadline_seconds
        key = limit.key_for(*identifiers)
        line = self._turns.setdefault(key, Line())
        line.people += 1
        try:
            try:
                # A free turn is taken whatever this is.
                async with asyncio.timeout(deadline_seconds):
                    await line.turn.acquire()
            except TimeoutError:
                return False
            try:
                if line.spare > 0:
                    line.spare -= 1
                    return True
                return await self._first_in_line(line, limit, *identifiers, deadline=deadline)
            finally:
                line.turn.release()
        finally:
            line.people -= 1
            if line.people == 0:
                # With what was taken for people who have left: later it would be of another window.
                del self._turns[key]

    async def _first_in_line(
        self, line: Line, limit: RateLimitItem, *identifiers: str, deadline: float
    ) -> bool:
        pause = pause_seconds(limit)
        while not await self._take(line, limit, *identifiers):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
        return True

    async def _take(self, line: Line, limit: RateLimitItem, *identifiers: str) -> bool:
        together = min(line.together, line.people, limit.amount)
        if together > 1:
            if await self.hit(limit, *identifiers, cost=together):
                line.spare = together - 1
                line.together = min(2 * line.together, TOGETHER_MAX)
                return True
            line.together = 1
        permitted = await self.hit(limit, *identifiers)
        line.together = 2 if permitted else 1
        return permitted

    async def aclose(self) -> None:
        """Close the connections."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls, timeout=REDIS_SECONDS_MAX)
        await self._connections.disconnect()

    async def _ask_redis(self, limit: RateLimitItem, *identifiers: str, cost: int) -> bool:
        # A task of its own: redis-py waits with asyncio.wait_for, which in Python 3.11 may swallow
        # a cancellation, so asyncio.timeout around the call would not always end it.
        call = asyncio.create_task(self._shared.hit(limit, *identifiers, cost=cost))
        self._calls.add(call)
        call.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait({call}, timeout=REDIS_SECONDS_MAX)
        finally:
            call.cancel()
        if not done:
            raise TimeoutError
        return call.result()

    def _ended(self, call: asyncio.Task[bool]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # seen, also if nobody waits for it any more

    def _redis_failed(self, error: Exception) -> None:
        self._local_until = time.monotonic() + LOCAL_FOR_SECONDS
        if not self._redis_is_away:
            self._redis_is_away = True
            logger.warning("rates.redis_away", limiter=self._name, error=type(error).__name__)

    def _redis_answered(self) -> None:
        self._local_until = float("-inf")
        if self._redis_is_away:
            self._redis_is_away = False
            logger.info("rates.redis_back", limiter=self._name)


def pause_seconds(limit: RateLimitItem) -> float:
    """How long the first in line waits before it asks again: a part of the time between permits."""
    between_permits: float = limit.get_expiry() / limit.amount
    return min(max(between_permits / 4, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
