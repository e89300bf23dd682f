"""A worker on real PostgreSQL and Redis, between a provider and a Telegram that do as they are told."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.methods import GetFile, SendDocument, SendMessage, SendPhoto, TelegramMethod
from aiogram.methods.edit_message_text import EditMessageText
from aiogram.types import Chat, Document, File, Message, PhotoSize
from PIL import Image
from redis.asyncio import Redis

from rei_core.catalog import load_catalog
from rei_core.db import Pool
from rei_core.errors import FailureClass, ImageProviderError
from rei_core.images.port import GeneratedImage, ImageRequest
from rei_core.jobs import accept_queries, claim_queries, end_queries
from rei_core.jobs.model import Acceptance, InputRef, Order, Output
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.settings import WorkerSettings
from rei_core.users import queries as users
from rei_worker.delivery.courier import Courier
from rei_worker.metrics import Metrics
from rei_worker.telegram_pace import TelegramPace
from rei_worker.worker import Worker

MODEL = "gemini-3.1-flash-image"
PRICE_KOPECKS = 1500


def png(width: int = 8, height: int = 8) -> bytes:
    """A small real picture."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), "orange").save(out, "PNG")
    return out.getvalue()


@dataclass
class FakeProvider:
    """Makes a picture at once, unless the next of `outcomes` says otherwise."""

    outcomes: list[Any] = field(default_factory=list)
    requests: list[ImageRequest] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    probe_error: Exception | None = None
    gate: asyncio.Event | None = None
    after_gate: list[Exception] = field(default_factory=list)
    running: int = 0
    running_max: int = 0
    image: GeneratedImage = field(
        default_factory=lambda: GeneratedImage("image/png", png(), 8, 8, "ref")
    )

    async def generate(self, request: ImageRequest) -> GeneratedImage:
        self.requests.append(request)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running -= 1
        if self.after_gate:
            raise self.after_gate.pop(0)
        return outcome or self.image

    async def probe(self, model: str) -> None:
        self.probes.append(model)
        if self.probe_error is not None:
            raise self.probe_error


class FreeRate:
    """Permits for everybody."""

    async def acquire(self, deadline_seconds: float) -> bool:
        del deadline_seconds
        return True


@dataclass
class NoRate:
    """No permit for anybody until `free`; asking takes no time."""

    free: bool = False

    async def acquire(self, deadline_seconds: float) -> bool:
        del deadline_seconds
        return self.free


