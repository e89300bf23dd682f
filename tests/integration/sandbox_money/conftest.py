"""A sandbox on a free loopback port, someone who receives its notifications, and the real SDKs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aiohttp import web
from google import genai
from yookassa import Configuration

from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings

SHOP_ID = "100500"
SECRET_KEY = "test_sandbox_secret_key"
API_KEY = "sandbox-gemini-key"

Json = dict[str, Any]


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Receiver:
    """Stands for the bot's notification endpoint; answers with `statuses` in turn, then 200."""

    def __init__(self) -> None:
        self.got: list[Json] = []
        self.statuses: list[int] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    def events(self) -> list[str]:
        return [note["event"] for note in self.got]

    async def wait_for(self, number: int) -> list[Json]:
        """Wait until at least `number` notifications are there."""
        await until(lambda: len(self.got) >= number)
        return self.got


async def until(true: Callable[[], bool], *, seconds_max: float = 10) -> None:
    """Look until `true()`; fails after `seconds_max`."""
    deadline = time.monotonic() + seconds_max
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    """`await until(lambda: …)`: look until it is true."""
    return until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def receiver(serve: Callable[[web.Application], Awaitable[str]]) -> Receiver:
    receiving = Receiver()
    app = web.Application()
    app.router.add_post("/webhook/yookassa", receiving.take)
    receiving.url = f"{await serve(app)}/webhook/yookassa"
    return receiving


@pytest.fixture
async def sandbox(
    receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    """A sandbox without latency, whose notifications are retried after 10 ms."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # the SDKs would ask a proxy for loopback
    settings = SandboxSettings(
        port=0,
        gemini_latency_seconds=0,
        notification_url=receiver.url,
        notification_speedup=6000,
        notification_timeout_seconds=2,
    )
    async with running(settings, now=clock) as server:
        yield server


@pytest.fixture
async def http(sandbox: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The sandbox, without anyone's credentials."""
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def shop(sandbox: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The YooKassa API with the right credentials, for what the SDK refuses by itself."""
    async with httpx.AsyncClient(
        base_url=f"{sandbox.url}/yookassa/v3",
        auth=(SHOP_ID, SECRET_KEY),
        timeout=10,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture
def yookassa_sdk(sandbox: Running) -> Iterator[None]:
    """The official SDK, pointed at the sandbox by nothing but its base URL."""
    Configuration.configure(SHOP_ID, SECRET_KEY, api_url=f"{sandbox.url}/yookassa/v3")
    yield
    Configuration.configure(None, None)


@pytest.fixture
async def gemini_sdk(sandbox: Running) -> AsyncIterator[genai.Client]:
    """The official SDK, pointed at the sandbox by nothing but its base URL."""
    client = genai.Client(api_key=API_KEY, http_options={"base_url": f"{sandbox.url}/gemini"})
    yield client
    await client.aio.aclose()
    client.close()


@pytest.fixture
def payment() -> Callable[..., Json]:
    """The body of a payment of 200 ₽, with changes."""

    def body(**changes: Any) -> Json:
        made = {
            "amount": {"value": "200.00", "currency": "RUB"},
            "capture": True,
            "confirmation": {"type": "redirect", "return_url": "https://t.me/rei_bot"},
            "description": "Пополнение на 200 ₽",
            "metadata": {"payment": "17"},
        }
        merged = {**made, **changes}
        return {name: value for name, value in merged.items() if value is not None}

    return body
