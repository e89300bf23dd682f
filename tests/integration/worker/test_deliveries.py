"""Deliveries: the picture, then the file, then the bytes go; and every way in which Telegram fails."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.methods import SendDocument, SendPhoto
from aiogram.types import BufferedInputFile

from rei_core.db import Pool
from rei_core.deliveries import queries
from rei_core.images.port import GeneratedImage
from rei_worker.delivery import courier

from .conftest import Studio, png, until

Failing = Callable[[Any], Exception | None]


def fail(studio: Studio, *outcomes: Failing | None, of: type = SendPhoto) -> None:
    """Let the next calls of a method fail so, one after the other; None lets one pass."""
    left = list(outcomes)

    def answer(method: Any) -> None:
        if isinstance(method, of) and left:
            outcome = left.pop(0)
            error = outcome(method) if outcome is not None else None
            if error is not None:
                raise error

    studio.telegram.fail = answer


def flood(method: Any) -> Exception:
    return TelegramRetryAfter(method=method, message="Too Many Requests", retry_after=30)


def blocked(method: Any) -> Exception:
    return TelegramForbiddenError(method=method, message="Forbidden: bot was blocked by the user")


def unavailable(method: Any) -> Exception:
    return TelegramServerError(method=method, message="Bad Gateway")


def bad_token(method: Any) -> Exception:
    return TelegramNotFound(method=method, message="Not Found")


def cut(method: Any) -> Exception:
    error = TelegramNetworkError(method=method, message="ServerDisconnectedError: …")
    error.__cause__ = aiohttp.ServerDisconnectedError()
    return error


async def until_tried(studio: Studio, times: int) -> None:
    await until(lambda: len(studio.telegram.photos) >= times)


async def skip_delay(studio: Studio) -> float:
    """Wait until the delivery is postponed, and make it due now; for how long it was postponed."""
    delays: list[float] = []

    async def postponed() -> bool:
        row = await studio.pool.fetchrow(
            "SELECT id, extract(epoch FROM due_at - now())::float8 AS delay FROM deliveries "
            "WHERE status = 'pending' AND error_detail IS NOT NULL"
        )
        if row is None:
            return False
        delays.append(row["delay"])
        await studio.pool.execute(
            "UPDATE deliveries SET due_at = now(), error_detail = NULL WHERE id = $1", row["id"]
        )
        return True

    await until(postponed)
    return delays[-1]


async def test_the_photo_comes_first_then_the_file_then_the_bytes_go(studio: Studio) -> None:
    await studio.customer()
    async with studio.working():
        job = await studio.order()
        await studio.until_delivered()

    kinds = [type(call) for call in studio.telegram.calls]
    assert kinds.index(SendPhoto) < kinds.index(SendDocument)
    [photo], [document] = studio.telegram.photos, studio.telegram.documents
    assert isinstance(photo.photo, BufferedInputFile)
    assert photo.photo.data == studio.provider.image.data
    assert isinstance(document.document, BufferedInputFile)
    assert document.document.data == studio.provider.image.data
    messages = await studio.pool.fetch("SELECT message_id FROM deliveries ORDER BY id")
    assert all(row["message_id"] for row in messages)
    assert await studio.count(f"job_outputs WHERE job_id = {job} AND data IS NULL") == 1


@pytest.mark.parametrize(
    "image",
    [
        GeneratedImage("image/png", b"x" * (courier.PHOTO_BYTES_MAX + 1), 10, 10),
        GeneratedImage("image/png", png(), 9_000, 1_001),
    ],
    ids=["bytes", "sides"],
)
async def test_what_is_too_big_for_a_photo_comes_as_a_file_with_the_whole_caption(
    studio: Studio, image: GeneratedImage
) -> None:
    await studio.customer()
    studio.provider.image = image
    async with studio.working():
        await studio.order()
        await studio.until_delivered()

    assert studio.telegram.photos == []
    [document] = studio.telegram.documents
    assert document.caption is not None
    assert "15" in document.caption
    assert await studio.deliveries() == [("result", "delivered"), ("original", "delivered")]


async def test_a_picture_that_telegram_refuses_as_a_photo_comes_as_a_file(studio: Studio) -> None:
    await studio.customer()
    fail(
        studio,
        lambda method: TelegramBadRequest(method=method, message="PHOTO_INVALID_DIMENSIONS"),
    )
    async with studio.working():
        await studio.order()
        await studio.until_delivered()

    assert len(studio.telegram.documents) == 1


async def test_a_file_too_large_for_telegram_is_given_up_and_kept(studio: Studio) -> None:
    await studio.customer()
    fail(
        studio,
        lambda method: TelegramEntityTooLarge(method=method, message="Request Entity Too Large"),
        of=SendDocument,
    )
    async with studio.working():
        await studio.order()
        await studio.until_delivered()

    assert await studio.deliveries() == [("result", "delivered"), ("original", "undeliverable")]
    assert await studio.count("job_outputs WHERE data IS NOT NULL") == 1


async def test_a_flood_limit_is_waited_out_and_held_against_nobody(studio: Studio) -> None:
    await studio.customer()
    refused: list[float] = []

    def flooded(method: Any) -> Exception:
        refused.append(time.monotonic())
        return flood(method)

    fail(studio, flooded, flooded, flooded)
    async with studio.working(delivery_attempts_max=2):
        await studio.order()
        for attempt in range(1, 4):
            await until_tried(studio, attempt)
            delay = await skip_delay(studio)
            assert delay < 32
            assert delay + time.monotonic() - refused[-1] > 29
        await studio.until_delivered()

    assert await studio.deliveries() == [("result", "delivered"), ("original", "delivered")]


async def test_a_customer_who_blocked_the_bot_keeps_the_picture_and_pays_for_it(
    studio: Studio,
) -> None:
    await studio.customer()
    fail(studio, blocked)
    async with studio.working():
        job = await studio.order()
        await studio.until_delivered()

    assert await studio.status(job) == "completed"
    assert await studio.deliveries() == [("result", "undeliverable")]
    assert len(studio.telegram.photos) == 1
    assert await studio.count("job_outputs WHERE data IS NOT NULL") == 1


@pytest.mark.parametrize("failing", [unavailable, bad_token], ids=["telegram down", "wrong token"])
async def test_trouble_that_is_not_the_messages_never_uses_up_its_attempts(
    studio: Studio, failing: Failing
) -> None:
    await studio.customer()
    fail(studio, *[failing] * 4)
    async with studio.working(delivery_attempts_max=2):
        await studio.order()
        for attempt in range(1, 5):
            await until_tried(studio, attempt)
            await skip_delay(studio)
        await studio.until_delivered()

    assert ("result", "delivered") in await studio.deliveries()


async def test_cut_connections_are_counted_because_each_may_have_shown_a_copy(
    studio: Studio,
) -> None:
    await studio.customer()
    fail(studio, *[cut] * 10)
    async with studio.working(delivery_attempts_max=3):
        await studio.order()
        for attempt in range(1, 3):
            await until_tried(studio, attempt)
            await skip_delay(studio)
        await studio.until_delivered()

    assert len(studio.telegram.photos) == 3
    assert await studio.deliveries() == [("result", "undeliverable")]


async def test_after_a_crash_between_send_and_mark_it_is_sent_again_by_another(
    studio: Studio,
) -> None:
    await studio.customer()
    studio.telegram.hang_after = SendPhoto
    dead = studio.worker(lease_seconds=1)
    running = asyncio.create_task(dead.run())
    await studio.order()
    await until(lambda: len(studio.telegram.photos) == 1)
    await studio.kill(dead, running)
    studio.telegram.hang_after = None
    async with studio.working():
        await studio.until_delivered()

    assert len(studio.telegram.photos) == 2
    assert await studio.deliveries() == [("result", "delivered"), ("original", "delivered")]


async def test_a_send_that_takes_longer_than_the_lease_is_not_done_twice(studio: Studio) -> None:
    await studio.customer()
    studio.telegram.hang_after = SendPhoto
    async with studio.working(lease_seconds=3), studio.working(lease_seconds=3):
        await studio.order()
        await until(lambda: len(studio.telegram.photos) == 1)
        await studio.past_the_lease("max(due_at) FROM deliveries")
        assert len(studio.telegram.photos) == 1
        studio.telegram.release()
        await studio.until_delivered()

    assert len(studio.telegram.photos) == 1


class Stumbling:
    """A pool that breaks the first few times that a connection is asked for."""

    def __init__(self, pool: Pool, *, times: int) -> None:
        self.left = times
        self._pool = pool

    def acquire(self, *, timeout: float) -> Any:
        if self.left:
            self.left -= 1
            raise OSError("cut")
        return self._pool.acquire(timeout=timeout)


async def test_a_renewal_that_fails_is_made_up_for_before_the_lease_is_over(studio: Studio) -> None:
    await studio.customer()
    studio.telegram.hang_after = SendPhoto
    lame = Stumbling(studio.pool, times=3)
    async with studio.working(lease_seconds=6, lease_pool=lame):
        await studio.order()
        await until(lambda: lame.left == 0)
        async with studio.working(lease_seconds=6):
            await studio.past_the_lease("max(due_at) FROM deliveries")
            assert len(studio.telegram.photos) == 1
            studio.telegram.release()
            await studio.until_delivered()

    assert len(studio.telegram.photos) == 1


async def test_a_delivery_that_kills_its_worker_each_time_is_given_up(studio: Studio) -> None:
    await studio.customer()
    await studio.complete_one()
    async with studio.pool.acquire() as connection:
        for _ in range(3):  # claimed, and never heard of again
            assert await queries.claim(connection, limit=1, lease_seconds=0)
    async with studio.working(delivery_attempts_max=3):
        await studio.until_delivered()

    assert studio.telegram.photos == []
    assert await studio.deliveries() == [("result", "undeliverable")]


async def test_a_frozen_worker_that_wakes_up_before_the_send_leaves_it_to_the_others(
    studio: Studio,
) -> None:
    await studio.customer()
    await studio.complete_one()
    async with studio.pool.acquire() as connection:
        [frozen] = await queries.claim(connection, limit=1, lease_seconds=60)
    late = studio.courier()

    await late.deliver(frozen, is_ours=lambda: False)

    assert studio.telegram.calls == []
    await studio.pool.execute("UPDATE deliveries SET due_at = now()")
    async with studio.working():
        await studio.until_delivered()
    assert len(studio.telegram.photos) == 1


async def test_a_renewal_never_brings_a_postponed_delivery_forward(studio: Studio) -> None:
    await studio.customer()
    await studio.complete_one()
    async with studio.pool.acquire() as connection:
        [claimed] = await queries.claim(connection, limit=1, lease_seconds=60)
        await queries.postpone(connection, claimed, delay_seconds=300, error_detail="429")
        await queries.renew(connection, [claimed], lease_seconds=1)
    left = await studio.pool.fetchval("SELECT extract(epoch FROM due_at - now()) FROM deliveries")
    assert left > 200


async def test_what_waits_when_the_worker_stops_is_delivered_before_it_ends(
    studio: Studio,
) -> None:
    studio.provider.gate = asyncio.Event()
    await studio.orders_of(4)
    async with studio.working():
        await until(lambda: studio.provider.running == 4)
        asyncio.get_running_loop().call_later(0.3, studio.provider.gate.set)

    assert await studio.count("deliveries WHERE status = 'delivered'") == 8


@pytest.mark.parametrize(
    ("kind", "words"), [("payment_credited", "credited"), ("payment_canceled", "cancelled")]
)
async def test_news_of_payments_are_told(studio: Studio, kind: str, words: str) -> None:
    await studio.customer(balance_kopecks=12_345)
    payment = uuid.uuid4()
    async with studio.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO payments (id, user_id, amount_kopecks, request_key, chat_id, status, "
            "cancellation_reason) VALUES ($1, 1, 50000, 'k', 1, 'canceled', 'x')",
            payment,
        )
        await connection.execute(
            "INSERT INTO deliveries (kind, ref_id, user_id, chat_id) VALUES ($1, $2, 1, 1)",
            kind,
            str(payment),
        )
    async with studio.working():
        await studio.until_delivered()

    [text] = studio.telegram.texts
    assert words in text
    assert "500" in text
    assert "123" in text


async def test_a_delivery_about_nothing_is_given_up(studio: Studio) -> None:
    await studio.customer()
    await studio.pool.execute(
        "INSERT INTO deliveries (kind, ref_id, user_id, chat_id) VALUES ('result', '999', 1, 1)"
    )
    async with studio.working():
        await studio.until_delivered()

    assert await studio.deliveries() == [("result", "undeliverable")]
