"""Orders placed through `rei_core.jobs.accept_queries.accept`, as the bot places them.

As many clients as connections, each with its next order as soon as the last one is answered; for
`seconds`, or until `count` orders are placed. With `redis_url` the doorbell rings after each, as
the bot does it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Iterator

import uvloop

from rei_bench.orders import HOT_USER, accept_one
from rei_bench.programs import config, tell
from rei_bench.stage import USERS
from rei_bot.doorbell import TaskiqDoorbell
from rei_bot.metrics import Metrics
from rei_core.db import Pool, create_pool
from rei_core.jobs.doorbell import Doorbell


class Silent:
    """No doorbell."""

    async def ring(self, job_id: int) -> None:
        """Nobody listens."""
        del job_id


async def place(pool: Pool, doorbell: Doorbell, *, hot: bool) -> None:
    """One order, as the handler of the button does it."""
    user_id = HOT_USER if hot else random.randint(1, USERS)  # noqa: S311 - a load, no secret
    async with pool.acquire() as connection:
        job_id = await accept_one(connection, user_id)
    await doorbell.ring(job_id)


async def main() -> None:
    asked = config()
    pool = await create_pool(asked["database_url"], application="bench", size_max=asked["clients"])
    bell: Doorbell = Silent()
    if asked.get("redis_url"):
        bell = TaskiqDoorbell(asked["redis_url"], metrics=Metrics())
    # All connections are open before the clock starts.
    held = [await pool.acquire() for _ in range(asked["clients"])]
    for connection in held:
        await pool.release(connection)
    turns = itertools.count() if asked.get("count") is None else iter(range(asked["count"]))
    tell("started")
    started = time.perf_counter()
    until = started + asked["seconds"] if asked.get("seconds") else float("inf")
    placed = await asyncio.gather(
        *(_client(pool, bell, turns, until, hot=asked["hot"]) for _ in range(asked["clients"]))
    )
    tell("done", orders=sum(placed), seconds=time.perf_counter() - started)


async def _client(
    pool: Pool, bell: Doorbell, turns: Iterator[int], until: float, *, hot: bool
) -> int:
    placed = 0
    for _ in turns:
        await place(pool, bell, hot=hot)
        placed += 1
        if time.perf_counter() >= until:
            break
    return placed


if __name__ == "__main__":
    uvloop.run(main())
