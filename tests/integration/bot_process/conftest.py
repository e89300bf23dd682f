"""A bot's process on real PostgreSQL, Redis and HTTP, with a small Telegram that does as it is told.

The wires to PostgreSQL and Redis can be cut: to the bot that is what an outage looks like.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from aiohttp import web
from redis.asyncio import Redis

from rei_bot.doorbell import TaskiqDoorbell
from rei_bot.main import STATEMENT_SECONDS_MAX, telegram_bot, topup_terms
from rei_bot.metrics import Metrics
from rei_bot.process import BotProcess
from rei_bot.services import Services
from rei_core.catalog import load_catalog
from rei_core.db import Pool, create_pool
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.payments.port import PaymentProvider
from rei_core.payments.yookassa import YooKassaClient
from rei_core.rates import SharedLimiter
from rei_core.reach import RedisPing
from rei_core.settings import BotSettings
from rei_core.users import queries as users
from rei_sandbox.services import free_port

TOKEN = "42:TEST-token"
SECRET = "a-good_SECRET-1"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
CUSTOMER = 7

Json = dict[str, Any]
Answer = tuple[int, Json]


async def until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]], *, seconds: float = 20
) -> None:
    """Look until it is true, with a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)


def error(code: int, description: str, **parameters: Any) -> Answer:
    """An answer of Telegram's that is a refusal."""
    body: Json = {"ok": False, "error_code": code, "description": description}
    return code, body | ({"parameters": parameters} if parameters else {})


@dataclass
class Call:
    """A call of the Bot API."""

    method: str
    params: Json


class Telegram:
    """The Bot API, as much of it as a bot's process needs; `refuse` holds answers to come."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.refuse: dict[str, list[Answer]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        """A method with a gate is answered once that is set."""
        self.waiting: list[Json] = []
        self.changed = asyncio.Event()
        self.offsets: list[int | None] = []
        self._ids = itertools.count(1000)
        self._update_ids = itertools.count(100)
        self._polls = 0

    async def answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        params = {name: _value(text) for name, text in (await request.post()).items()}
        self.calls.append(Call(method, params))
        if method in self.gates:
            await self.gates[method].wait()
        if self.refuse.get(method):
            status, body = self.refuse[method].pop(0)
            return web.json_response(body, status=status)
        if method == "getUpdates":
            return await self._get_updates(params)
        return web.json_response({"ok": True, "result": self._result(method, params)})

    def _result(self, method: str, params: Json) -> Any:
        if method in {"sendMessage", "editMessageText"}:
            return {
                "message_id": params.get("message_id") or next(self._ids),
                "date": 1_800_000_000,
                "chat": {"id": params["chat_id"], "type": "private"},
                "text": params["text"],
            }
        if method == "getWebhookInfo":
            return {
                "url": "",
                "has_custom_certificate": False,
                "pending_update_count": len(self.waiting),
            }
        return True

    async def _get_updates(self, params: Json) -> web.Response:
        self._polls += 1
        mine = self._polls
        self.changed.set()
        offset: int | None = params.get("offset")
        self.offsets.append(offset)
        if offset is not None:
            self.waiting = [each for each in self.waiting if each["update_id"] >= offset]
        deadline = time.monotonic() + int(params.get("timeout", 0))
        while not self.waiting and time.monotonic() < deadline:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, deadline - time.monotonic())):
                    await self.changed.wait()
            if mine != self._polls:
                status, body = error(409, "Conflict: terminated by other getUpdates request")
                return web.json_response(body, status=status)
        found = self.waiting[: int(params.get("limit", 100))]
        return web.json_response({"ok": True, "result": found})

    def queue(self, update: Json) -> Json:
        """Hand an update out to whoever polls."""
        self.waiting.append(update)
        self.changed.set()
        return update

    def message(self, text: str = "", *, user_id: int = CUSTOMER, **content: Any) -> Json:
        """An update with a message of a customer's."""
        body = {
            "message_id": next(self._ids),
            "date": 1_800_000_000,
            "chat": {"id": user_id, "type": "private", "first_name": "Аня"},
            "from": person(user_id),
            **({"text": text} if text else {}),
            **content,
        }
        return {"update_id": next(self._update_ids), "message": body}

    def photo(self, name: str, *, album: str, user_id: int = CUSTOMER) -> Json:
        """An update with a photo of an album."""
        size = {"file_id": name, "file_unique_id": name, "width": 9, "height": 9, "file_size": 9}
        return self.message(user_id=user_id, photo=[size], media_group_id=album)

    def press(self, data: str, *, message_id: int, user_id: int = CUSTOMER) -> Json:
        """An update with a pressed button."""
        number = next(self._update_ids)
        callback = {
            "id": str(number),
            "from": person(user_id),
            "chat_instance": "1",
            "data": data,
            "message": {
                "message_id": message_id,
                "date": 1_800_000_000,
                "chat": {"id": user_id, "type": "private"},
                "text": "…",
            },
        }
        return {"update_id": number, "callback_query": callback}

    def of(self, method: str) -> list[Json]:
        """The parameters of each call of a method."""
        return [call.params for call in self.calls if call.method == method]

    def texts(self, user_id: int = CUSTOMER) -> list[str]:
        """What was sent to a customer."""
        return [each["text"] for each in self.of("sendMessage") if each["chat_id"] == user_id]


