"""The doorbell's ringing side: one small entry on a Redis stream for each accepted order.

Guarantee: `ring` never raises and never takes longer than `RING_SECONDS_MAX`. After a failure
Redis is left alone for a while, so an outage costs one order in many a quarter of a second and
the others nothing: the workers find their jobs by polling meanwhile.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from taskiq.kicker import AsyncKicker
from taskiq_redis import RedisStreamBroker

from rei_bot.metrics import Metrics
from rei_core.jobs.doorbell import STREAM, STREAM_LENGTH_MAX, TASK

log = structlog.get_logger(__name__)

RING_SECONDS_MAX = 0.25
SILENT_SECONDS = 5.0
"""After a failure nobody rings for this long."""
CONNECTIONS_MAX = 8


class TaskiqDoorbell:
    """Rings the workers by taskiq; a `rei_core.jobs.doorbell.Doorbell`."""

    def __init__(self, redis_url: str, *, metrics: Metrics) -> None:
        self._metrics = metrics
        self._silent_until = float("-inf")
        # Never started: that would make the consumer group, which is the workers' business,
        # and would need Redis to be there.
        self._broker = RedisStreamBroker(
            redis_url,
            queue_name=STREAM,
            maxlen=STREAM_LENGTH_MAX,
            max_connection_pool_size=CONNECTIONS_MAX,
            socket_timeout=RING_SECONDS_MAX,
            socket_connect_timeout=RING_SECONDS_MAX,
            # One more try, for a connection that a restart of Redis has cut.
            retry=Retry(NoBackoff(), 1),
        )
        self._kicker: AsyncKicker[[int], None] = AsyncKicker(
            task_name=TASK, broker=self._broker, labels={}
        )

    async def ring(self, job_id: int) -> None:
        """Tell the workers that `job_id` waits."""
        if time.monotonic() < self._silent_until:
            self._metrics.ring("silent")
            return
        try:
            async with asyncio.timeout(RING_SECONDS_MAX):
                await self._kicker.kiq(job_id)
        except Exception as error:
            self._silent_until = time.monotonic() + SILENT_SECONDS
            self._metrics.ring("failed")
            cause = error.__cause__ or error  # taskiq wraps what its broker raises
            log.warning("doorbell unreachable", error=type(cause).__name__)
            return
        self._metrics.ring("rung")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._broker.connection_pool.disconnect()
