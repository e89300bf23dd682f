"""Customers with money, orders, and an audit after every test that moves money."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from rei_core.db import Pool
from rei_core.jobs import accept_queries, claim_queries
from rei_core.jobs.model import Acceptance, Job, Order
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.trail.model import Actor
from rei_core.users import queries as users

ANNA = Actor("anna@laptop", "rei")
ORDER = Order(
    user_id=1,
    idempotency_key="order-1",
    model="m",
    prompt="a cat",
    aspect_ratio="1:1",
    image_size="1K",
    price_kopecks=1000,
    chat_id=1,
)


class Shop:
    """The steps that tests of the money are made of, each in a transaction of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def customer(self, user_id: int = 1, *, balance_kopecks: int = 0) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await users.see(connection, user_id, first_name="A")
            if balance_kopecks:
                await adjust(
                    connection,
                    user_id=user_id,
                    change_kopecks=balance_kopecks,
                    operation_id=f"gift-{user_id}",
                    reason="test",
                )

    async def balance(self, user_id: int = 1) -> int:
        value: int = await self.pool.fetchval(
            "SELECT balance_kopecks FROM balances WHERE user_id = $1", user_id
        )
        return value

    async def accept(
        self, key: str = "order-1", *, active_jobs_max: int = 100, **changes: object
    ) -> Acceptance:
        order = replace(ORDER, idempotency_key=key, **changes)  # type: ignore[arg-type]
        async with self.pool.acquire() as connection:
            return await accept_queries.accept(
                connection,
                order,
                active_jobs_max=active_jobs_max,
                attempts_max=2,
                deadline_seconds=600,
            )

    async def claim(
        self, *, limit: int = 1, processing_max: int = 1000, worker: str = "w"
    ) -> list[Job]:
        async with self.pool.acquire() as connection, connection.transaction():
            return await claim_queries.claim(
                connection,
                worker=worker,
                lease_seconds=30,
                limit=limit,
                processing_max=processing_max,
            )

    async def expire_leases(self) -> None:
        await self.pool.execute(
            "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE status = 'processing'"
        )

    async def transfers(self, kind: str) -> int:
        value: int = await self.pool.fetchval(
            "SELECT count(*) FROM transfers WHERE kind = $1", kind
        )
        return value


@pytest.fixture
async def shop(pool: Pool) -> AsyncIterator[Shop]:
    """Whatever the test does, the ledger has to be consistent at its end."""
    yield Shop(pool)
    async with pool.acquire() as connection:
        report = await audit(connection)
    assert report.violations == ()
    assert sum(report.accounts.values()) == 0
