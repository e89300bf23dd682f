"""Limits shared through a real Redis, and each process on its own while Redis is away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from structlog.testing import capture_logs

from rei_core import rates
from rei_core.images.pacing import SharedRate
from rei_core.rates import SharedLimiter, pause_seconds
from rei_sandbox.services import Redis, free_port

FIVE = RateLimitItemPerMinute(5, namespace="test")


@pytest.fixture(autouse=True)
def _a_busy_machine_is_no_hanging_redis(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "hanging" not in request.node.name:
        monkeypatch.setattr(rates, "REDIS_SECONDS_MAX", 30.0)


@asynccontextmanager
async def limiters(url: str, number: int, *, name: str = "") -> AsyncIterator[list[SharedLimiter]]:
    """Limiters as separate processes would have them, under one name."""
    name = name or f"test-{uuid4()}"
    made = [SharedLimiter(url, name=name) for _ in range(number)]
    try:
        yield made
    finally:
        for limiter in made:
            await limiter.aclose()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that this test may break."""
    server = Redis(tmp_path / "redis").start()
    yield server
    server.stop()


async def test_two_limiters_share_one_limit(redis_url: str) -> None:
    async with limiters(redis_url, 2) as (one, two):
        hits = await asyncio.gather(*(who.hit(FIVE, "a") for who in (one, two) for _ in range(20)))
        assert sum(hits) == 5
        assert await two.hit(FIVE, "b"), "another identifier has a window of its own"


async def test_names_do_not_share(redis_url: str) -> None:
    async with limiters(redis_url, 1) as (one,), limiters(redis_url, 1) as (other,):
        assert [await one.hit(FIVE) for _ in range(6)] == [True] * 5 + [False]
        assert await other.hit(FIVE)


async def test_who_waits_gets_the_next_permit_and_no_more(redis_url: str) -> None:
    limit = RateLimitItemPerSecond(4, namespace="wait")
    async with limiters(redis_url, 2) as (one, two):
        started = time.monotonic()
        waits = [who.wait(limit, "x", deadline_seconds=20) for who in (one, two) for _ in range(6)]
        assert all(await asyncio.gather(*waits))
        # Twelve permits at four in any second: the ninth has to be two seconds after the first.
        assert time.monotonic() - started >= 1.9


async def test_a_deadline_ends_the_wait(redis_url: str) -> None:
    async with limiters(redis_url, 1) as (limiter,):
        for _ in range(5):
            assert await limiter.wait(FIVE, deadline_seconds=5)
        started = time.monotonic()
        assert not await limiter.wait(FIVE, deadline_seconds=0.3)
        assert 0.25 <= time.monotonic() - started < 10
        assert not await limiter.wait(FIVE, deadline_seconds=0), "asked once, without waiting"
        assert await limiter.wait(FIVE, "free", deadline_seconds=-1)