def person(user_id: int) -> Json:
    return {"id": user_id, "is_bot": False, "first_name": "Аня", "language_code": "ru"}


def _value(text: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.fixture
async def telegram(
    serve: Callable[[web.Application], Awaitable[str]],
) -> AsyncIterator[Telegram]:
    """A Telegram that listens on loopback."""
    server = Telegram()
    app = web.Application()
    app.router.add_post("/bot" + TOKEN.replace(":", "\\:") + "/{method}", server.answer)
    app.router.add_post("/bot{token}/{method}", server.answer)
    server.url = await serve(app)
    yield server
    for gate in server.gates.values():
        gate.set()


class Wire:
    """A TCP proxy: `cut` is an outage that refuses, `freeze` one that says nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def mend(self) -> None:
        """Let everything through."""
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Refuse new connections and end those that are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    def freeze(self) -> None:
        """Take connections and bytes, and say nothing."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let go on what was frozen."""
        self._flowing.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(there_writer)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.transport.abort()
            self._writers.discard(sink)


@asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """A wire to the server of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    wire = Wire(parts.hostname or "127.0.0.1", parts.port or 0)
    await wire.mend()
    user = f"{parts.username}@" if parts.username else ""
    try:
        yield wire, urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{wire.port}"))
    finally:
        await wire.cut()


@dataclass
class Rei:
    """A running bot process, seen from outside."""

    process: BotProcess
    metrics: Metrics
    http: httpx.AsyncClient
    """To where the world may go."""
    status: httpx.AsyncClient
    """To where only our own network may go."""
    task: asyncio.Task[None]
    redis_wire: Wire
    database_wire: Wire

    async def post_update(self, update: Json, *, secret: str | None = SECRET) -> int:
        """Bring an update as Telegram does; the status of the answer."""
        headers = {} if secret is None else {SECRET_HEADER: secret}
        answer = await self.http.post("/webhook/telegram", json=update, headers=headers)
        return answer.status_code

    async def notify(
        self, payment_id: str, event: str = "payment.succeeded", **headers: str
    ) -> int:
        """Bring a notification as YooKassa does; the status of the answer."""
        answer = await self.http.post(
            "/webhook/yookassa", json=notification(payment_id, event), headers=headers
        )
        return answer.status_code

    def count(self, metric: str, **labels: str) -> float:
        """A metric's value now."""
        return self.metrics.registry.get_sample_value(metric, labels) or 0.0


def notification(payment_id: str, event: str = "payment.succeeded") -> Json:
    """A notification's body; true or not is for the receiver to find out."""
    return {
        "type": "notification",
        "event": event,
        "object": {
            "id": payment_id,
            "status": event.removeprefix("payment."),
            "paid": True,
            "amount": {"value": "200.00", "currency": "RUB"},
            "created_at": "2026-11-24T12:00:00.000Z",
            "refundable": True,
            "test": True,
            "metadata": {},
        },
    }


@dataclass
class Stage:
    """What the tests are made of: customers, and bots that run within a block."""

    pool: Pool
    database_url: str
    redis_url: str
    telegram: Telegram
    yookassa_url: str = "http://127.0.0.1:9/v3"
    defaults: Json = field(default_factory=dict)

    def settings(self, mode: str, **changes: Any) -> BotSettings:
        values: Json = {
            "BOT_TOKEN": TOKEN,
            "YOOKASSA_SHOP_ID": "100500",
            "YOOKASSA_SECRET_KEY": "test_sandbox_secret_key",
            "YOOKASSA_API_URL": self.yookassa_url,
            "telegram_api_url": self.telegram.url,
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "mode": mode,
            "host": "127.0.0.1",
            "port": free_port(),
            "metrics_port": free_port(),
            "public_url": "https://bot.example.com/",
            "webhook_secret": SECRET,
        }
        return BotSettings(**(values | self.defaults | changes))

    @asynccontextmanager
    async def bot(
        self,
        mode: Literal["webhook", "polling"] = "webhook",
        *,
        provider: PaymentProvider | None = None,
        drain_seconds: float = 5,
        **changes: Any,
    ) -> AsyncIterator[Rei]:
        """A bot that runs inside the block and stops at its end."""
        async with AsyncExitStack() as stack:
            database_wire, database_url = await stack.enter_async_context(
                wire_to(self.database_url)
            )
            redis_wire, redis_url = await stack.enter_async_context(wire_to(self.redis_url))
            settings = self.settings(
                mode, database_url=database_url, redis_url=redis_url, **changes
            )  # fmt: skip
            pool = await create_pool(
                database_url,
                application="test-bot",
                size_max=10,
                command_timeout_seconds=STATEMENT_SECONDS_MAX,
            )
            stack.callback(pool.terminate)
            metrics = Metrics()
            bot = telegram_bot(settings, on_call=metrics.telegram.called)
            stack.push_async_callback(bot.session.close)
            client = YooKassaClient(
                shop_id=settings.yookassa_shop_id,
                secret_key=settings.yookassa_secret_key.get_secret_value(),
                base_url=settings.yookassa_api_url,
                on_call=metrics.yookassa.called,
            )
            stack.push_async_callback(client.aclose)
            doorbell = TaskiqDoorbell(redis_url, metrics=metrics)
            stack.push_async_callback(doorbell.aclose)
            limiter = SharedLimiter(redis_url, name="rei-bot")
            stack.push_async_callback(limiter.aclose)
            redis = RedisPing(redis_url)
            stack.push_async_callback(redis.aclose)
            services = Services(
                settings=settings,
                pool=pool,
                catalog=load_catalog(),
                payments=provider or client,
                doorbell=doorbell,
                topup_terms=topup_terms(settings),
                metrics=metrics,
            )
            process = BotProcess(
                bot=bot,
                services=services,
                limiter=limiter,
                redis=redis,
                drain_seconds=drain_seconds,
            )
            http = await stack.enter_async_context(client_of(settings.port))
            status = await stack.enter_async_context(client_of(settings.metrics_port))
            task = asyncio.create_task(process.run())
            rei = Rei(process, metrics, http, status, task, redis_wire, database_wire)
            await until(lambda: _ready(status, task))
            try:
                yield rei
            finally:
                await database_wire.mend()
                process.stop()
                await asyncio.wait_for(task, 40)

    async def customer(self, user_id: int = CUSTOMER, *, balance_kopecks: int = 100_000) -> None:
        """A customer with money."""
        async with self.pool.acquire() as connection, connection.transaction():
            await users.see(connection, user_id, first_name="Аня")
            await adjust(
                connection,
                user_id=user_id,
                change_kopecks=balance_kopecks,
                operation_id=f"gift-{user_id}",
                reason="test",
            )

    async def balance(self, user_id: int = CUSTOMER) -> int:
        value: int = await self.pool.fetchval(
            "SELECT balance_kopecks FROM balances WHERE user_id = $1", user_id
        )
        return value

    async def count(self, table: str) -> int:
        value: int = await self.pool.fetchval(f"SELECT count(*) FROM {table}")
        return value

    async def lapse_leases(self) -> None:
        """As if the time that a dead process is waited for had passed."""
        await self.pool.execute(
            "UPDATE telegram_updates SET lease_until = now() - interval '1 second' "
            "WHERE handled_at IS NULL"
        )

    async def is_handled(self, update: Json) -> bool:
        return bool(
            await self.pool.fetchval(
                "SELECT handled_at IS NOT NULL FROM telegram_updates WHERE update_id = $1",
                update["update_id"],
            )
        )

    def button(self, words: str) -> str:
        """The data of the last button shown whose label holds `words`."""
        for call in reversed(self.telegram.calls):
            markup = call.params.get("reply_markup") or {}
            for row in markup.get("inline_keyboard", []):
                for button in row:
                    if words in button["text"]:
                        return str(button["callback_data"])
        raise AssertionError(f"no button {words!r}")


def client_of(port: int) -> httpx.AsyncClient:
    """A client of one of our own servers."""
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40, trust_env=False)


async def _ready(http: httpx.AsyncClient, task: asyncio.Task[None]) -> bool:
    if task.done():
        task.result()
    with contextlib.suppress(httpx.HTTPError):
        return (await http.get("/readyz")).status_code == 200
    return False


@pytest.fixture
async def stage(
    pool: Pool, database_url: str, redis_url: str, telegram: Telegram
) -> AsyncIterator[Stage]:
    """Whatever the test does, the ledger has to be consistent at its end."""
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    yield Stage(pool, database_url, redis_url, telegram)
    async with pool.acquire() as connection:
        report = await audit(connection)
    assert report.violations == ()
