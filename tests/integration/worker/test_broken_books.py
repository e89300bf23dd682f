"""One customer's broken row keeps nobody else from their money: the worker's sweep goes on."""

from __future__ import annotations

import asyncpg
import pytest

from rei_core.db import Pool
from rei_core.jobs import end_queries, sweeping
from rei_core.jobs.sweeping import REFUSED_MAX, Refused, RefusedJob

from ..core.conftest import Shop
from .conftest import Studio, until

BROKEN = 1
"""The customer whose counter of unfinished jobs says 0 while there is one."""
LAPSED = """
UPDATE jobs
SET status = 'processing', attempt = 2, attempts_max = 2, started_at = now(),
    lease_until = now() - interval '1 s'
"""
OVERDUE = "UPDATE jobs SET deadline_at = now() - interval '1 s'"
BREAK = "UPDATE balances SET active_jobs = 0 WHERE user_id = $1"
MEND = "UPDATE balances SET active_jobs = 1 WHERE user_id = $1"


async def shop_with_a_broken_row(pool: Pool, how: str, *, customers: int = 4) -> dict[int, int]:
    """One job for each customer, all of them hopeless; their ids by customer."""
    shop = Shop(pool)
    jobs: dict[int, int] = {}
    for user_id in range(1, customers + 1):
        await shop.customer(user_id, balance_kopecks=1000)
        answer = await shop.accept(f"order-{user_id}", user_id=user_id)
        assert answer.job_id is not None
        jobs[user_id] = answer.job_id
    await pool.execute(how)
    await pool.execute(BREAK, BROKEN)
    return jobs


@pytest.mark.parametrize("how", [LAPSED, OVERDUE], ids=["lapsed", "overdue"])
async def test_the_others_are_refunded_and_the_broken_one_is_named(pool: Pool, how: str) -> None:
    jobs = await shop_with_a_broken_row(pool, how)
    statement = end_queries.fail_lapsed if how == LAPSED else end_queries.fail_overdue
    sweep = sweeping.fail_lapsed if how == LAPSED else sweeping.fail_overdue
    refused = Refused()
    async with pool.acquire() as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await statement(connection, limit=10)
        batch = await sweep(connection, limit=10, refused=refused, now=0)
        assert batch.refused == [RefusedJob(jobs[BROKEN], "active_jobs_not_negative")]
        assert {job.id for job in batch.ended} == {jobs[user] for user in (2, 3, 4)}
        balances = await connection.fetch("SELECT balance_kopecks FROM balances ORDER BY user_id")
        assert [row[0] for row in balances] == [0, 1000, 1000, 1000]

        # It is left out for a while, so that the batches of the others are whole again, and then
        # tried once more: somebody may have mended it.
        assert (await sweep(connection, limit=10, refused=refused, now=1)).refused == []
        assert len((await sweep(connection, limit=10, refused=refused, now=61)).refused) == 1
        await connection.execute(MEND, BROKEN)
        mended = await sweep(connection, limit=10, refused=refused, now=130)
        assert [job.id for job in mended.ended] == [jobs[BROKEN]]


async def test_broken_rows_in_front_do_not_fill_every_batch(pool: Pool) -> None:
    jobs = await shop_with_a_broken_row(pool, LAPSED, customers=6)
    await pool.execute("UPDATE balances SET active_jobs = 0 WHERE user_id <= 4")
    refused = Refused()
    ended: list[int] = []
    async with pool.acquire() as connection:
        for _ in range(4):
            batch = await sweeping.fail_lapsed(connection, limit=2, refused=refused, now=0)
            ended += [job.id for job in batch.ended]
            if not batch.full:
                break
    assert ended == [jobs[5], jobs[6]]


async def test_what_is_remembered_is_bounded() -> None:
    refused = Refused(seconds=10)
    for job_id in range(REFUSED_MAX + 5):
        refused.add(job_id, now=0)
    remembered = refused.ids(now=1)
    assert len(remembered) == REFUSED_MAX
    assert 0 not in remembered
    assert refused.ids(now=11) == []


async def test_a_worker_sweeps_on(studio: Studio, pool: Pool) -> None:
    jobs = await shop_with_a_broken_row(pool, LAPSED)
    async with studio.working() as worker:
        for user in (2, 3, 4):
            await studio.until_status(jobs[user], "failed")
        text = worker.metrics.registry.get_sample_value
        await until(lambda: text("rei_worker_swept_total", {"what": "refused"}) == 1)
    assert await pool.fetchval("SELECT balance_kopecks FROM balances WHERE user_id = 2") == 1000
    await pool.execute(MEND, BROKEN)
    async with pool.acquire() as connection:
        assert len(await end_queries.fail_lapsed(connection, limit=1)) == 1
