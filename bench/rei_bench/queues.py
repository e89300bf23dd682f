"""Jobs put into a queue and worked off, by Rei and by the peers, through one set of words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from rei_bench.children import Child, peer
from rei_bench.orders import accept_one
from rei_bench.stage import Stage
from rei_core.db import create_pool

ACCEPTED_AT_ONCE = 8


def place_orders(stage: Stage, database: str, *, count: int) -> None:
    """Queue `count` jobs of as many users, each accepted and charged."""

    async def place() -> None:
        pool = await create_pool(
            stage.url(database), application="bench", size_max=ACCEPTED_AT_ONCE
        )

        async def one(user_id: int) -> None:
            async with pool.acquire() as connection:
                await accept_one(connection, user_id)

        try:
            await asyncio.gather(*(one(user_id) for user_id in range(1, count + 1)))
        finally:
            await pool.close()

    asyncio.run(place())


class PeerQueue:
    """A peer's queue: a broker in Redis, or a database of procrastinate's own."""

    def __init__(self, stage: Stage, name: str, **config: Any) -> None:
        self._stage = stage
        self._name = name
        self._config = {"redis_url": stage.redis.url, **config}

    def enqueue(self, kind: str, *, count: int, clients: int = ACCEPTED_AT_ONCE) -> float:
        """Put jobs in; when that began."""
        with self.enqueuing(kind, count=count, clients=clients) as child:
            began: float = child.told("started")["at"]
            child.told("enqueued")
            return began

    def enqueuing(
        self, kind: str, *, count: int, clients: int = ACCEPTED_AT_ONCE
    ) -> contextlib.AbstractContextManager[Child]:
        """A child that puts jobs in."""
        return self._child(do="enqueue", kind=kind, count=count, clients=clients)

    def working(
        self, *, concurrency: int, count: int, url: str = ""
    ) -> contextlib.AbstractContextManager[Child]:
        """A worker that tells when `count` jobs have ended in it."""
        return self._child(do="work", concurrency=concurrency, count=count, url=url)

    def _child(self, **config: Any) -> contextlib.AbstractContextManager[Child]:
        return peer(self._stage, self._name, "queue_peer", **self._config, **config)


@contextlib.contextmanager
def peer_queue(stage: Stage, name: str) -> Iterator[PeerQueue]:
    """An empty queue of this peer's."""
    stage.flush_redis()
    if name != "procrastinate":
        yield PeerQueue(stage, name)
        return
    with stage.database("template0") as database:
        url = stage.url(database)
        with peer(stage, name, "queue_peer", database_url=url, do="prepare") as child:
            child.told("prepared")
        yield PeerQueue(stage, name, database_url=url)
