"""How many jobs at a time: exactly as many as allowed, in one process and in all together."""

from __future__ import annotations

import asyncio

from rei_core.jobs import claim_queries
from rei_core.jobs.model import InputRef

from .conftest import FakeProvider, NoRate, Studio, ended, png, until


async def test_a_worker_runs_exactly_as_many_jobs_as_it_has_slots(studio: Studio) -> None:
    await studio.orders_of(12)
    async with studio.working(concurrency=3, poll_seconds=0.05):
        await studio.until_delivered()

    assert len(studio.provider.requests) == 12
    assert studio.provider.running_max <= 3


async def test_all_workers_together_stay_within_the_providers_limit(studio: Studio) -> None:
    studio.provider.gate = asyncio.Event()
    await studio.orders_of(10)
    limits = {"concurrency": 8, "provider_concurrency_max": 5}
    async with studio.working(**limits), studio.working(**limits):
        await until(lambda: studio.provider.running == 5)
        claimed = await studio.count("jobs WHERE status = 'processing'")
        assert claimed == 5
        studio.provider.gate.set()
        await studio.until_delivered()

    assert studio.provider.running_max == 5


async def test_a_limit_that_was_lowered_below_what_runs_stops_claims_quietly(
    studio: Studio,
) -> None:
    studio.provider.gate = asyncio.Event()
    await studio.orders_of(3)
    async with studio.working(concurrency=2):
        await until(lambda: studio.provider.running == 2)
        async with studio.pool.acquire() as connection, connection.transaction():
            claimed = await claim_queries.claim(
                connection, worker="w", lease_seconds=9, limit=4, processing_max=1
            )
        assert claimed == []
        studio.provider.gate.set()
        await studio.until_delivered()


async def test_more_free_slots_than_one_claim_may_take_are_filled_and_handed_back_all_the_same(
    studio: Studio,
) -> None:
    await studio.customer(balance_kopecks=1_000_000)
    studio.provider.gate = asyncio.Event()
    wanted = claim_queries.CLAIM_MAX + 7
    for _ in range(wanted):
        await studio.order()
    async with studio.working(
        concurrency=500, provider_concurrency_max=500, poll_seconds=60, drain_seconds=0.1
    ):
        await until(lambda: studio.provider.running == wanted)

    assert await studio.count("jobs WHERE status = 'queued' AND attempts_max = 5") == wanted


async def test_our_own_limit_of_calls_is_held_against_nobody(studio: Studio) -> None:
    """The job is queued again as if this attempt had not been, and no circuit opens."""
    await studio.customer()
    rate = NoRate()
    job = await studio.order(attempts_max=1)
    async with studio.working(rate=rate, circuit_failures_max=1) as worker:
        await until(lambda: ended(worker, "retried") >= 3)
        assert await studio.count("circuits") == 0
        assert studio.provider.requests == []
        rate.free = True
        await studio.until_status(job, "completed")
        await studio.until_delivered()


async def test_pictures_beyond_what_fits_in_memory_wait_for_room(studio: Studio) -> None:
    studio.provider.gate = asyncio.Event()
    studio.telegram.files["photo"] = png()
    huge = InputRef("photo", "image/jpeg", 0)  # not measured: counts as the largest
    for user_id in range(1, 9):
        await studio.customer(user_id)
        await studio.order(user_id, inputs=(huge, huge, huge))  # 60 MB each, 256 in all
    async with studio.working(concurrency=8):
        await until(lambda: studio.provider.running == 4)
        other = FakeProvider()
        async with studio.working(provider=other):  # has nothing to do: all are claimed
            assert studio.provider.running == 4
        studio.provider.gate.set()
        await studio.until_delivered()

    assert len(studio.provider.requests) == 8
    assert studio.provider.running_max <= 4
