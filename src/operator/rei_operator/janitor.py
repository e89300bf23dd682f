"""Lists everything, at the start and every few minutes: what the watches missed is found here.

A watch that was cut off tells of no deletion that happened meanwhile. So a ban whose UserBan is not
in a *complete* listing is looked at: the reconcile asks the API server for that one object, and only
if it says that there is none is the ban lifted. A listing that failed proves nothing.

The watches begin after the first listing, and what is deleted between the two nobody tells. So the
second listing comes soon after the first.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog

from rei_core.db import Pool
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.resources import KINDS, UserBan
from rei_operator.cluster import Cluster
from rei_operator.index import Index, key_of
from rei_operator.reconciler import Key, Reconciler

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 15.0
SETTLED_SECONDS: Final = 10.0
"""So long after the first listing the watches have begun."""


class Janitor:
    """Compares the index and the bans with what the API server has."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        pool: Pool,
        index: Index,
        reconciler: Reconciler,
        namespace: str | None,
    ) -> None:
        self._cluster = cluster
        self._pool = pool
        self._index = index
        self._reconciler = reconciler
        self._namespace = namespace
        self.swept = asyncio.Event()
        """Set once a round has been complete: all kinds are there, and may be listed."""

    async def run(self, *, period_seconds: float) -> NoReturn:
        """Sweep until cancelled."""
        while True:
            pause = period_seconds if self.swept.is_set() else SETTLED_SECONDS
            try:
                await self.sweep()
            except Exception as error:  # the API server or PostgreSQL is away
                log.warning("janitor.failed", error=f"{type(error).__name__}: {error}")
                pause = RETRY_SECONDS
            await asyncio.sleep(min(pause, period_seconds))

    async def sweep(self) -> None:
        """One round: every kind listed, every resource looked at, every orphaned ban too."""
        for kind in KINDS:
            listed = {key_of(raw): raw for raw in await self._cluster.every(kind, self._namespace)}
            for key, raw in listed.items():
                changed = self._index.put(raw)
                self._reconciler.wake(key, changed=changed)
            for key in self._index.keys_of(kind):
                known = self._index.get(key)
                if key not in listed and known is not None:
                    self._index.drop(known)
                    self._reconciler.wake(key)
            if kind == UserBan.__name__:
                await self._look_at_orphans(set(listed))
        self.swept.set()

    async def _look_at_orphans(self, listed: set[Key]) -> None:
        async with self._pool.acquire() as connection:
            async for namespace, name in bans.of_resources(connection, namespace=self._namespace):
                key = Key(UserBan.__name__, namespace, name)
                if key not in listed:
                    self._reconciler.wake(key)
