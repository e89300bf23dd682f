"""What sweeps and claims leave alone: locked rows, leases that stand, jobs that have time."""

from __future__ import annotations

import asyncio

from rei_core.db import Pool
from rei_core.jobs import claim_queries, end_queries

from .conftest import Shop


async def orders(shop: Shop, count: int) -> list[int]:
    await shop.customer(balance_kopecks=1_000 * count)
    accepted = [await shop.accept(f"order-{n}") for n in range(count)]
    return [answer.job_id for answer in accepted if answer.job_id is not None]


async def test_a_claim_passes_over_a_row_that_somebody_has_locked(shop: Shop, pool: Pool) -> None:
    locked, free = await orders(shop, 2)
    async with pool.acquire() as person, person.transaction():
        await person.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", locked)
        async with asyncio.timeout(30):
            claimed = await shop.claim(limit=2)
    assert [job.id for job in claimed] == [free]


async def test_sweeps_pass_over_rows_that_somebody_has_locked(shop: Shop, pool: Pool) -> None:
    locked, free = await orders(shop, 2)
    await shop.claim(limit=2)
    await shop.expire_leases()
    async with pool.acquire() as person, person.transaction(), pool.acquire() as connection:
        await person.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", locked)
        async with asyncio.timeout(30):
            assert await claim_queries.lapse(connection, limit=2) == [free]


async def test_a_lease_that_stands_is_nobody_elses(shop: Shop, pool: Pool) -> None:
    again, last = await orders(shop, 2)
    await shop.claim(limit=2)
    await pool.execute("UPDATE jobs SET attempts_max = 1 WHERE id = $1", last)
    async with pool.acquire() as connection:
        assert await claim_queries.lapse(connection, limit=10) == []
        assert await end_queries.fail_lapsed(connection, limit=10) == []
        await shop.expire_leases()
        assert await claim_queries.lapse(connection, limit=10) == [again]
        [ended] = await end_queries.fail_lapsed(connection, limit=10)
    assert ended.id == last


async def test_a_job_that_has_time_is_not_overdue(shop: Shop, pool: Pool) -> None:
    _early, late = await orders(shop, 2)
    await pool.execute("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = $1", late)
    async with pool.acquire() as connection:
        [ended] = await end_queries.fail_overdue(connection, limit=10)
    assert ended.id == late


async def test_an_old_attempt_neither_keeps_nor_gives_back(shop: Shop, pool: Pool) -> None:
    [job_id] = await orders(shop, 1)
    await shop.claim()
    await shop.expire_leases()
    async with pool.acquire() as connection:
        await claim_queries.lapse(connection, limit=1)
        [now] = await shop.claim()
        assert now.attempt == 2
        assert not await claim_queries.retry_later(
            connection, job_id, attempt=1, delay_seconds=0, error_code="e", error_detail="",
            counts=False,
        )  # fmt: skip
        assert await claim_queries.renew(connection, [(job_id, 1)], lease_seconds=30) == {}
        assert await claim_queries.renew(connection, [(job_id, 2)], lease_seconds=30) == {
            job_id: True
        }
