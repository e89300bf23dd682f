"""Where the stories of the operator are told: many at once, each in a namespace of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rei_sandbox.cluster.kubeconfig import Cluster

from ..stage import Stage, open_stage
from .processes import Nursery

AT_ONCE = 6
"""Most of them wait for something most of the time."""


@dataclass(slots=True)
class Theatre:
    """What all stories share."""

    processes: Nursery
    cluster: Cluster
    postgres_url: str
    template_database: str
    folder: Path
    room: asyncio.Semaphore

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        """A new one, once there is room for it; its pods' commands are forked, too."""
        async with (
            self.room,
            open_stage(
                self.cluster,
                postgres_url=self.postgres_url,
                template_database=self.template_database,
                folder=self.folder,
            ) as stage,
        ):
            stage.kubelet.carry_out = self._carry_out
            yield stage

    async def _carry_out(self, command: list[str], environment: dict[str, str], log: Path) -> int:
        process = await self.processes.begin(command[1:], environment=environment, log=log)
        try:
            return _as_a_runtime_tells(await process.wait())
        finally:
            await process.kill()


def _as_a_runtime_tells(code: int) -> int:
    return code if code >= 0 else 128 - code
