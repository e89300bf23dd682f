"""Deliveries, the once-only gate's table and drafts."""

from __future__ import annotations

import asyncio
from collections import Counter

from rei_core.db import Pool
from rei_core.deliveries import queries as deliveries
from rei_core.drafts import queries as drafts
from rei_core.errors import FailureClass, ImageProviderError
from rei_core.images import circuits
from rei_core.jobs import end_queries, read_queries
from rei_core.jobs.model import InputRef, Output
from rei_core.updates import queries as updates
from rei_core.updates.queries import Claim

from .conftest import Shop


async def completed_job(shop: Shop) -> int:
    await shop.customer(balance_kopecks=1000)
    await shop.accept()
    [job] = await shop.claim()
    picture = Output(mime_type="image/png", width=1, height=1, data=b"png")
    async with shop.pool.acquire() as connection:
        await end_queries.complete(connection, job.id, attempt=1, output=picture)
    return job.id


async def test_the_picture_then_the_original_then_the_bytes_go(shop: Shop, pool: Pool) -> None:
    job_id = await completed_job(shop)
    async with pool.acquire() as connection:
        [photo] = await deliveries.claim(connection, limit=10, lease_seconds=60)
        assert photo.kind == "result"
        assert await deliveries.photo_delivered(connection, photo, message_id=7, file_id="P")
        [original] = await deliveries.claim(connection, limit=10, lease_seconds=60)
        assert original.kind == "original"
        assert await deliveries.original_delivered(connection, original, message_id=8, file_id="D")
        assert await deliveries.claim(connection, limit=10, lease_seconds=60) == []
        output = await read_queries.output(connection, job_id)
    assert output is not None
    assert (output.data, output.photo_file_id, output.document_file_id) == (None, "P", "D")


async def test_a_delivery_is_claimed_by_one_and_again_after_its_lease(
    shop: Shop, pool: Pool
) -> None:
    await completed_job(shop)

    async def claim() -> int:
        async with pool.acquire() as connection:
            return len(await deliveries.claim(connection, limit=10, lease_seconds=60))

    assert sum(await asyncio.gather(*(claim() for _ in range(8)))) == 1
    await pool.execute("UPDATE deliveries SET due_at = now()")
    async with pool.acquire() as connection:
        [again] = await deliveries.claim(connection, limit=10, lease_seconds=60)
    assert again.attempt == 2


async def test_the_end_of_an_old_delivery_attempt_is_ignored(shop: Shop, pool: Pool) -> None:
    await completed_job(shop)
    async with pool.acquire() as connection:
        [old] = await deliveries.claim(connection, limit=1, lease_seconds=0)
        [new] = await deliveries.claim(connection, limit=1, lease_seconds=60)
        assert not await deliveries.photo_delivered(connection, old, message_id=1, file_id="P")
        await deliveries.undeliverable(connection, old, error_detail="late")
        await deliveries.postpone(connection, new, delay_seconds=0, error_detail="429")
        [third] = await deliveries.claim(connection, limit=1, lease_seconds=60)
        await deliveries.undeliverable(connection, third, error_detail="blocked")
        assert await deliveries.claim(connection, limit=1, lease_seconds=60) == []


async def test_ten_copies_of_an_update_are_handled_by_one(pool: Pool) -> None:
    async def claim() -> Claim:
        async with pool.acquire() as connection:
            return (await updates.claim(connection, 5, lease_seconds=60))[0]

    claims = Counter(await asyncio.gather(*(claim() for _ in range(10))))
    assert claims == {Claim.OURS: 1, Claim.BUSY: 9}
    async with pool.acquire() as connection:
        await updates.done(connection, 5)
    assert await claim() is Claim.DONE


async def test_an_update_of_a_dead_pod_is_taken_over(pool: Pool) -> None:
    async with pool.acquire() as connection:
        assert await updates.claim(connection, 5, lease_seconds=0) == (Claim.OURS, 1)
        assert await updates.claim(connection, 5, lease_seconds=60) == (Claim.OURS, 2)
        await updates.release(connection, 5, attempt=2)
        assert await updates.claim(connection, 5, lease_seconds=60) == (Claim.OURS, 3)


async def test_an_attempt_that_was_overtaken_neither_renews_nor_releases(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await updates.claim(connection, 5, lease_seconds=0)
        assert await updates.claim(connection, 5, lease_seconds=0) == (Claim.OURS, 2)
        await updates.renew(connection, 5, attempt=1, lease_seconds=60)
        assert await updates.claim(connection, 5, lease_seconds=60) == (Claim.OURS, 3)
        await updates.release(connection, 5, attempt=2)
        assert (await updates.claim(connection, 5, lease_seconds=60))[0] is Claim.BUSY
        await updates.renew(connection, 5, attempt=3, lease_seconds=-1)
        assert await updates.claim(connection, 5, lease_seconds=60) == (Claim.OURS, 4)


async def test_old_updates_are_forgotten_in_batches(pool: Pool) -> None:
    async with pool.acquire() as connection:
        for update_id in range(5):
            await updates.claim(connection, update_id, lease_seconds=60)
        await pool.execute("UPDATE telegram_updates SET received_at = now() - interval '3 days'")
        await updates.claim(connection, 100, lease_seconds=60)
        assert await updates.forget(connection, older_than_seconds=172_800, limit=3) == 3
        assert await updates.forget(connection, older_than_seconds=172_800, limit=10) == 2


async def test_photos_of_an_album_gather_in_any_order_and_once(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    photos = [InputRef(file_id=f"f{n}", mime_type="image/jpeg", size_bytes=n) for n in range(4)]

    async def add(photo: InputRef, prompt: str) -> int:
        async with pool.acquire() as connection:
            draft = await drafts.gather(
                connection,
                user_id=1,
                chat_id=1,
                source_key="album:1",
                prompt=prompt,
                inputs=(photo,),
                model="m",
                aspect_ratio="1:1",
                image_size="1K",
            )
            return draft.id

    ids = await asyncio.gather(
        *(add(photo, "a hat" if photo.file_id == "f2" else "") for photo in photos * 2)
    )

    assert len(set(ids)) == 1
    async with pool.acquire() as connection:
        draft = await drafts.find(connection, ids[0], user_id=1)
        assert await drafts.find(connection, ids[0], user_id=2) is None
    assert draft is not None
    assert sorted(draft.inputs, key=lambda ref: ref.file_id) == photos
    assert draft.prompt == "a hat"


async def test_failures_in_a_row_open_the_circuit_and_a_success_between_does_not(
    pool: Pool,
) -> None:
    busy = ImageProviderError(FailureClass.RETRY_LATER, "unavailable")

    async with pool.acquire() as connection:

        async def fail() -> bool:
            return await circuits.record_failure(
                connection, model="m", error=busy, failures_max=3, probe_seconds=0
            )

        assert [await fail(), await fail()] == [False, False]
        await circuits.record_success(connection)
        assert [await fail(), await fail(), await fail()] == [False, False, True]
        assert [circuit.name for circuit in await circuits.open_circuits(connection)] == [
            "provider"
        ]
        [probe] = await circuits.claim_probes(connection, probe_seconds=60)
        assert await circuits.claim_probes(connection, probe_seconds=60) == []
        await circuits.close(connection, probe.name)
        assert await circuits.open_circuits(connection) == []


async def test_the_users_own_fault_opens_nothing(pool: Pool) -> None:
    blocked = ImageProviderError(FailureClass.USER_FAULT, "blocked")
    async with pool.acquire() as connection:
        assert not await circuits.record_failure(
            connection, model="m", error=blocked, failures_max=1, probe_seconds=0
        )
