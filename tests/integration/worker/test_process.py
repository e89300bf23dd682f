"""`rei worker` itself, as processes: killed, frozen and stopped in the middle of a job.

Gemini and Telegram are the sandbox's, over real HTTP. Each picture takes a few seconds, so that
there is a middle.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rei_sandbox.app import Running, running
from rei_sandbox.programs import Program
from rei_sandbox.services import free_port
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.telegram.users import UserSide

from .conftest import PRICE_KOPECKS, Studio, until

LEASE_SECONDS = 2.0
PICTURE_SECONDS = 3.0
TOKEN = "7000000001:sandbox-token"


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    settings = SandboxSettings(port=0, gemini_latency_seconds=PICTURE_SECONDS)
    async with running(settings) as sandbox:
        sandbox.sandbox.telegram.add_user("Ann", "en", user_id=1)
        await UserSide(sandbox.sandbox.telegram).send_text(1, "/start")
        yield sandbox


class Crew:
    """Worker processes, and what they have done."""

    def __init__(self, studio: Studio, sandbox: Running, folder: Path) -> None:
        self._studio = studio
        self._sandbox = sandbox
        self._folder = folder
        self.members: list[Program] = []

    async def join(self, **changes: str) -> Program:
        """Start one more worker, and wait until it is ready."""
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "REI_DATABASE_URL": self._studio.database_url,
            "REI_REDIS_URL": self._studio.redis_url,
            "BOT_TOKEN": TOKEN,
            "REI_TELEGRAM_API_URL": self._sandbox.url,
            "GEMINI_API_KEY": self._sandbox.sandbox.settings.gemini_api_key,
            "GEMINI_BASE_URL": f"{self._sandbox.url}/gemini",
            "REI_LEASE_SECONDS": str(LEASE_SECONDS),
            "REI_POLL_SECONDS": "0.2",
            "REI_METRICS_PORT": str(port),
        }
        worker = Program(
            "worker",
            name=f"worker-{len(self.members)}",
            folder=self._folder,
            environment=environment | changes,
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )
        self.members.append(worker)
        await asyncio.to_thread(worker.start)
        return worker

    async def who_works_on(self, job: int) -> Program:
        """The worker that has the job and has called Gemini for it."""
        await self._studio.until_status(job, "processing")
        await until(lambda: self.log_says("job.started"))
        name: str = await self._studio.pool.fetchval("SELECT worker FROM jobs WHERE id = $1", job)
        [worker] = [one for one in self.members if one.pid and f"-{one.pid}-" in name]
        return worker

    def log_says(self, event: str) -> bool:
        return any(event in one.log.read_text() for one in self.members)

    def received(self, what: str) -> list[Any]:
        """The customer's photos or documents."""
        messages = self._sandbox.sandbox.telegram.chats[1].messages.values()
        return [message for message in messages if what in message]

    async def until_received(self) -> None:
        await self._studio.until_delivered()
        assert len(self.received("photo")) == 1
        assert len(self.received("document")) == 1


@pytest.fixture
async def crew(studio: Studio, sandbox: Running, tmp_path: Path) -> AsyncIterator[Crew]:
    await studio.customer()
    crew = Crew(studio, sandbox, tmp_path)
    yield crew
    for worker in crew.members:
        worker.thaw()
        await asyncio.to_thread(worker.kill)
        assert TOKEN not in worker.log.read_text()


async def attempts(studio: Studio, job: int) -> int:
    value: int = await studio.pool.fetchval("SELECT attempt FROM jobs WHERE id = $1", job)
    return value


async def test_after_kill_9_in_the_middle_of_a_job_another_worker_finishes_it(
    studio: Studio, crew: Crew
) -> None:
    await asyncio.gather(crew.join(), crew.join())
    job = await studio.order()
    worker = await crew.who_works_on(job)
    await asyncio.to_thread(worker.kill)
    left = await studio.pool.fetchval(
        "SELECT extract(epoch FROM lease_until - now())::float8 FROM jobs WHERE id = $1", job
    )
    assert left is None or left <= LEASE_SECONDS, "it would wait longer than for its lease"
    await studio.until_status(job, "completed")
    await crew.until_received()

    assert await attempts(studio, job) == 2
    assert await studio.balance() == 100_000 - PRICE_KOPECKS


