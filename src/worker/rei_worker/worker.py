"""The worker's process put together, and the order in which it comes up and goes down.

On the way down: no more claims and rings at once; running jobs end, their leases kept, within
`drain_seconds`; what is stored by then is delivered, for a while; only then do the connections
close. What does not make it is handed back or left to lapse: nothing is lost either way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from aiogram import Bot

from rei_core.catalog import Catalog
from rei_core.db import Pool, answers
from rei_core.images.port import ImageProvider
from rei_core.jobs.workers import worker_name
from rei_core.process import cancel
from rei_core.reach import RedisPing, watch
from rei_core.settings import WorkerSettings
from rei_http.status import StatusServer, turns
from rei_worker.delivery.courier import Courier
from rei_worker.delivery.loop import DeliveryLoop
from rei_worker.doorbell import DoorbellBroker, hear
from rei_worker.execution import JobRunner, SharedRate
from rei_worker.leases import LeaseKeeper
from rei_worker.metrics import Metrics
from rei_worker.progress import Progress
from rei_worker.pump import Pump
from rei_worker.sweeper import Sweeper
from rei_worker.telegram_pace import TelegramPace

logger = structlog.get_logger(__name__)

DELIVERY_DRAIN_SECONDS = 20.0
PROGRESS_SETTLE_SECONDS = 3.0
LOOP_STOP_SECONDS = 5.0
TICK_AGE_SECONDS_MAX = 60.0


class Worker:
    """One worker process. The caller owns pools, bot and provider, and closes them.

    `lease_pool` is for renewing leases alone, so that nothing can stand in their way; one
    connection is enough.
    """

    def __init__(
        self,
        *,
        settings: WorkerSettings,
        pool: Pool,
        lease_pool: Pool,
        bot: Bot,
        provider: ImageProvider,
        rate: SharedRate,
        catalog: Catalog,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        redis_url = settings.redis_url.get_secret_value()
        name = worker_name()
        self._pool = pool
        self._redis = RedisPing(redis_url)
        self.metrics = metrics
        self._pace = TelegramPace(
            redis_url, messages_per_second_max=settings.telegram_messages_per_second_max
        )
        self._progress = Progress(bot=bot, pool=pool, pace=self._pace)
        courier = Courier(
            bot=bot,
            pool=pool,
            pace=self._pace,
            metrics=self.metrics,
            attempts_max=settings.delivery_attempts_max,
        )
        self._deliveries = DeliveryLoop(
            pool=pool,
            lease_pool=lease_pool,
            courier=courier,
            poll_seconds=settings.poll_seconds,
            lease_seconds=settings.lease_seconds,
        )
        self._keeper = LeaseKeeper(lease_pool, lease_seconds=settings.lease_seconds)
        runner = JobRunner(
            settings=settings,
            pool=pool,
            provider=provider,
            rate=rate,
            bot=bot,
            progress=self._progress,
            metrics=self.metrics,
            on_end=self._deliveries.nudge,
        )
        self._pump = Pump(
            settings=settings,
            pool=pool,
            keeper=self._keeper,
            runner=runner,
            metrics=self.metrics,
            worker=name,
        )
        self._sweeper = Sweeper(
            settings=settings,
            pool=pool,
            provider=provider,
            catalog=catalog,
            progress=self._progress,
            metrics=self.metrics,
            on_change=self._look,
        )
        self._broker = DoorbellBroker(redis_url, consumer=name, ready=self._pump.room)
        self._stop = asyncio.Event()
        self._status = StatusServer(
            pool=pool,
            exposition=self.metrics.exposition,
            healthy=self._healthy,
            obstacle=lambda: "draining" if self._stop.is_set() else "",
        )

    def stop(self) -> None:
        """Begin to drain; `run` returns when that is done."""
        self._stop.set()

    def _healthy(self) -> bool:
        # While draining the pump stands still on purpose.
        return self._stop.is_set() or turns(self._pump.ticked_at, seconds_max=TICK_AGE_SECONDS_MAX)

    def _look(self) -> None:
        self._pump.nudge()
        self._deliveries.nudge()

    async def _database_answers(self) -> bool:
        return await answers(self._pool)

    async def run(self) -> None:
        """Work until `stop`, then drain."""
        await self._status.start(
            self._settings.host, self._settings.metrics_port, setting="REI_METRICS_PORT"
        )
        ringing = _spawn(hear(self._broker, self._look, stop=self._stop), "doorbell")
        background = [
            _spawn(self._keeper.run(), "leases"),
            _spawn(self._deliveries.keep_leases(), "delivery-leases"),
            _spawn(self._sweeper.run(), "sweeper"),
            _spawn(self.metrics.watch_loop(), "lag"),
            _spawn(watch(self._database_answers, self.metrics.database.answered), "database"),
            _spawn(watch(self._redis.answers, self.metrics.redis.answered), "redis"),
        ]
        delivering = _spawn(self._deliveries.run(), "deliveries")
        logger.info("worker.started", concurrency=self._settings.concurrency)
        try:
            await self._pump.run(self._stop)
            logger.info("worker.draining")
            await self._pump.drain(seconds=self._settings.drain_seconds)
            self._deliveries.stop()
            await asyncio.wait({delivering}, timeout=LOOP_STOP_SECONDS)
            await self._deliveries.drain(seconds=DELIVERY_DRAIN_SECONDS)
            await self._progress.settle(seconds=PROGRESS_SETTLE_SECONDS)
        finally:
            self._stop.set()
            await asyncio.wait({ringing}, timeout=LOOP_STOP_SECONDS)
            await cancel(ringing, delivering, *background)
            await self._pace.aclose()
            await self._redis.aclose()
            await self._status.close()
        logger.info("worker.stopped")


def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)
