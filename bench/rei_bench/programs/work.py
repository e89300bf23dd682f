"""Rei's worker without the outside world: the real doorbell, pump, leases and job runner.

The provider returns one tiny picture at once, in the process; nothing is sent to Telegram. All that
touches the ledger is as it always is. Logs as the worker does.
"""

from __future__ import annotations

import asyncio
import io

import uvloop
from aiogram import Bot
from PIL import Image

from rei_bench.outside import TOKEN
from rei_bench.programs import config, tell
from rei_core import logs
from rei_core.db import create_pool
from rei_core.images.port import GeneratedImage, ImageRequest
from rei_core.jobs.workers import worker_name
from rei_core.settings import WorkerSettings
from rei_worker.doorbell import DoorbellBroker, hear
from rei_worker.execution import JobRunner
from rei_worker.leases import LeaseKeeper
from rei_worker.metrics import Metrics
from rei_worker.progress import Progress
from rei_worker.pump import Pump
from rei_worker.telegram_pace import TelegramPace


class Tiny:
    """A provider that has the picture already."""

    def __init__(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), "orange").save(picture, "PNG")
        self._image = GeneratedImage("image/png", picture.getvalue(), 8, 8, "bench")

    async def generate(self, request: ImageRequest) -> GeneratedImage:
        del request
        return self._image

    async def probe(self, model: str) -> None:
        del model


class Counted(Metrics):
    """Knows when enough jobs are completed, without a look at all metrics every moment."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.enough = asyncio.Event()
        self._left = wanted

    def job_ended(self, end: str, seconds: float) -> None:
        super().job_ended(end, seconds)
        self._left -= end == "completed"
        if self._left == 0:
            self.enough.set()


class Free:
    """Permits for everybody."""

    async def acquire(self, deadline_seconds: float) -> bool:
        del deadline_seconds
        return True


async def main() -> None:
    asked = config()
    logs.configure(level="INFO", log_format="json", component="worker")
    settings = WorkerSettings.model_validate(
        {
            "database_url": asked["database_url"],
            "redis_url": asked["redis_url"],
            "BOT_TOKEN": TOKEN,
            "GEMINI_API_KEY": "bench",
            "concurrency": asked["concurrency"],
            "provider_concurrency_max": 1_000_000,
        }
    )
    pool = await create_pool(
        asked["database_url"], application="bench", size_max=settings.database_pool_size_max - 1
    )
    lease_pool = await create_pool(asked["database_url"], application="bench", size_max=1)
    bot, metrics = Bot(TOKEN), Counted(asked["count"])
    pace = TelegramPace(asked["redis_url"], messages_per_second_max=25)  # nothing is sent
    keeper = LeaseKeeper(lease_pool, lease_seconds=settings.lease_seconds)
    runner = JobRunner(
        settings=settings,
        pool=pool,
        provider=Tiny(),
        rate=Free(),
        bot=bot,
        progress=Progress(bot=bot, pool=pool, pace=pace),
        metrics=metrics,
        on_end=lambda: None,
    )
    name = worker_name()
    pump = Pump(
        settings=settings, pool=pool, keeper=keeper, runner=runner, metrics=metrics, worker=name
    )
    broker = DoorbellBroker(asked["redis_url"], consumer=name, ready=pump.room)
    stop = asyncio.Event()
    working = [
        asyncio.create_task(hear(broker, pump.nudge, stop=stop)),
        asyncio.create_task(keeper.run()),
        asyncio.create_task(pump.run(stop)),
    ]
    tell("ready")
    await metrics.enough.wait()
    tell("done")
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main())