async def test_a_thousand_waiters_ask_a_few_times_a_second(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limiters(redis_url, 1) as (limiter,):
        for _ in range(5):
            await limiter.hit(FIVE)
        asked = 0
        hit = limiter.hit

        async def counted(limit: RateLimitItem, *identifiers: str) -> bool:
            nonlocal asked
            asked += 1
            return await hit(limit, *identifiers)

        monkeypatch.setattr(limiter, "hit", counted)
        waits = [limiter.wait(FIVE, deadline_seconds=1) for _ in range(1000)]
        assert not any(await asyncio.gather(*waits))
        # The first in line alone asks, every half a second; a few more get their turn while the
        # deadlines of all pass. A thousand that asked for themselves would be at thousands.
        assert 1 <= asked <= 100
        assert not limiter._turns, "nobody is in line any more"


async def test_a_long_line_takes_its_permits_together(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = RateLimitItemPerMinute(990)
    async with limiters(own_redis.url, 2) as (one, two):
        costs: list[int] = []
        hit = one.hit

        async def counted(limit: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
            costs.append(cost)
            return await hit(limit, *identifiers, cost=cost)

        monkeypatch.setattr(one, "hit", counted)
        # The last ten get none, and ask until their time is over.
        waits = [one.wait(plenty, deadline_seconds=60 if n < 990 else 2) for n in range(1000)]
        permitted = await asyncio.gather(*waits)
        assert sum(permitted) == 990, "every permit is used, and not one too many is given"
        assert len(costs) < 100, "a thousand did not wait for a thousand answers"
        assert not await two.hit(plenty), "the others see what was taken"
        assert not one._turns


async def test_permits_taken_for_others_go_with_the_line(own_redis: Redis) -> None:
    """Kept until somebody comes, they would be of another minute."""
    plenty = RateLimitItemPerMinute(1000)
    async with limiters(own_redis.url, 1) as (limiter,):
        waits = [asyncio.ensure_future(limiter.wait(plenty, deadline_seconds=5)) for _ in range(40)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        assert not limiter._turns


async def test_with_redis_away_each_process_counts_for_itself() -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with limiters(nowhere, 2) as (one, two):
        with capture_logs() as lines:
            mine = await asyncio.gather(*(one.hit(FIVE) for _ in range(20)))
            others = await asyncio.gather(*(two.hit(FIVE) for _ in range(20)))
        assert (sum(mine), sum(others)) == (5, 5)
        assert [line["event"] for line in lines] == ["rates.redis_away"] * 2, "one line each"


async def test_a_hanging_redis_costs_a_second_and_then_nothing(own_redis: Redis) -> None:
    assert own_redis.process is not None
    async with limiters(own_redis.url, 1) as (limiter,):
        assert await limiter.hit(FIVE)
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        try:
            with capture_logs() as lines:
                started = time.monotonic()
                await asyncio.gather(*(limiter.hit(FIVE) for _ in range(50)))
                first = time.monotonic() - started
                await limiter.hit(FIVE)
                second = time.monotonic() - started - first
        finally:
            os.kill(own_redis.process.pid, signal.SIGCONT)
        assert first < 5, "all fifty together waited for one time-out"
        assert second < 0.9, "Redis was not asked"
        assert [line["event"] for line in lines] == ["rates.redis_away"]


async def test_redis_back_is_used_again_and_said_once(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "LOCAL_FOR_SECONDS", 0.1)
    async with limiters(own_redis.url, 2) as (one, two):
        assert await one.hit(FIVE)
        own_redis.kill()
        with capture_logs() as lines:
            assert await one.hit(FIVE)
            own_redis.start()
            deadline = time.monotonic() + 10
            while one._redis_is_away:
                assert time.monotonic() < deadline, "Redis is never asked again"
                await one.hit(RateLimitItemPerSecond(1000), "knock")
                await asyncio.sleep(0.02)
        assert [line["event"] for line in lines] == ["rates.redis_away", "rates.redis_back"]
        assert [await who.hit(FIVE) for who in (one, two) * 3] == [True] * 5 + [False]


async def test_a_restart_between_two_calls_goes_unnoticed(own_redis: Redis) -> None:
    async with limiters(own_redis.url, 1) as (limiter,):
        await limiter.hit(FIVE)
        own_redis.kill()
        own_redis.start()
        with capture_logs() as lines:
            assert await limiter.hit(FIVE)
        assert lines == []


async def test_workers_share_the_calls_per_minute(own_redis: Redis) -> None:
    one = SharedRate(own_redis.url, calls_per_minute_max=3)
    two = SharedRate(own_redis.url, calls_per_minute_max=3)
    try:
        assert all([await who.acquire(5) for who in (one, two, one)])
        assert not await two.acquire(0.1)
    finally:
        await one.aclose()
        await two.aclose()


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (RateLimitItemPerSecond(1), 0.25),
        (RateLimitItemPerSecond(25), 0.05),
        (RateLimitItemPerMinute(600), 0.05),
        (RateLimitItemPerMinute(5), 0.5),
    ],
)
def test_the_pause_is_bounded_on_both_sides(limit: RateLimitItem, seconds: float) -> None:
    assert pause_seconds(limit) == pytest.approx(seconds)
