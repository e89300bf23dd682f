"""The database goes away in every way it can, in the middle of a job: nothing is lost or paid twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from rei_core.db import Pool, close_pool, create_pool
from rei_core.jobs import claim_queries

from .conftest import PRICE_KOPECKS, Studio, ended, until
from .wire import State, Wire


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    async with Wire(database_url) as opened:
        yield opened


@asynccontextmanager
async def pool_over(wire: Wire) -> AsyncIterator[Pool]:
    pool = await create_pool(wire.url, application="wired", size_max=6)
    try:
        yield pool
    finally:
        await close_pool(pool)


async def test_a_commit_whose_answer_is_lost_is_found_out_and_not_repeated(
    studio: Studio, wire: Wire
) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    async with pool_over(wire) as pool, studio.working(pool=pool, lease_seconds=20) as worker:
        job = await studio.order()
        await until(lambda: len(studio.provider.requests) == 1)
        wire.go_deaf_at(studio.provider.image.data)
        studio.provider.gate.set()
        await studio.until_status(job, "completed")  # written, and the worker does not know
        assert ended(worker, "completed") == 0
        wire.mend()
        await until(lambda: ended(worker, "completed") == 1)
        await studio.until_delivered()

    assert len(studio.provider.requests) == 1
    assert await studio.balance() == 100_000 - PRICE_KOPECKS


async def test_a_refund_whose_answer_is_lost_is_paid_once(studio: Studio, wire: Wire) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    studio.provider.after_gate = [studio.blocked()]
    async with pool_over(wire) as pool, studio.working(pool=pool, lease_seconds=20) as worker:
        job = await studio.order()
        await until(lambda: len(studio.provider.requests) == 1)
        wire.go_deaf_at(b"IMAGE_SAFETY")
        studio.provider.gate.set()
        await studio.until_status(job, "failed")
        assert ended(worker, "failed_blocked") == 0
        wire.mend()
        await until(lambda: ended(worker, "failed_blocked") == 1)
        await studio.until_delivered()

    assert await studio.balance() == 100_000
    assert len(studio.telegram.texts) == 1


async def test_a_picture_made_while_the_database_is_away_is_stored_when_it_is_back(
    studio: Studio, wire: Wire
) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    async with pool_over(wire) as pool, studio.working(pool=pool, lease_seconds=20) as worker:
        job = await studio.order()
        await until(lambda: len(studio.provider.requests) == 1)
        wire.state = State.CLOSED
        wire.cut()
        studio.provider.gate.set()
        away_until = time.monotonic() + 2
        await until(lambda: time.monotonic() > away_until)
        assert await studio.status(job) == "processing"
        wire.state = State.OPEN
        await until(lambda: ended(worker, "completed") == 1)
        await studio.until_delivered()

    assert len(studio.provider.requests) == 1


async def test_jobs_are_given_up_when_the_database_is_silent_for_a_lease(
    studio: Studio, wire: Wire
) -> None:
    """Nothing tells this worker that it is alone: only its clock does."""
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    async with pool_over(wire) as pool, studio.working(pool=pool, lease_seconds=1.5) as worker:
        job = await studio.order()
        await until(lambda: len(studio.provider.requests) == 1)
        wire.state = State.DEAD
        silent_at = time.monotonic()
        await until(lambda: ended(worker, "lost") == 1)
        assert time.monotonic() - silent_at < 4 * 1.5
        studio.provider.gate.set()
        async with studio.working():
            await studio.until_status(job, "completed")
        wire.mend()
        # And it works again, without being started anew.
        other = await studio.order()
        await studio.until_status(other, "completed")
        await until(lambda: ended(worker, "completed") == 1)


async def test_a_drain_ends_although_the_database_is_silent(studio: Studio, wire: Wire) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    async with pool_over(wire) as pool:
        worker = studio.worker(pool=pool, lease_seconds=30, drain_seconds=0.1)
        running = asyncio.create_task(worker.run())
        await studio.order()
        await until(lambda: len(studio.provider.requests) == 1)
        wire.state = State.DEAD
        stopped_at = time.monotonic()
        worker.stop()
        await asyncio.wait_for(running, 60)
        assert time.monotonic() - stopped_at < 45
        wire.mend()


async def test_a_pool_is_closed_by_force_when_the_server_is_silent(wire: Wire) -> None:
    pool = await create_pool(wire.url, application="wired", size_max=2)
    holder = await pool.acquire()
    wire.state = State.DEAD
    asked_at = time.monotonic()
    await close_pool(pool)
    assert time.monotonic() - asked_at < 10
    with pytest.raises(asyncpg.InterfaceError):
        await holder.fetchval("SELECT 1")


async def test_a_worker_frozen_in_its_claim_holds_the_others_up_for_seconds_only(
    studio: Studio, database_url: str
) -> None:
    await studio.customer()
    frozen = await asyncpg.connect(database_url)
    transaction = frozen.transaction()
    await transaction.start()
    job = await studio.order()
    await frozen.execute(claim_queries.CLAIM_LOCK, claim_queries.CLAIM_LOCK_KEY)
    frozen_at = time.monotonic()
    async with studio.working():
        await studio.until_status(job, "completed")
        assert time.monotonic() - frozen_at < 10
    frozen.terminate()


async def test_a_row_locked_by_a_person_at_a_prompt_costs_no_other_job_its_lease(
    studio: Studio,
) -> None:
    studio.provider.gate = asyncio.Event()
    first, second = await studio.orders_of(2)
    async with studio.working(lease_seconds=3) as worker:
        await until(lambda: len(studio.provider.requests) == 2)
        async with studio.pool.acquire() as person, person.transaction():
            await person.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", first)
            await studio.past_the_lease()
            assert await studio.status(second) == "processing"
            assert ended(worker, "lost") <= 1
        studio.provider.gate.set()
        await studio.until_status(first, "completed")
        await studio.until_status(second, "completed")

    attempts = await studio.pool.fetchval("SELECT attempt FROM jobs WHERE id = $1", second)
    assert attempts == 1


async def test_leases_are_renewed_although_a_thousand_others_wait_for_the_pool(
    studio: Studio,
) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    busy = await create_pool(studio.database_url, application="busy", size_max=2)
    alone = await create_pool(studio.database_url, application="alone", size_max=1)
    async with studio.working(pool=busy, lease_pool=alone, lease_seconds=3) as worker:
        job = await studio.order()
        await until(lambda: len(studio.provider.requests) == 1)
        crowd = [asyncio.create_task(_hold(busy, seconds=0.3)) for _ in range(30)]
        await until(lambda: all(task.done() for task in crowd))
        assert ended(worker, "lost") == 0
        studio.provider.gate.set()
        await studio.until_status(job, "completed")
        await studio.until_delivered()
    await close_pool(busy)
    await close_pool(alone)

    assert len(studio.provider.requests) == 1


async def _hold(pool: Pool, *, seconds: float) -> None:
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_sleep($1)", seconds)
