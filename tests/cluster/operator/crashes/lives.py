"""An operator that is begun again whenever it has died, as its Deployment would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import aiohttp
import asyncpg

from rei_core.failpoints import VARIABLE
from rei_core.maintenance.backups.tools import named
from rei_sandbox.services import free_port

from ..process import bare_environment
from ..stage import Stage
from .kubelet import a_minute_goes_by
from .processes import Nursery, Process

WAIT_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.05
LIVES_MAX = 6
"""One that dies more often is not killed by us."""

SESSIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'rei-operator'
"""


class Lives:
    """One operator after the other in a namespace; only the first one has the failpoint."""

    def __init__(self, processes: Nursery, stage: Stage, *, fatal: str | None = None) -> None:
        self._processes = processes
        self._stage = stage
        self._fatal = fatal
        self._alive: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._port = 0
        self.codes: list[int] = []
        """How each of them ended, in order; the last one in order."""

    async def through(self, story: Coroutine[Any, Any, None]) -> None:
        """Live until the story has been told. The last one looks at everything once, and ends."""
        telling = asyncio.create_task(story, name=f"story of {self._stage.namespace}")
        try:
            while not self.codes or self.codes[-1] != 0:
                await self._live_once(telling)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def kill(self) -> None:
        """kill -9 the one that lives, or the next one if it has just died."""
        while (process := await asyncio.shield(self._alive)).code is not None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(LOOK_SECONDS)
        await process.kill()

    async def _live_once(self, telling: asyncio.Task[None]) -> None:
        process = await self._begin()
        self._alive.set_result(process)
        try:
            either: list[asyncio.Future[Any]] = [telling, process.ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
                await self._looked_at_everything(process)
                process.ask_to_end()
            self.codes.append(await process.wait())
        finally:
            await process.kill()
        if self.codes[-1] != 0:
            assert len(self.codes) < LIVES_MAX, f"they die: {self.codes}\n{process.said()}"
            self._alive = asyncio.get_running_loop().create_future()
            await self._gone()

    async def _begin(self) -> Process:
        self._port = free_port()
        environment = {
            **bare_environment(),
            **self._stage.environment(),
            "REI_OPERATOR_HOST": "127.0.0.1",
            "REI_OPERATOR_PORT": str(self._port),
            "REI_LOG_FORMAT": "json",
        }
        if self._fatal is not None and not self.codes:
            environment[VARIABLE] = self._fatal
        return await self._processes.begin(
            ["operator"], environment=environment, log=self._stage.log
        )

    async def _looked_at_everything(self, process: Process) -> None:
        """Wait until all looks of the beginning have begun: they are let end then. Or it has died."""
        url = f"http://127.0.0.1:{self._port}/readyz"
        async with asyncio.timeout(WAIT_SECONDS_MAX), aiohttp.ClientSession() as client:
            while process.code is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(url) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(LOOK_SECONDS)

    async def _gone(self) -> None:
        """Wait until PostgreSQL has noticed that it is dead; then a minute goes by."""
        connection = await asyncpg.connect(named(self._stage.database_url, "postgres"))
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                while await connection.fetchval(SESSIONS, self._stage.database):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            await connection.close()
        await a_minute_goes_by(self._stage.database_url)