class RecordingTelegram(BaseSession):
    """Telegram in memory: keeps each call; `fail` may raise for one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[TelegramMethod[Any]] = []
        self.fail: Callable[[TelegramMethod[Any]], None] = lambda method: None
        self.files: dict[str, bytes] = {}
        self.hang_after: type[TelegramMethod[Any]] | None = None
        self._released = asyncio.Event()
        self._ids = itertools.count(1000)

    async def close(self) -> None:
        """Nothing is open."""

    def release(self) -> None:
        """Let what hangs after being carried out get its answer."""
        self.hang_after = None
        self._released.set()

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[Any],
        timeout: int | None = None,  # noqa: ASYNC109 - aiogram's own signature
    ) -> Any:
        del bot, timeout
        self.calls.append(method)
        self.fail(method)
        if self.hang_after is not None and isinstance(method, self.hang_after):
            await self._released.wait()
        if isinstance(method, GetFile):
            return File(file_id=method.file_id, file_unique_id="u", file_path=method.file_id)
        return self._message(method)

    async def stream_content(self, url: str, *args: Any, **kwargs: Any) -> AsyncGenerator[bytes]:
        del args, kwargs
        yield self.files[url.rsplit("/", 1)[-1]]

    def _message(self, method: Any) -> Message:
        content: dict[str, Any] = {}
        name = f"file-{next(self._ids)}"
        if isinstance(method, SendPhoto):
            size = PhotoSize(file_id=name, file_unique_id=name, width=8, height=8)
            content = {"photo": [size]}
        elif isinstance(method, SendDocument):
            content = {"document": Document(file_id=name, file_unique_id=name)}
        chat = Chat(id=method.chat_id, type="private")
        return Message(message_id=next(self._ids), date=datetime.now(UTC), chat=chat, **content)

    def sent(self, kind: type[TelegramMethod[Any]]) -> list[Any]:
        """The calls of one method so far."""
        return [call for call in self.calls if isinstance(call, kind)]

    @property
    def photos(self) -> list[SendPhoto]:
        return self.sent(SendPhoto)

    @property
    def documents(self) -> list[SendDocument]:
        return self.sent(SendDocument)

    @property
    def texts(self) -> list[str]:
        return [call.text for call in self.sent(SendMessage)]

    @property
    def edits(self) -> list[str]:
        return [call.text for call in self.sent(EditMessageText)]


class Studio:
    """What the tests are made of: customers, orders, workers, and waiting for the truth."""

    def __init__(self, pool: Pool, database_url: str, redis_url: str) -> None:
        self.pool = pool
        self.database_url = database_url
        self.redis_url = redis_url
        self.provider = FakeProvider()
        self.telegram = RecordingTelegram()
        self._keys = itertools.count(1)

    @staticmethod
    def blocked() -> ImageProviderError:
        return ImageProviderError(FailureClass.USER_FAULT, "blocked", "IMAGE_SAFETY")

    def settings(self, **changes: Any) -> WorkerSettings:
        values: dict[str, Any] = {
            "BOT_TOKEN": "42:TEST",
            "GEMINI_API_KEY": "key",
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "concurrency": 4,
            "poll_seconds": 0.1,
            "lease_seconds": 2,
            "retry_base_seconds": 0.1,
            "circuit_probe_seconds": 0.2,
            "drain_seconds": 5,
            "metrics_port": 0,
        }
        return WorkerSettings(**(values | changes))

    def worker(self, **changes: Any) -> Worker:
        provider = changes.pop("provider", self.provider)
        pool = changes.pop("pool", self.pool)
        rate = changes.pop("rate", FreeRate())
        lease_pool = changes.pop("lease_pool", pool)
        return Worker(
            settings=self.settings(**changes),
            pool=pool,
            lease_pool=lease_pool,
            bot=Bot("42:TEST", session=self.telegram),
            provider=provider,
            rate=rate,
            catalog=load_catalog(),
            metrics=Metrics(),
        )

    @asynccontextmanager
    async def working(self, **changes: Any) -> AsyncIterator[Worker]:
        """A worker that runs inside the block and drains at its end."""
        worker = self.worker(**changes)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, 30)

    async def kill(self, worker: Worker, running: asyncio.Task[None]) -> None:
        """End a worker as kill -9 does: nothing of it is written any more."""
        for task in [*worker._pump._tasks, *worker._deliveries._sending, running]:
            task.cancel()
        await asyncio.wait({running})

    def courier(self) -> Courier:
        """A courier without a worker around it."""
        return Courier(
            bot=Bot("42:TEST", session=self.telegram),
            pool=self.pool,
            pace=TelegramPace(self.redis_url, messages_per_second_max=25),
            metrics=Metrics(),
            attempts_max=3,
        )

    async def complete_one(self) -> int:
        """A job that is done, and whose picture waits to be delivered."""
        job_id = await self.order()
        async with self.pool.acquire() as connection, connection.transaction():
            [job] = await claim_queries.claim(
                connection, worker="w", lease_seconds=60, limit=1, processing_max=9
            )
            output = Output("image/png", 8, 8, png())
            await end_queries.complete(connection, job_id, attempt=job.attempt, output=output)
        return job_id

    async def customer(
        self, user_id: int = 1, *, balance_kopecks: int = 100_000, language: Any = "en"
    ) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await users.see(connection, user_id, first_name="A", language=language)
            await adjust(
                connection,
                user_id=user_id,
                change_kopecks=balance_kopecks,
                operation_id=f"gift-{user_id}",
                reason="test",
            )

    async def order(self, user_id: int = 1, **changes: Any) -> int:
        acceptance = await self.try_order(user_id, **changes)
        assert acceptance.job_id is not None, acceptance.outcome
        return acceptance.job_id

    async def try_order(
        self,
        user_id: int = 1,
        *,
        inputs: tuple[InputRef, ...] = (),
        attempts_max: int = 4,
        progress_message_id: int | None = None,
        deadline_seconds: float = 600,
        model: str = MODEL,
    ) -> Acceptance:
        order = Order(
            user_id=user_id,
            idempotency_key=f"order-{next(self._keys)}",
            model=model,
            prompt="a <cat> & a dog",
            aspect_ratio="1:1",
            image_size="1K",
            price_kopecks=PRICE_KOPECKS,
            chat_id=user_id,
            progress_message_id=progress_message_id,
            inputs=inputs,
        )
        async with self.pool.acquire() as connection:
            acceptance: Acceptance = await accept_queries.accept(
                connection,
                order,
                active_jobs_max=1000,
                attempts_max=attempts_max,
                deadline_seconds=deadline_seconds,
            )
        return acceptance

    async def balance(self, user_id: int = 1) -> int:
        value: int = await self.pool.fetchval(
            "SELECT balance_kopecks FROM balances WHERE user_id = $1", user_id
        )
        return value

    async def status(self, job_id: int) -> str:
        value: str = await self.pool.fetchval("SELECT status FROM jobs WHERE id = $1", job_id)
        return value

    async def until_status(self, job_id: int, status: str, *, seconds: float = 30) -> None:
        async def reached() -> bool:
            return await self.status(job_id) == status

        await until(reached, seconds=seconds)

    async def past_the_lease(self, lease: str = "max(lease_until) FROM jobs") -> None:
        """Until the lease as it is now has lapsed: whoever has it then has renewed it."""
        first = await self.pool.fetchval(f"SELECT {lease}")

        async def over() -> bool:
            later = "SELECT now() > $1::timestamptz + interval '0.5 s'"
            return bool(await self.pool.fetchval(later, first))

        await until(over)

    async def until_delivered(self, *, seconds: float = 30) -> None:
        """Until no delivery is pending, with every job ended."""

        async def settled() -> bool:
            return not await self.pool.fetchval(
                "SELECT (SELECT count(*) FROM deliveries WHERE status = 'pending') "
                "+ (SELECT count(*) FROM jobs WHERE finished_at IS NULL)"
            )

        await until(settled, seconds=seconds)

    async def orders_of(self, customers: int) -> list[int]:
        """One order of each of so many customers: Telegram takes one message a second in a chat."""
        jobs = []
        for user_id in range(1, customers + 1):
            await self.customer(user_id)
            jobs.append(await self.order(user_id))
        return jobs

    async def count(self, what: str) -> int:
        """How many rows there are of `what`, a table and perhaps a condition."""
        value: int = await self.pool.fetchval(f"SELECT count(*) FROM {what}")
        return value

    async def deliveries(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch("SELECT kind, status FROM deliveries ORDER BY id")
        return [(row["kind"], row["status"]) for row in rows]


def ended(worker: Worker, end: str) -> float:
    """How many attempts ended like this in a worker, by its own metrics."""
    return worker.metrics.registry.get_sample_value("rei_worker_jobs_total", {"end": end}) or 0.0


async def until(condition: Callable[[], Any], *, seconds: float = 30) -> None:
    """Wait for a condition, sync or async, with a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def studio(pool: Pool, database_url: str, redis_url: str) -> AsyncIterator[Studio]:
    """Whatever the test does, the ledger has to be consistent at its end."""
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    yield Studio(pool, database_url, redis_url)
    async with pool.acquire() as connection:
        report = await audit(connection)
    assert report.violations == ()
    assert sum(report.accounts.values()) == 0
