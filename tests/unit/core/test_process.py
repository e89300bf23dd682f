"""Ending tasks that do not end at the first word."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import structlog
from structlog.testing import capture_logs

from rei_core import process


async def test_a_loop_that_took_a_cancellation_for_an_error_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What asyncpg makes of a cancellation while the server is silent."""
    monkeypatch.setattr(process, "CANCEL_AGAIN_SECONDS", 0.01)
    rounds = 0

    async def look() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if rounds == 1:
                raise TimeoutError

    async def loop() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            try:
                await look()
            except Exception:
                continue

    looping = asyncio.create_task(loop())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await process.cancel(looping)
    assert looping.cancelled()
    assert rounds == 2


async def test_what_tasks_died_of_is_logged_once_all_have_ended() -> None:
    async def dies() -> None:
        raise ValueError("died")

    async def lives() -> None:
        await asyncio.Event().wait()

    dead, living = asyncio.create_task(dies(), name="dies"), asyncio.create_task(lives())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await process.cancel(dead, living)
    assert living.cancelled()
    assert [(line["event"], line["task"]) for line in logs] == [("process.task_died", "dies")]


async def test_a_task_that_will_not_end_is_left_behind_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "CANCEL_AGAIN_SECONDS", 0.01)
    end = asyncio.Event()

    async def deaf() -> None:
        while not end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await end.wait()

    task = asyncio.create_task(deaf(), name="deaf")
    await asyncio.sleep(0)
    with capture_logs() as said:
        await process.cancel(task)
    end.set()
    await task
    assert [(line["event"], line["task"]) for line in said] == [("process.task_hangs", "deaf")]
    assert "deaf" in said[0]["frames"][0]
    # People at a terminal get it too: "stack" is a word of structlog's own there.
    assert "deaf" in structlog.dev.ConsoleRenderer(colors=False)(None, "error", dict(said[0]))


async def test_nothing_to_cancel_is_nothing_to_wait_for() -> None:
    await process.cancel()
