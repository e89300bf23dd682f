"""Customers who never stop: every way that money moves, at once, while backups are taken."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from rei_core.db import Pool
from rei_core.jobs import accept_queries, claim_queries, end_queries
from rei_core.jobs.model import Order, Output
from rei_core.ledger.service import adjust
from rei_core.payments import queries as payments
from rei_core.users import queries as users

CUSTOMERS = 8
PRICE_KOPECKS = 700
PAUSE_SECONDS = 0.05
"""Between two rounds of a customer: about 300 statements a second of all together, beside which
the machine can still do something else."""


class Customers:
    """So many customers, each with a hundred rubles to begin with."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.rounds = 0
        self._numbers = itertools.count()

    async def arrive(self) -> None:
        for user_id in range(1, CUSTOMERS + 1):
            async with self.pool.acquire() as connection, connection.transaction():
                await users.see(connection, user_id, first_name="Ася 🙂")
                await adjust(
                    connection,
                    user_id=user_id,
                    change_kopecks=10_000,
                    operation_id=f"gift-{user_id}",
                    reason="a gift; it's \\ 'quoted'",
                )

    async def act(self, user_id: int) -> None:
        """One round of a customer: pays, orders, and sees some order end."""
        await self._top_up(user_id)
        await self.order(user_id, key=f"order-{next(self._numbers)}")
        await self._end_a_job()
        self.rounds += 1

    @asynccontextmanager
    async def at_it(self) -> AsyncIterator[None]:
        """All of them act, over and over, for the length of the block."""
        acting = [asyncio.create_task(self._for_ever(user_id)) for user_id in range(1, 5)]
        try:
            yield
            for task in acting:
                assert not task.done(), task.result()
        finally:
            for task in acting:
                task.cancel()
            await asyncio.gather(*acting, return_exceptions=True)

    async def _for_ever(self, user_id: int) -> None:
        while True:
            await self.act(user_id)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _top_up(self, user_id: int) -> None:
        payment_id, remote_id = uuid4(), f"remote-{uuid4()}"
        async with self.pool.acquire() as connection, connection.transaction():
            await payments.open_payment(
                connection,
                payment_id,
                user_id=user_id,
                amount_kopecks=1_000,
                request_key=str(payment_id),
                chat_id=user_id,
            )
            await payments.mark_pending(
                connection, payment_id, provider_payment_id=remote_id, confirmation_url=None
            )
        async with self.pool.acquire() as connection, connection.transaction():
            credited = await payments.credit(
                connection,
                payment_id,
                provider_payment_id=remote_id,
                amount_kopecks=1_000,
                currency="RUB",
            )
            assert credited is not None

    async def order(self, user_id: int, *, key: str) -> None:
        """Order a picture."""
        order = Order(
            user_id=user_id,
            idempotency_key=key,
            model="m",
            prompt="a cat\twith a tab, a \\ and a\nnew line",
            aspect_ratio="1:1",
            image_size="1K",
            price_kopecks=PRICE_KOPECKS,
            chat_id=user_id,
        )
        async with self.pool.acquire() as connection, connection.transaction():
            await accept_queries.accept(
                connection, order, active_jobs_max=1000, attempts_max=2, deadline_seconds=600
            )

    async def _end_a_job(self) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            jobs = await claim_queries.claim(
                connection, worker="w", lease_seconds=60, limit=1, processing_max=1000
            )
        for job in jobs:
            async with self.pool.acquire() as connection, connection.transaction():
                if job.id % 3:
                    data = random.Random(job.id).randbytes(2_000)
                    output = Output(mime_type="image/png", width=9, height=9, data=data)
                    assert await end_queries.complete(
                        connection, job.id, attempt=job.attempt, output=output
                    )
                else:
                    assert await end_queries.fail(
                        connection,
                        job.id,
                        attempt=job.attempt,
                        error_code="blocked",
                        error_detail="no",
                    )
