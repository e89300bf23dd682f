"""A job's way through a worker: the good end, every bad one, and the money after each."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiogram.exceptions import TelegramBadRequest
from aiogram.methods import GetFile

from rei_core.errors import FailureClass, ImageProviderError
from rei_core.jobs import claim_queries, end_queries
from rei_core.jobs.model import InputRef, Output

from .conftest import PRICE_KOPECKS, FakeProvider, Studio, ended, png, until

BLOCKED = ImageProviderError(FailureClass.USER_FAULT, "blocked", "IMAGE_SAFETY")
BUSY = ImageProviderError(FailureClass.RETRY_LATER, "unavailable", "503")
BAD_KEY = ImageProviderError(FailureClass.OUR_FAULT, "bad_key", "403")


async def test_an_order_becomes_a_picture_and_a_file_and_is_paid_once(studio: Studio) -> None:
    await studio.customer()
    async with studio.working():
        job = await studio.order(progress_message_id=7)
        await studio.until_delivered()
        await until(lambda: any("Done" in text for text in studio.telegram.edits))

    assert await studio.status(job) == "completed"
    assert await studio.deliveries() == [("result", "delivered"), ("original", "delivered")]
    assert await studio.balance() == 100_000 - PRICE_KOPECKS
    [photo], [document] = studio.telegram.photos, studio.telegram.documents
    assert photo.caption is not None
    assert "a &lt;cat&gt; &amp; a dog" in photo.caption
    assert document.document.filename == f"rei-{job}.png"  # type: ignore[union-attr]
    row = await studio.pool.fetchrow("SELECT * FROM job_outputs WHERE job_id = $1", job)
    assert row is not None
    assert row["data"] is None, "the bytes go once Telegram has them"
    assert row["photo_file_id"]
    assert row["document_file_id"]


async def test_the_customers_photos_reach_the_provider(studio: Studio) -> None:
    await studio.customer()
    studio.telegram.files["photo-1"] = png()
    async with studio.working():
        await studio.order(inputs=(InputRef("photo-1", "image/jpeg", 4),))
        await studio.until_delivered()

    [request] = studio.provider.requests
    assert [(i.mime_type, i.data) for i in request.inputs] == [("image/png", png())], (
        "as what it is"
    )


async def test_a_photo_gone_at_telegram_is_refunded_with_the_reason(studio: Studio) -> None:
    await studio.customer()

    def gone(method: Any) -> None:
        if isinstance(method, GetFile):
            raise TelegramBadRequest(method=method, message="wrong file_id")

    studio.telegram.fail = gone
    async with studio.working():
        await studio.order(inputs=(InputRef("photo-1", "image/jpeg", 4),))
        await studio.until_delivered()

    assert studio.provider.requests == []
    assert await studio.balance() == 100_000
    assert "send it again" in studio.telegram.texts[0]


async def test_a_blocked_prompt_is_refunded_and_told_in_the_customers_language(
    studio: Studio,
) -> None:
    await studio.customer(1, language="en")
    await studio.customer(2, language="ru")
    studio.provider.outcomes = [BLOCKED, BLOCKED]
    async with studio.working():
        await studio.order(1)
        await studio.order(2)
        await studio.until_delivered()

    assert len(studio.provider.requests) == 2, "a blocked prompt is not tried again"
    assert (await studio.balance(1), await studio.balance(2)) == (100_000, 100_000)
    told = "\n".join(studio.telegram.texts)
    assert "safety" in told
    assert "безопасност" in told


async def test_an_order_is_counted_by_whose_fault_its_end_is(studio: Studio) -> None:
    """What is promised is measured by it: a blocked prompt breaks no promise, a wrong key does."""
    await studio.customer()
    wrong_key = ImageProviderError(FailureClass.OUR_FAULT, "bad_key", "API_KEY_INVALID")
    studio.provider.outcomes = [BLOCKED]
    async with studio.working() as worker:

        def ended(outcome: str) -> float | None:
            return worker.metrics.registry.get_sample_value(
                "rei_worker_orders_ended_total", {"outcome": outcome}
            )

        assert [ended(outcome) for outcome in ("completed", "refused", "failed")] == [0, 0, 0]
        await studio.order()
        await studio.until_delivered()
        assert [ended(outcome) for outcome in ("completed", "refused", "failed")] == [0, 1, 0]
        await studio.order()
        await studio.until_delivered()
        assert [ended(outcome) for outcome in ("completed", "refused", "failed")] == [1, 1, 0]
        studio.provider.outcomes = [wrong_key]
        job = await studio.order()
        await studio.until_status(job, "failed")
        assert [ended(outcome) for outcome in ("completed", "refused", "failed")] == [1, 1, 1]
        calls = {"outcome": "bad_key", "failure": "our_fault"}
        counted = worker.metrics.registry.get_sample_value
        assert counted("rei_worker_provider_calls_total", calls) == 1


async def test_a_busy_provider_is_tried_again_and_the_customer_sees_why_it_takes_long(
    studio: Studio,
) -> None:
    await studio.customer()
    studio.provider.outcomes = [BUSY, BUSY]

    def told_to_wait(times: int) -> bool:
        return sum("Trying again" in text for text in studio.telegram.edits) == times

    async with studio.working(retry_base_seconds=60):
        job = await studio.order(progress_message_id=7)
        for times in (1, 2):
            await until(partial(told_to_wait, times))
            await studio.pool.execute("UPDATE jobs SET run_after = now()")
        await studio.until_delivered()

    assert await studio.status(job) == "completed"
    assert len(studio.provider.requests) == 3


async def test_the_providers_own_delay_is_waited_for(studio: Studio) -> None:
    await studio.customer()
    studio.provider.outcomes = [
        ImageProviderError(FailureClass.RETRY_LATER, "rate_limited", "429", retry_after_seconds=300)
    ]
    async with studio.working():
        job = await studio.order()
        await until(lambda: waits(studio, job))
        delay = await studio.pool.fetchval(
            "SELECT extract(epoch FROM run_after - now()) FROM jobs WHERE id = $1", job
        )
        assert 290 < delay <= 300
        await studio.pool.execute("UPDATE jobs SET run_after = now()")
        await studio.until_status(job, "completed")
        await studio.until_delivered()


async def waits(studio: Studio, job: int) -> bool:
    return await studio.count(f"jobs WHERE id = {job} AND status = 'queued' AND attempt = 1") == 1


async def test_an_error_text_that_no_database_takes_still_ends_the_job(studio: Studio) -> None:
    await studio.customer()
    nasty = "a NUL \x00 and half an emoji \ud83d" + "x" * 2_000
    studio.provider.outcomes = [
        ImageProviderError(FailureClass.RETRY_LATER, "unavailable", nasty),
        ImageProviderError(FailureClass.USER_FAULT, "blocked", nasty),
    ]
    async with studio.working() as worker:
        job = await studio.order()
        await studio.until_status(job, "failed")
        await studio.until_delivered()
        assert ended(worker, "not_written") == 0

    assert await studio.balance() == 100_000


async def test_a_row_that_cannot_be_read_holds_up_nobody_and_is_refunded(studio: Studio) -> None:
    await studio.customer()
    broken = await studio.order(attempts_max=2)
    await studio.pool.execute("UPDATE jobs SET inputs = '[{}]' WHERE id = $1", broken)
    job = await studio.order()
    async with studio.working(lease_seconds=1):
        await studio.until_status(job, "completed")
        await studio.until_status(broken, "failed")
        await studio.pool.execute("UPDATE jobs SET inputs = '[]' WHERE id = $1", broken)
        await studio.until_delivered()

    assert await studio.balance() == 100_000 - PRICE_KOPECKS


async def test_a_newer_bots_pictures_are_read_by_an_older_worker(studio: Studio) -> None:
    await studio.customer()
    studio.telegram.files["photo-1"] = png()
    job = await studio.order(inputs=(InputRef("photo-1", "image/jpeg", 4),))
    await studio.pool.execute(
        """UPDATE jobs SET inputs = jsonb_set(inputs, '{0,width}', '640') WHERE id = $1""", job
    )
    async with studio.working():
        await studio.until_status(job, "completed")
        await studio.until_delivered()


async def test_an_order_that_waited_past_its_deadline_is_refunded(studio: Studio) -> None:
    await studio.customer()
    studio.provider.outcomes = [BUSY]
    async with studio.working(retry_base_seconds=100):
        job = await studio.order(deadline_seconds=1)
        await studio.until_status(job, "failed")
        await studio.until_delivered()

    assert await studio.balance() == 100_000
    assert "waited too long" in studio.telegram.texts[0]


async def test_a_lapsed_last_attempt_is_refunded_by_the_sweep(studio: Studio) -> None:
    await studio.customer()
    job = await studio.order(attempts_max=1)
    async with studio.pool.acquire() as connection, connection.transaction():
        await claim_queries.claim(
            connection, worker="dead", lease_seconds=0.2, limit=1, processing_max=10
        )
    async with studio.working():
        await studio.until_status(job, "failed")
        await studio.until_delivered()

    assert await studio.balance() == 100_000
    assert "not ready in time" in studio.telegram.texts[0]


async def test_out_of_attempts_the_money_is_back(studio: Studio) -> None:
    await studio.customer()
    studio.provider.outcomes = [BUSY] * 10
    async with studio.working():
        job = await studio.order(attempts_max=3)
        await studio.until_delivered()

    assert len(studio.provider.requests) == 3
    assert await studio.status(job) == "failed"
    assert await studio.balance() == 100_000
    assert "overloaded" in studio.telegram.texts[0]


async def test_a_bug_of_ours_is_tried_again_and_then_refunded(studio: Studio) -> None:
    await studio.customer()
    studio.provider.outcomes = [ZeroDivisionError(), ZeroDivisionError()]
    async with studio.working():
        job = await studio.order(attempts_max=2)
        await studio.until_delivered()

    assert await studio.status(job) == "failed"
    assert await studio.balance() == 100_000


async def test_our_fault_refuses_orders_before_charging_until_a_probe_succeeds(
    studio: Studio,
) -> None:
    await studio.customer()
    studio.provider.outcomes = [BAD_KEY]
    studio.provider.probe_error = BAD_KEY
    async with studio.working():
        first = await studio.order()
        await studio.until_status(first, "failed")
        refused = await studio.try_order()
        assert refused.outcome == "provider_paused"
        assert await studio.balance() == 100_000
        await until(lambda: len(studio.provider.probes) >= 2)
        studio.provider.probe_error = None

        async def taken() -> bool:
            return bool((await studio.try_order()).job_id)

        await until(taken)
        await studio.until_delivered()

    assert await studio.balance() == 100_000 - PRICE_KOPECKS


async def test_many_workers_do_every_job_once(studio: Studio) -> None:
    jobs = await studio.orders_of(30)
    async with studio.working(), studio.working(), studio.working():
        for job in jobs:
            await studio.until_status(job, "completed")

    assert len(studio.provider.requests) == 30
    assert await studio.count("transfers WHERE kind = 'capture'") == 30


async def test_a_worker_takes_no_more_than_it_has_slots_for(studio: Studio) -> None:
    studio.provider.gate = asyncio.Event()
    await studio.orders_of(6)
    async with studio.working(concurrency=2):
        await until(lambda: len(studio.provider.requests) == 2)
        assert await studio.count("jobs WHERE status = 'processing'") == 2
        other = FakeProvider()
        async with studio.working(concurrency=4, provider=other):
            await until(lambda: len(other.requests) == 4)
        studio.provider.gate.set()


async def test_a_frozen_workers_late_result_changes_nothing(studio: Studio) -> None:
    await studio.customer()
    job = await studio.order()
    async with studio.pool.acquire() as connection, connection.transaction():
        [frozen] = await claim_queries.claim(
            connection, worker="frozen", lease_seconds=0.3, limit=1, processing_max=10
        )
    async with studio.working():
        await studio.until_status(job, "completed")
        async with studio.pool.acquire() as connection:
            late = Output("image/png", 1, 1, png())
            assert not await end_queries.complete(
                connection, job, attempt=frozen.attempt, output=late
            )
        await studio.until_delivered()

    assert len(studio.telegram.photos) == 1


async def test_a_job_lost_to_another_worker_is_cancelled_here(studio: Studio) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    job = await studio.order()
    async with studio.working(lease_seconds=1) as worker:
        await until(lambda: len(studio.provider.requests) == 1)
        # As if our lease had lapsed and somebody else had claimed: the attempt moves on.
        await studio.pool.execute(
            "UPDATE jobs SET attempt = attempt + 1, lease_until = now() + interval '3 s' "
            "WHERE id = $1",
            job,
        )
        await until(lambda: ended(worker, "lost") == 1)
        studio.provider.gate.set()
        await studio.until_status(job, "completed", seconds=15)

    assert await studio.balance() == 100_000 - PRICE_KOPECKS


async def test_a_job_of_a_worker_that_was_killed_is_done_by_another_soon(studio: Studio) -> None:
    await studio.customer()
    stuck = FakeProvider(gate=asyncio.Event())
    job = await studio.order()
    dead = studio.worker(provider=stuck, lease_seconds=1)
    running = asyncio.create_task(dead.run())
    await until(lambda: len(stuck.requests) == 1)
    await studio.kill(dead, running)

    async with studio.working():
        await studio.until_status(job, "completed", seconds=10)
        await studio.until_delivered()


async def test_leases_are_kept_while_the_provider_takes_its_time(studio: Studio) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    job = await studio.order()
    async with studio.working(lease_seconds=3), studio.working(lease_seconds=3):
        await until(lambda: len(studio.provider.requests) == 1)
        await studio.past_the_lease()
        assert await studio.status(job) == "processing"
        studio.provider.gate.set()
        await studio.until_status(job, "completed")

    assert len(studio.provider.requests) == 1


async def test_what_still_runs_at_the_end_of_the_drain_is_handed_back(studio: Studio) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    job = await studio.order()
    async with studio.working(drain_seconds=0.3):
        await until(lambda: len(studio.provider.requests) == 1)

    assert await studio.status(job) == "queued"
    studio.provider.gate.set()
    async with studio.working():
        await studio.until_status(job, "completed")


async def test_a_job_handed_back_on_its_last_attempt_is_not_failed_for_it(studio: Studio) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    job = await studio.order(attempts_max=1)
    async with studio.working(drain_seconds=0.1):
        await until(lambda: studio.provider.running == 1)
    assert await studio.status(job) == "queued"
    studio.provider.gate.set()
    async with studio.working():
        await studio.until_status(job, "completed")


async def test_a_frozen_process_that_claims_its_own_job_anew_calls_the_provider_once_at_a_time(
    studio: Studio,
) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    job = await studio.order()
    async with studio.working(lease_seconds=300, poll_seconds=0.05) as worker:
        await until(lambda: studio.provider.running == 1)
        # As after SIGSTOP: the sweep of another worker gave the job back, and our pump wakes up
        # before our keeper of leases does.
        await studio.pool.execute(
            "UPDATE jobs SET status = 'queued', lease_until = NULL WHERE id = $1", job
        )
        await until(lambda: len(studio.provider.requests) == 2)
        await until(lambda: ended(worker, "lost") == 1)
        assert studio.provider.running == 1
        studio.provider.gate.set()
        await studio.until_status(job, "completed")
