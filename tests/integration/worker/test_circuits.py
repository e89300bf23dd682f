"""Circuits: orders are refused before they are charged, queued jobs wait, and it heals by itself."""

from __future__ import annotations

import asyncio

from rei_core.errors import FailureClass, ImageProviderError
from rei_core.images import circuits

from .conftest import MODEL, PRICE_KOPECKS, Studio, ended, until

BUSY = ImageProviderError(FailureClass.RETRY_LATER, "unavailable", "503")
BAD_KEY = ImageProviderError(FailureClass.OUR_FAULT, "bad_key", "403")
GONE = ImageProviderError(FailureClass.OUR_FAULT, "model_gone", "404")
OTHER_MODEL = "gemini-3-pro-image"


async def outcome(studio: Studio, *, model: str = MODEL) -> str:
    return (await studio.try_order(model=model)).outcome.value


async def test_passing_failures_open_after_so_many_in_a_row_and_queued_jobs_wait(
    studio: Studio,
) -> None:
    await studio.customer()
    studio.provider.outcomes = [BUSY, BUSY, BUSY]
    studio.provider.probe_error = BUSY
    first = await studio.order()
    async with studio.working(circuit_failures_max=3, concurrency=1):
        await until(lambda: is_open(studio))
        assert await outcome(studio) == "provider_paused"
        assert await studio.balance() == 100_000 - PRICE_KOPECKS, "only the first is charged"
        probes = len(studio.provider.probes)
        await until(lambda: len(studio.provider.probes) >= probes + 2)
        assert await studio.status(first) == "queued"
        assert len(studio.provider.requests) == 3
        studio.provider.probe_error = None
        await studio.until_status(first, "completed")
        await studio.until_delivered()


async def is_open(studio: Studio) -> bool:
    return await studio.count("circuits WHERE opened_at IS NOT NULL") > 0


async def test_jobs_behind_an_open_circuit_are_refunded_at_their_deadline(studio: Studio) -> None:
    await studio.customer()
    job = await studio.order(deadline_seconds=1.5)
    async with studio.pool.acquire() as connection:
        await circuits.record_failure(
            connection, model=MODEL, error=BAD_KEY, failures_max=8, probe_seconds=600
        )
    async with studio.working():
        await studio.until_status(job, "failed")
        await studio.until_delivered()

    assert studio.provider.requests == []
    assert await studio.balance() == 100_000
    assert "waited too long" in studio.telegram.texts[0]


async def test_a_retired_model_stops_orders_for_itself_alone(studio: Studio) -> None:
    await studio.customer()
    studio.provider.outcomes = [GONE]
    studio.provider.probe_error = GONE
    async with studio.working():
        job = await studio.order()
        await studio.until_status(job, "failed")
        assert await outcome(studio) == "provider_paused"
        assert await outcome(studio, model=OTHER_MODEL) == "accepted"
        await studio.until_delivered()

    assert "choose another one" in studio.telegram.texts[0]
    assert set(studio.provider.probes) <= {MODEL}


async def test_a_probe_that_finds_the_default_model_gone_still_finds_the_provider(
    studio: Studio,
) -> None:
    await studio.customer()
    studio.provider.outcomes = [BAD_KEY]
    studio.provider.probe_error = GONE
    async with studio.working():
        await studio.until_status(await studio.order(), "failed")
        await until(lambda: is_closed(studio))
        assert await outcome(studio) == "accepted"
        await studio.until_delivered()


async def is_closed(studio: Studio) -> bool:
    return not await is_open(studio)


async def test_after_an_outage_one_job_tries_and_the_others_follow(studio: Studio) -> None:
    await close_after_failure(studio)
    studio.provider.gate = asyncio.Event()
    await studio.orders_of(4)
    async with studio.working(), studio.working():
        await until(lambda: studio.provider.running == 1)
        # Both workers have looked at the queue a few times by now.
        await until(lambda: looked_again(studio))
        assert studio.provider.running_max == 1
        studio.provider.gate.set()
        await studio.until_delivered()


async def looked_again(studio: Studio) -> bool:
    """Two more probes' time: the sweep and the pumps have had their turns."""
    async with studio.pool.acquire() as connection:
        await connection.execute("SELECT pg_sleep(0.5)")
    return True


async def close_after_failure(studio: Studio) -> None:
    async with studio.pool.acquire() as connection:
        await circuits.record_failure(
            connection, model=MODEL, error=BAD_KEY, failures_max=8, probe_seconds=600
        )
        await circuits.close(connection, circuits.PROVIDER)


async def test_one_failure_on_trial_opens_again_and_costs_one_attempt(studio: Studio) -> None:
    await close_after_failure(studio)
    studio.provider.probe_error = BUSY
    studio.provider.outcomes = [BUSY]
    jobs = await studio.orders_of(4)
    async with studio.working(circuit_failures_max=8) as worker:
        await until(lambda: ended(worker, "retried") == 1)
        assert await is_open(studio)
        attempts = await studio.pool.fetchval("SELECT sum(attempt) FROM jobs")
        assert attempts == 1
        studio.provider.probe_error = None
        for job in jobs:
            await studio.until_status(job, "completed")
        await studio.until_delivered()


async def test_a_picture_ends_the_trial(studio: Studio) -> None:
    await close_after_failure(studio)
    assert await studio.count("circuits WHERE on_trial") == 1
    await studio.customer()
    async with studio.working(circuit_failures_max=8):
        await studio.until_status(await studio.order(), "completed")
        await studio.until_delivered()
    assert await studio.count("circuits WHERE on_trial") == 0


async def test_a_picture_begins_the_count_of_failures_anew(studio: Studio) -> None:
    await studio.customer()
    studio.provider.outcomes = [BUSY]
    async with studio.working(circuit_failures_max=8) as worker:
        job = await studio.order()
        await until(lambda: ended(worker, "retried") == 1)
        await studio.until_status(job, "completed")
        await studio.until_delivered()
    assert await studio.count("circuits") == 1, "the failure was counted"
    assert await studio.count("circuits WHERE failures > 0") == 0


async def test_a_blocked_prompt_proves_that_the_provider_works(studio: Studio) -> None:
    await studio.customer()
    studio.provider.outcomes = [BUSY, BUSY, studio.blocked(), BUSY, BUSY]
    async with studio.working(circuit_failures_max=3, concurrency=1):
        first = await studio.order()
        await studio.until_status(first, "failed")
        second = await studio.order()
        await studio.until_status(second, "completed")
        await studio.until_delivered()

    assert studio.provider.probes == [], "no circuit opened, not even for a moment"