async def test_a_worker_frozen_beyond_its_lease_and_thawed_does_no_harm(
    studio: Studio, crew: Crew
) -> None:
    await asyncio.gather(crew.join(), crew.join())
    job = await studio.order()
    frozen = await crew.who_works_on(job)
    frozen.freeze()
    await studio.until_status(job, "completed")
    frozen.thaw()
    # Whichever it notices first: that the job is not its own any more, or that its answer is late.
    await until(
        lambda: crew.log_says("job.lease_lost") or crew.log_says("job.result_came_too_late")
    )
    await crew.until_received()
    # It is well, and takes the next job like anybody else.
    for worker in crew.members:
        if worker is not frozen:
            await asyncio.to_thread(worker.kill)
    other = await studio.order()
    await studio.until_status(other, "completed")

    assert await studio.balance() == 100_000 - 2 * PRICE_KOPECKS


async def test_sigterm_lets_the_job_end_delivers_it_and_takes_no_other(
    studio: Studio, crew: Crew
) -> None:
    await crew.join()
    job = await studio.order()
    worker = await crew.who_works_on(job)
    stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
    await until(lambda: crew.log_says("worker.draining"))
    later = await studio.order()
    await stopping

    assert worker._process is not None
    assert worker._process.returncode == 0
    assert await studio.status(job) == "completed"
    assert await attempts(studio, job) == 1
    assert await studio.status(later) == "queued"
    assert len(crew.received("photo")) == 1
    assert len(crew.received("document")) == 1


async def test_sigterm_with_no_time_left_hands_the_job_back_at_once(
    studio: Studio, crew: Crew
) -> None:
    await crew.join(REI_DRAIN_SECONDS="0.1", REI_LEASE_SECONDS="300")
    job = await studio.order()
    worker = await crew.who_works_on(job)
    await asyncio.to_thread(worker.stop)
    assert await studio.status(job) == "queued"
    await crew.join()
    await studio.until_status(job, "completed")
    await crew.until_received()
    assert await studio.balance() == 100_000 - PRICE_KOPECKS


async def test_a_job_longer_than_the_grace_period_is_done_by_another_and_paid_once(
    studio: Studio, crew: Crew
) -> None:
    """The kubelet's way, with a grace period that is shorter than both the drain and the job."""
    await crew.join()
    job = await studio.order()
    worker = await crew.who_works_on(job)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)
    await until(lambda: crew.log_says("pump.draining"))
    await asyncio.to_thread(worker.kill)
    assert await studio.status(job) == "processing"
    await crew.join()
    await studio.until_status(job, "completed")
    await crew.until_received()

    assert await attempts(studio, job) == 2
    assert await studio.balance() == 100_000 - PRICE_KOPECKS


async def test_a_second_signal_ends_it_on_the_spot_and_loses_nothing(
    studio: Studio, crew: Crew
) -> None:
    await crew.join()
    job = await studio.order()
    worker = await crew.who_works_on(job)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)
    await until(lambda: crew.log_says("process.signal"))
    os.kill(worker.pid, signal.SIGTERM)
    await until(lambda: worker.pid is None)
    assert worker._process is not None
    assert worker._process.returncode == 130
    await crew.join()
    await studio.until_status(job, "completed")
    await crew.until_received()


async def test_a_worker_without_a_schema_says_what_to_do_and_no_secret(
    studio: Studio, crew: Crew, postgres_url: str
) -> None:
    with contextlib.suppress(Exception):
        await crew.join(REI_DATABASE_URL=postgres_url, GEMINI_API_KEY="very-secret-key")
    log = crew.members[0].log.read_text()
    assert "rei migrate" in log
    assert "very-secret-key" not in log
