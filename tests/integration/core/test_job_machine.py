"""Claims, leases and ends of jobs: exactly one capture or release each."""

from __future__ import annotations

import asyncio

from rei_core.db import Pool
from rei_core.jobs import claim_queries, end_queries, read_queries
from rei_core.jobs.model import JobStatus, Output

from .conftest import Shop

PICTURE = Output(mime_type="image/png", width=1, height=1, data=b"png")


async def test_no_job_is_claimed_twice_by_claims_in_parallel(shop: Shop) -> None:
    await shop.customer(balance_kopecks=20_000)
    for n in range(20):
        await shop.accept(f"order-{n}")

    claims = await asyncio.gather(*(shop.claim(limit=3) for _ in range(20)))

    ids = [job.id for claim in claims for job in claim]
    assert sorted(ids) == sorted(set(ids))
    assert len(ids) == 20


async def test_all_workers_together_process_no_more_than_the_provider_allows(shop: Shop) -> None:
    await shop.customer(balance_kopecks=20_000)
    for n in range(20):
        await shop.accept(f"order-{n}")

    claims = await asyncio.gather(*(shop.claim(limit=3, processing_max=7) for _ in range(10)))

    assert sum(len(claim) for claim in claims) == 7


async def test_a_completed_job_is_captured_once_and_its_bytes_are_stored(
    shop: Shop, pool: Pool
) -> None:
    await shop.customer(balance_kopecks=1000)
    await shop.accept()
    [job] = await shop.claim()

    async with pool.acquire() as connection:
        assert await end_queries.complete(connection, job.id, attempt=1, output=PICTURE)
        assert not await end_queries.complete(connection, job.id, attempt=1, output=PICTURE)
        stored = await read_queries.output(connection, job.id)

    assert stored is not None
    assert stored.data == b"png"
    assert await shop.balance() == 0
    assert await shop.transfers("capture") == 1


async def test_of_all_ends_that_race_one_wins(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    await shop.accept()
    [job] = await shop.claim()
    await pool.execute("UPDATE jobs SET attempt = attempts_max")
    await shop.expire_leases()

    async def ended(how: str) -> bool:
        async with pool.acquire() as connection:
            if how == "complete":
                return await end_queries.complete(connection, job.id, attempt=2, output=PICTURE)
            if how == "fail":
                gone = await end_queries.fail(
                    connection, job.id, attempt=2, error_code="blocked", error_detail=""
                )
                return gone is not None
            return bool(await end_queries.fail_lapsed(connection, limit=10))

    results = await asyncio.gather(*(ended(how) for how in ["complete", "fail", "lapse"] * 5))

    assert sum(results) == 1
    assert await shop.transfers("capture") + await shop.transfers("release") == 1


async def test_a_late_result_of_an_old_attempt_changes_nothing(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    await shop.accept()
    [first] = await shop.claim(worker="frozen")
    await shop.expire_leases()
    async with pool.acquire() as connection:
        assert await claim_queries.lapse(connection, limit=10) == [first.id]
        [second] = await shop.claim(worker="fresh")
        assert second.attempt == first.attempt + 1
        old = (first.id, first.attempt)
        assert not await claim_queries.renew(connection, [old], lease_seconds=30)
        assert not await end_queries.complete(
            connection, first.id, attempt=first.attempt, output=PICTURE
        )
        assert not await end_queries.fail(
            connection, first.id, attempt=first.attempt, error_code="x", error_detail=""
        )
        assert await end_queries.complete(
            connection, second.id, attempt=second.attempt, output=PICTURE
        )


async def test_a_lapsed_last_attempt_is_refunded_and_told(shop: Shop, pool: Pool) -> None:
    await shop.customer(1, balance_kopecks=3000)
    await shop.customer(2, balance_kopecks=1000)
    for n in range(3):
        await shop.accept(f"order-{n}")
    await shop.accept("other", user_id=2)
    await shop.claim(limit=10)
    await pool.execute("UPDATE jobs SET attempt = attempts_max")
    await shop.expire_leases()

    async with pool.acquire() as connection:
        ended = await end_queries.fail_lapsed(connection, limit=100)

    assert [job.error_code for job in ended] == ["timeout"] * 4
    assert (await shop.balance(1), await shop.balance(2)) == (3000, 1000)
    told = await pool.fetchval("SELECT count(*) FROM deliveries WHERE kind = 'job_failed'")
    assert told == 4


async def test_a_job_that_waited_too_long_is_refunded(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    await shop.accept()
    await pool.execute("UPDATE jobs SET deadline_at = now() - interval '1 s'")

    async with pool.acquire() as connection:
        [ended] = await end_queries.fail_overdue(connection, limit=100)

    assert ended.error_code == "overdue"
    assert await shop.balance() == 1000


async def test_only_the_owner_cancels_and_only_while_it_is_queued(shop: Shop, pool: Pool) -> None:
    await shop.customer(1, balance_kopecks=2000)
    await shop.customer(2)
    queued = (await shop.accept("a")).job_id
    assert queued is not None
    async with pool.acquire() as connection:
        assert await end_queries.cancel(connection, queued, user_id=2) is None
        assert await end_queries.cancel(connection, queued, user_id=1) is not None
        assert await end_queries.cancel(connection, queued, user_id=1) is None
        running = (await shop.accept("b")).job_id
        assert running is not None
        await shop.claim()
        assert await end_queries.cancel(connection, running, user_id=1) is None
    assert await shop.balance() == 1000


async def test_a_retry_waits_and_the_last_attempt_is_not_retried(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    await shop.accept()
    [job] = await shop.claim()
    async with pool.acquire() as connection:
        assert await claim_queries.retry_later(
            connection, job.id, attempt=1, delay_seconds=60, error_code="e", error_detail=""
        )
        assert await shop.claim() == []
        await pool.execute("UPDATE jobs SET run_after = now()")
        [again] = await shop.claim()
        assert not await claim_queries.retry_later(
            connection, again.id, attempt=2, delay_seconds=0, error_code="e", error_detail=""
        )
        found = await read_queries.find(connection, job.id)
    assert found is not None
    assert found.status is JobStatus.PROCESSING


async def test_the_queue_tells_its_numbers(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=3000)
    for n in range(3):
        await shop.accept(f"order-{n}")
    await shop.claim()

    async with pool.acquire() as connection:
        state = await read_queries.queue_state(connection)

    assert (state.queued, state.processing) == (2, 1)
    assert state.oldest_queued_seconds >= 0
