"""The doorbell's hearing side: taskiq on a Redis stream that is allowed to die at any moment.

A ring says "look into PostgreSQL" and nothing more, so none is ever worth saving. That settles
what taskiq's own stream broker leaves open:

- Read with NOACK: no pending lists, so nothing to reclaim from the dead, no reclaim lock that a
  killed worker could hold. As many entries at a time as there are free slots (`ready`), so rings go
  to a worker that can act on all of them; together they are one ring.
- Everything up to the last entry read has been handed out already: it is trimmed at once. The
  stream holds the rings that nobody has heard yet, at most `STREAM_LENGTH_MAX` of them.
- A lost connection, a restarted or a flushed Redis: back off, make the group again, go on. Until
  then the workers find their jobs by polling.
- Consumers that have been silent for long are removed; that loses nothing, they own nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from taskiq.receiver import Receiver
from taskiq_redis import RedisStreamBroker

from rei_core.jobs.doorbell import STREAM, STREAM_LENGTH_MAX, TASK

logger = structlog.get_logger(__name__)

GROUP = "rei"
BLOCK_MS = 2_000
SOCKET_TIMEOUT_SECONDS = 5.0
BACKOFF_SECONDS_MAX = 5.0
RINGS_AT_ONCE_MAX = 100
CONSUMER_IDLE_MS_MAX = 60_000
"""A live consumer asks every `BLOCK_MS`, or at least once a job; see `_forget_silent_consumers`."""
CONSUMERS_CHECKED_EVERY_SECONDS = 60.0


class DoorbellBroker(RedisStreamBroker):
    """taskiq's stream broker for hints: see the module."""

    def __init__(self, url: str, *, consumer: str, ready: Callable[[], Awaitable[int]]) -> None:
        """`ready` is awaited before each read: how many slots are free, once there is one."""
        super().__init__(
            url,
            queue_name=STREAM,
            consumer_group_name=GROUP,
            consumer_name=consumer,
            # From the beginning: rings from before the group was made (again) count too.
            consumer_id="0",
            xread_block=BLOCK_MS,
            xread_count=1,
            maxlen=STREAM_LENGTH_MAX,
            max_connection_pool_size=4,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        )
        self._ready = ready
        self._consumers_checked_at = float("-inf")

    async def _declare_consumer_group(self) -> None:
        """Make the group if it can be made now; `listen` makes it as soon as Redis is there."""
        with contextlib.suppress(RedisError, OSError):
            await self._make_group()

    async def _make_group(self) -> None:
        async with Redis(connection_pool=self.connection_pool) as redis:
            try:
                await redis.xgroup_create(
                    self.queue_name, self.consumer_group_name, id=self.consumer_id, mkstream=True
                )
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def listen(self) -> AsyncGenerator[Any, None]:
        """Yield rings for ever, whatever happens to Redis."""
        backoff_seconds = 0.1
        while True:
            free_slots = await self._ready()
            try:
                ring = await self._read(min(free_slots, RINGS_AT_ONCE_MAX))
            except (RedisError, OSError, TimeoutError) as error:
                if "NOGROUP" in str(error):
                    logger.info("doorbell.group_lost")
                else:
                    logger.warning("doorbell.unreachable", error=type(error).__name__)
                await asyncio.sleep(backoff_seconds)
                backoff_seconds = min(backoff_seconds * 2, BACKOFF_SECONDS_MAX)
                await self._declare_consumer_group()
                continue
            backoff_seconds = 0.1
            if ring is not None:
                yield ring

    async def _read(self, rings_max: int) -> bytes | None:
        """The last of at most `rings_max` rings, None if none came; those read are off the stream."""
        async with Redis(connection_pool=self.connection_pool) as redis:
            fetched: Any = await redis.xreadgroup(
                self.consumer_group_name,
                self.consumer_name,
                {self.queue_name: ">"},
                count=rings_max,
                block=self.block,
                noack=True,
            )
            await self._forget_silent_consumers(redis)
            if not fetched:
                return None
            [(_, rings)] = fetched.items() if isinstance(fetched, dict) else fetched
            entry_id, fields = rings[-1]
            await redis.xtrim(self.queue_name, minid=_after(entry_id), approximate=False)
            data: bytes | None = fields.get(b"data")
            return data

    async def _forget_silent_consumers(self, redis: Redis) -> None:
        """Remove consumers of dead processes. A live one that is busy comes back with its next read."""
        now = asyncio.get_running_loop().time()
        if now - self._consumers_checked_at < CONSUMERS_CHECKED_EVERY_SECONDS:
            return
        self._consumers_checked_at = now
        for consumer in await redis.xinfo_consumers(self.queue_name, self.consumer_group_name):
            name = _text(consumer["name"])
            if consumer["idle"] > CONSUMER_IDLE_MS_MAX and name != self.consumer_name:
                await redis.xgroup_delconsumer(self.queue_name, self.consumer_group_name, name)

    async def shutdown(self) -> None:
        """Take our name off the stream and close the connections."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with Redis(connection_pool=self.connection_pool) as redis:
                await redis.xgroup_delconsumer(
                    self.queue_name, self.consumer_group_name, self.consumer_name
                )
        await super().shutdown()


async def hear(broker: DoorbellBroker, on_ring: Callable[[], None], *, stop: asyncio.Event) -> None:
    """Run taskiq's receiver until `stop`; every ring calls `on_ring`, which must not block."""

    async def work(job_id: int = 0) -> None:
        del job_id  # which job it is, PostgreSQL knows better
        on_ring()

    broker.is_worker_process = True
    broker.register_task(work, task_name=TASK)
    await broker.startup()
    while not stop.is_set():
        receiver = Receiver(broker, max_async_tasks=1, run_startup=False, wait_tasks_timeout=1)
        try:
            await receiver.listen(stop)
        except Exception:
            logger.exception("doorbell.receiver_failed")
            await asyncio.sleep(1)
    await broker.shutdown()


def _after(entry_id: bytes | str) -> str:
    """The id that follows an entry's, `milliseconds-sequence`."""
    milliseconds, sequence = _text(entry_id).split("-")
    return f"{milliseconds}-{int(sequence) + 1}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
