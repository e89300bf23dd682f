"""Whether Redis answers, as a process asks it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from rei_core.reach import REDIS_SECONDS_MAX, RedisPing, watch
from rei_sandbox.services import Redis, free_port


async def test_a_redis_that_comes_goes_and_falls_silent(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis").start()
    assert server.process is not None
    ping = RedisPing(server.url)
    try:
        assert await ping.answers()
        os.kill(server.process.pid, signal.SIGSTOP)
        async with asyncio.timeout(3 * REDIS_SECONDS_MAX + 5):
            assert not await ping.answers()
        os.kill(server.process.pid, signal.SIGCONT)
        assert await ping.answers()
        server.kill()
        assert not await ping.answers()
    finally:
        await ping.aclose()
        server.stop()


async def test_a_redis_that_was_never_there() -> None:
    ping = RedisPing(f"redis://127.0.0.1:{free_port()}/0")
    try:
        assert not await ping.answers()
    finally:
        await ping.aclose()


async def test_what_was_answered_is_reported_until_cancelled() -> None:
    answers, told = iter([True, False, True]), list[bool]()

    async def ask() -> bool:
        return next(answers)

    # An iterator that is at its end ends the watch, which nothing else does.
    with pytest.raises(RuntimeError, match="StopIteration"):
        await watch(ask, told.append, period_seconds=0)
    assert told == [True, False, True]
