"""What a sender may cost us: bytes, time and places are bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from rei_bot import webhooks
from rei_http import listening

from ..bot_process.conftest import SECRET, SECRET_HEADER, Rei, Stage, notification
from .conftest import Line, ask, line_to

KNOWN = f"{SECRET_HEADER}: {SECRET}\r\n".encode()
TRICKLE_SECONDS = 0.05
SLOW_SENDERS = 50
MEMORY_BYTES_MAX = 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("target", "headers"), [("/webhook/telegram", KNOWN), ("/webhook/yookassa", b"")]
)
async def test_a_body_trickled_in_ends_in_time_however_steadily_it_comes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, target: str, headers: bytes
) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS_MAX", 0.5)
    async with stage.bot() as rei, line_to(rei.process.port) as line:
        await line.send(_head(target, headers, length=10_000))
        async with _trickling(line, b" "):
            assert b" 408 " in await line.answer()
            assert await line.hung_up()


async def test_senders_that_trickle_take_nobodys_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rei_bot.process.UPDATES_AT_ONCE_MAX", 1)
    monkeypatch.setattr("rei_bot.process.NOTIFICATIONS_AT_ONCE_MAX", 1)
    async with stage.bot() as rei, contextlib.AsyncExitStack() as slow:
        for number in range(SLOW_SENDERS):
            line = await slow.enter_async_context(line_to(rei.process.port))
            target, headers = (
                ("/webhook/telegram", KNOWN) if number % 2 else ("/webhook/yookassa", b"")
            )
            await line.send(_head(target, headers, length=10_000))
            await slow.enter_async_context(_trickling(line, b" "))
        for _ in range(3):
            assert await rei.post_update(stage.telegram.message("/help")) == 200
            # Nobody is at YooKassa's address here: asked, not refused for want of a place.
            assert await _notify(rei) == "failed"
    assert len(stage.telegram.texts()) == 3


async def test_a_head_trickled_in_ends_in_time_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "IDLE_SECONDS_MAX", 0.5)
    async with stage.bot() as rei, line_to(rei.process.port) as line:
        await line.send(b"POST /webhook/telegram HTTP/1.1\r\nX-Slow: ")
        async with _trickling(line, b"x"):
            assert await line.hung_up()
        assert await rei.post_update(stage.telegram.message("/help")) == 200


async def test_a_connection_that_says_nothing_is_closed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "IDLE_SECONDS_MAX", 0.5)
    async with stage.bot() as rei, line_to(rei.process.port) as line:
        assert await line.hung_up()


async def test_a_large_notification_is_refused_by_what_its_head_says(stage: Stage) -> None:
    """None of its body is waited for."""
    async with stage.bot() as rei:
        for length in (65 * 1024, webhooks.NOTIFICATION_BYTES_MAX + 1, 10**18):
            headers = f"Content-Length: {length}\r\n".encode()
            status, _answer = await ask(
                rei.process.port, "/webhook/yookassa", method="POST", headers=headers
            )
            assert status == 413, length


async def test_a_notification_of_just_the_limit_is_read(stage: Stage) -> None:
    """The bound is where it says it is: a byte less and the body is looked at."""
    async with stage.bot() as rei:
        body = json.dumps(notification(str(uuid4()))).encode()
        body += b" " * (webhooks.NOTIFICATION_BYTES_MAX - len(body))
        answer = await rei.http.post("/webhook/yookassa", content=body)
        assert (answer.status_code, answer.text) == (503, "failed")


@pytest.mark.parametrize(
    ("target", "headers", "bytes_max"),
    [
        ("/webhook/telegram", KNOWN, webhooks.UPDATE_BYTES_MAX),
        ("/webhook/yookassa", b"", webhooks.NOTIFICATION_BYTES_MAX),
    ],
)
async def test_a_body_without_a_length_is_counted_as_it_comes(
    stage: Stage, target: str, headers: bytes, bytes_max: int
) -> None:
    async with stage.bot() as rei, line_to(rei.process.port) as line:
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode()
        await line.send(head + headers + b"\r\n")
        # Not one byte more than the limit and a chunk is needed, and the end never comes.
        for _ in range(bytes_max // 4096 + 1):
            await line.send(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert b" 413 " in await line.answer()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: many\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
    ],
)
async def test_a_length_that_two_servers_might_read_differently_is_refused(
    stage: Stage, head: bytes
) -> None:
    """No request is smuggled past a proxy in front."""
    async with stage.bot() as rei:
        status, answer = await ask(
            rei.process.port, "/webhook/yookassa", method="POST", headers=head
        )
        assert status == 400, answer
        assert await rei.post_update(stage.telegram.message("/help")) == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked_beyond_the_limit(stage: Stage, encoding: str) -> None:
    bomb = _bomb(encoding)
    assert len(bomb) < webhooks.NOTIFICATION_BYTES_MAX
    async with stage.bot() as rei:
        await _notify(rei)  # what the first request loads is none of the bomb's
        tracemalloc.start()
        try:
            before, _peak = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            status, answer = await ask(
                rei.process.port,
                "/webhook/yookassa",
                method="POST",
                headers=f"Content-Encoding: {encoding}\r\n".encode(),
                body=bomb,
            )
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert status == 413, answer
        assert peak - before < MEMORY_BYTES_MAX
        assert await rei.post_update(stage.telegram.message("/help")) == 200


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "х"])
async def test_a_packing_that_we_do_not_know_is_no_notification(
    stage: Stage, encoding: str
) -> None:
    async with stage.bot() as rei:
        status, answer = await ask(
            rei.process.port,
            "/webhook/yookassa",
            method="POST",
            headers=f"Content-Encoding: {encoding}\r\n".encode(),
            body=b"\x1f\x8b" + b"x" * 100,
        )
        assert status == 400, answer


def _head(target: str, headers: bytes, *, length: int) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n".encode()
    return head + headers + b"\r\n"


@contextlib.asynccontextmanager
async def _trickling(line: Line, byte: bytes) -> AsyncIterator[None]:
    """A byte now and then, as long as the other side takes them."""

    async def trickle() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await line.send(byte)
                await asyncio.sleep(TRICKLE_SECONDS)

    task = asyncio.create_task(trickle())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _notify(rei: Rei) -> str:
    answer = await rei.http.post("/webhook/yookassa", json=notification(str(uuid4())))
    assert answer.status_code == 503
    return answer.text


def _bomb(encoding: str) -> bytes:
    """Fifty megabytes of nothing in fifty kilobytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    packed = [packer.compress(bytes(1024 * 1024)) for _ in range(50)]
    return b"".join([*packed, packer.flush()])
