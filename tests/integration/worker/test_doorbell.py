"""The doorbell: rings wake workers at once, and a Redis that dies in any way costs seconds only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis as RedisClient

from rei_bot.doorbell import TaskiqDoorbell
from rei_bot.metrics import Metrics as BotMetrics
from rei_core.jobs.doorbell import STREAM
from rei_sandbox.services import Redis
from rei_worker import doorbell
from rei_worker.doorbell import GROUP, DoorbellBroker

from .conftest import FakeProvider, Studio, until

SLEEPY_SECONDS = 300.0
"""A poll interval at which a job that is done quickly must have been rung for."""


@pytest.fixture(autouse=True)
def _a_busy_machine_rings_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rei_bot.doorbell.RING_SECONDS_MAX", 20.0)


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[Redis]:
    """A Redis of the test's own, which it may kill; not started yet."""
    server = Redis(tmp_path / "redis")
    yield server
    await asyncio.to_thread(server.stop)


async def ring(redis_url: str, *, times: int = 1) -> None:
    bell = TaskiqDoorbell(redis_url, metrics=BotMetrics())
    for job_id in range(times):
        await bell.ring(job_id)
    await bell.aclose()


async def listening(redis_url: str) -> bool:
    """Does a worker wait for a ring right now?"""
    async with RedisClient.from_url(redis_url) as redis:
        return any(client["cmd"] == "xreadgroup" for client in await redis.client_list())


async def consumers(redis: RedisClient) -> list[str]:
    """Whom the stream's group knows by name."""
    return [one["name"].decode() for one in await redis.xinfo_consumers(STREAM, GROUP)]


async def until_heard(studio: Studio, redis_url: str, job: int) -> None:
    """Ring again and again until the job is done: a ring may be lost while Redis comes back."""
    deadline = time.monotonic() + 20
    while await studio.status(job) != "completed":
        assert time.monotonic() < deadline, "nobody heard the bell"
        await ring(redis_url)
        await asyncio.sleep(0.1)


async def test_a_ring_wakes_a_worker_that_would_sleep_for_minutes(studio: Studio) -> None:
    await studio.customer()
    async with studio.working(poll_seconds=SLEEPY_SECONDS):
        await until(lambda: listening(studio.redis_url))
        job = await studio.order()
        await ring(studio.redis_url)
        await studio.until_status(job, "completed")


async def test_a_worker_starts_and_works_without_any_redis(
    studio: Studio, redis_server: Redis
) -> None:
    await studio.customer()
    job = await studio.order()
    async with studio.working(redis_url=redis_server.url):
        await studio.until_status(job, "completed")
        await studio.until_delivered()
        # And it listens as soon as there is one.
        await asyncio.to_thread(redis_server.start)
        await until(lambda: listening(redis_server.url), seconds=30)


async def test_the_bell_is_heard_again_after_redis_was_killed_and_came_back_empty(
    studio: Studio, redis_server: Redis
) -> None:
    await studio.customer()
    await asyncio.to_thread(redis_server.start)
    async with studio.working(redis_url=redis_server.url, poll_seconds=SLEEPY_SECONDS):
        await until(lambda: listening(redis_server.url))
        await asyncio.to_thread(redis_server.kill)
        await asyncio.to_thread(redis_server.start)
        job = await studio.order()
        await until_heard(studio, redis_server.url, job)


async def test_jobs_are_done_while_redis_is_dead(studio: Studio, redis_server: Redis) -> None:
    await asyncio.to_thread(redis_server.start)
    async with studio.working(redis_url=redis_server.url):
        await until(lambda: listening(redis_server.url))
        await asyncio.to_thread(redis_server.kill)
        for job in await studio.orders_of(3):
            await studio.until_status(job, "completed")
        await studio.until_delivered()


async def test_the_bell_is_heard_after_flushall(studio: Studio) -> None:
    await studio.customer()
    async with studio.working(poll_seconds=SLEEPY_SECONDS):
        await until(lambda: listening(studio.redis_url))
        async with RedisClient.from_url(studio.redis_url) as redis:
            await redis.flushall()
        job = await studio.order()
        await until_heard(studio, studio.redis_url, job)


async def test_the_stream_does_not_grow(studio: Studio) -> None:
    async with studio.working(), studio.working():
        await until(lambda: listening(studio.redis_url))
        await ring(studio.redis_url, times=50)
        async with RedisClient.from_url(studio.redis_url) as redis:

            async def is_empty() -> bool:
                length: int = await redis.xlen(STREAM)
                return length == 0

            await until(is_empty)
            pending = await redis.xpending(STREAM, GROUP)
    assert pending["pending"] == 0


async def test_rings_that_came_before_any_worker_are_heard_by_the_first(studio: Studio) -> None:
    await ring(studio.redis_url, times=3)
    async with studio.working(), RedisClient.from_url(studio.redis_url) as redis:

        async def is_empty() -> bool:
            length: int = await redis.xlen(STREAM)
            return length == 0

        await until(is_empty)


async def test_a_worker_takes_as_many_rings_as_it_has_room_for(redis_url: str) -> None:
    async def room() -> int:
        return 3

    async with RedisClient.from_url(redis_url) as redis:
        await redis.delete(STREAM)  # an earlier test's rings
    await ring(redis_url, times=5)
    broker = DoorbellBroker(redis_url, consumer="reader", ready=room)
    rings = broker.listen()
    async with RedisClient.from_url(redis_url) as redis:
        await anext(rings)
        assert await redis.xlen(STREAM) == 2
        await anext(rings)
        assert await redis.xlen(STREAM) == 0
    await rings.aclose()
    await broker.shutdown()


async def test_what_is_no_ring_disturbs_nobody(studio: Studio) -> None:
    await studio.customer()
    async with studio.working(poll_seconds=SLEEPY_SECONDS):
        await until(lambda: listening(studio.redis_url))
        async with RedisClient.from_url(studio.redis_url) as redis:
            junk: list[dict[Any, Any]] = [{"data": b"\xff{"}, {"else": "x"}, {"data": b"{}"}]
            for fields in junk:
                await redis.xadd(STREAM, fields)
        job = await studio.order()
        await until_heard(studio, studio.redis_url, job)


async def test_a_stopped_worker_takes_its_name_off_and_a_dead_ones_is_removed(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "CONSUMER_IDLE_MS_MAX", 500)
    monkeypatch.setattr(doorbell, "CONSUMERS_CHECKED_EVERY_SECONDS", 0.2)
    async with RedisClient.from_url(studio.redis_url) as redis:
        async with studio.working():
            await until(lambda: listening(studio.redis_url))
            await redis.xgroup_createconsumer(STREAM, GROUP, "killed-long-ago")
            await ring(studio.redis_url)  # the stream knows a listener's name from its first ring

            async def only_ours() -> bool:
                names = await consumers(redis)
                return len(names) == 1 and names[0] != "killed-long-ago"

            await until(only_ours)
        assert await consumers(redis) == []


async def test_a_worker_that_joins_takes_its_share_at_once(studio: Studio) -> None:
    """Nothing waits inside the first one: what it cannot work on yet is still in the queue."""
    studio.provider.gate = asyncio.Event()
    await studio.orders_of(8)
    async with studio.working(concurrency=3):
        await until(lambda: len(studio.provider.requests) == 3)
        other = FakeProvider(gate=studio.provider.gate)
        async with studio.working(concurrency=5, provider=other):
            await until(lambda: len(other.requests) == 5)
            assert len(studio.provider.requests) == 3
            studio.provider.gate.set()
            await studio.until_delivered()
