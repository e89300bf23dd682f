"""kill -9 where it hurts most, for `rei demo --kill` and the acceptance tests.

What is killed is started again at once, as Kubernetes would. The story must not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from rei_core.db import Pool
from rei_sandbox.demo.person import StoryBroke
from rei_sandbox.demo.story import CUSTOMER_ID, Moment
from rei_sandbox.stage import Stage

WAIT_SECONDS_MAX: Final = 20.0
LOOK_SECONDS: Final = 0.02

AT_WORK = "SELECT count(*) FROM jobs WHERE user_id = $1 AND status = 'processing'"


class Crashes:
    """Kills at each moment of the story."""

    def __init__(self, stage: Stage, pool: Pool, tell: Callable[[str], None]) -> None:
        self._stage = stage
        self._pool = pool
        self._tell = tell
        self._at_work = asyncio.Event()
        self._worker_dies: asyncio.Task[None] | None = None

    async def __call__(self, moment: Moment) -> None:
        match moment:
            case "paid":
                await self._bot("with a payment's notification on its way")
            case "ordered":
                # On a slow machine the picture is done before the bot is back: so from here on.
                self._worker_dies = asyncio.create_task(self._worker())
                await self._bot("with a confirmed order on its way")
            case "drawing":
                await self._worker_has_died()
            case "refused":
                await self._redis()

    async def _bot(self, when: str) -> None:
        self._tell(f"  kill -9 of the bot, {when}")
        await asyncio.to_thread(self._stage.bot.kill)
        await asyncio.to_thread(self._stage.bot.start)

    async def _worker(self) -> None:
        """Wait until the job is really being worked on."""
        while not await self._pool.fetchval(AT_WORK, CUSTOMER_ID):  # noqa: ASYNC110 - another process
            await asyncio.sleep(LOOK_SECONDS)
        self._at_work.set()
        self._tell("  kill -9 of the worker in the middle of the picture")
        await asyncio.to_thread(self._stage.worker.kill)
        await asyncio.to_thread(self._stage.worker.start)

    async def _worker_has_died(self) -> None:
        assert self._worker_dies is not None
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._at_work.wait()
        except TimeoutError:
            raise StoryBroke("a job at work", "none") from None
        await self._worker_dies

    async def _redis(self) -> None:
        self._tell("  kill -9 of Redis, and everything in it is gone")
        await asyncio.to_thread(self._stage.redis.kill)
        await asyncio.to_thread(self._stage.redis.start)
