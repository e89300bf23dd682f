"""A customer's first steps, which may come several at once: an album, two quick taps."""

from __future__ import annotations

import asyncio
import time

from rei_core.db import Pool
from rei_core.users import queries as users
from rei_core.users.model import User

STANDING_IN_LINE = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def see(pool: Pool) -> User:
    async with pool.acquire() as connection:
        return await users.see(connection, 1, first_name="Аня")


async def test_a_new_customer_seen_by_several_at_once_is_one(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await users.see(connection, 1, first_name="Аня")
        others = [asyncio.create_task(see(pool)) for _ in range(3)]
        deadline = time.monotonic() + 10
        while await pool.fetchval(STANDING_IN_LINE) < len(others):
            assert time.monotonic() < deadline, "the others did not meet the first"
            await asyncio.sleep(0.01)
    seen = await asyncio.gather(*others)
    assert [(user.id, user.balance_kopecks) for user in seen] == [(1, 0)] * 3
    assert await pool.fetchval("SELECT count(*) FROM balances") == 1
