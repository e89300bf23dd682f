"""Orders at a steady rate, as customers place them, whatever the machine does meanwhile.

An order's time begins when it was due and not when its turn came: one that had to wait for a
connection has waited. Ends with SIGTERM, and then tells each order's moment and its milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import time

import uvloop

from rei_bench.orders import accept_one
from rei_bench.programs import config, tell
from rei_bench.stage import USERS
from rei_core.db import Pool, create_pool

CONNECTIONS = 10
"""As many as the bot has by default."""
WAITING_MAX = 5_000


class Orders:
    """What was ordered, and when it was due on the machine's clock."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._since = time.time() - time.perf_counter()
        self.answered: list[tuple[float, float]] = []
        """(when it was due, milliseconds until its answer)."""

    async def place(self, due: float) -> None:
        """One order of anybody's."""
        async with self._pool.acquire() as connection:
            await accept_one(connection, random.randint(1, USERS))  # noqa: S311 - a load, no secret
        self.answered.append((self._since + due, 1000 * (time.perf_counter() - due)))


async def _told_before(due: float, stop: asyncio.Event) -> bool:
    """Wait until it is due; true if it is time to end before."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, due - time.perf_counter())):
            await stop.wait()
    return stop.is_set()


async def main() -> None:
    asked = config()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    pool = await create_pool(asked["database_url"], application="bench", size_max=CONNECTIONS)
    # All connections are open before the clock starts.
    held = [await pool.acquire() for _ in range(CONNECTIONS)]
    for connection in held:
        await pool.release(connection)
    orders = Orders(pool)
    tell("started")
    began = time.perf_counter()  # uvloop's own clock knows no less than a millisecond
    async with asyncio.TaskGroup() as waiting:
        under_way: set[asyncio.Task[None]] = set()
        for number in itertools.count():
            due = began + number / asked["per_second"]
            if await _told_before(due, stop):
                break
            if len(under_way) >= WAITING_MAX:
                raise RuntimeError(f"{WAITING_MAX} orders wait: the machine cannot keep up")
            task = waiting.create_task(orders.place(due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
    tell("done", orders=orders.answered)


if __name__ == "__main__":
    uvloop.run(main())
