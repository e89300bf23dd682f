"""A sandbox on a free loopback port, aiogram pointed at it, and people who write to its bot."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from PIL import Image

from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings

TOKEN = "7000000001:test-token"  # of a stand-in; it opens nothing
ANYA, JOHN = 1001, 1002

Json = dict[str, Any]


def picture(width: int = 64, height: int = 48, *, kind: str = "PNG") -> bytes:
    """A plain picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, kind)
    return buffer.getvalue()


class Person:
    """A user of the sandbox's Telegram, over the sandbox's HTTP control."""

    def __init__(self, http: httpx.AsyncClient, user_id: int) -> None:
        self.user_id = user_id
        self._http = http

    async def says(self, text: str) -> Any:
        """Write; the message."""
        return await self._does("messages", "message", json={"text": text})

    async def sends_photos(self, *pictures: bytes, caption: str = "") -> Any:
        """Send a picture or an album; the messages."""
        files = [("file", (f"{n}.png", data, "image/png")) for n, data in enumerate(pictures)]
        return await self._does("photos", "messages", files=files, data={"caption": caption})

    async def sends_document(self, data: bytes, *, name: str = "a.bin", caption: str = "") -> Any:
        """Send a file; the message."""
        files = {"file": (name, data)}
        return await self._does("documents", "message", files=files, data={"caption": caption})

    async def presses(self, message_id: int, data: str) -> Any:
        """Press a button; the query's id."""
        return await self._does("press", "query_id", json={"message_id": message_id, "data": data})

    async def blocks(self, *, blocked: bool = True) -> None:
        """Block the bot, or let it in again."""
        await self._does("blocked", "user", json={"blocked": blocked})

    async def chat(self) -> list[Json]:
        """The messages, oldest first."""
        answer = await self._http.get(f"/_sandbox/telegram/users/{self.user_id}/messages")
        messages: list[Json] = answer.raise_for_status().json()["messages"]
        return messages

    async def _does(self, action: str, key: str, **body: Any) -> Any:
        answer = await self._http.post(f"/_sandbox/telegram/users/{self.user_id}/{action}", **body)
        return answer.raise_for_status().json()[key]


async def until(true: Callable[[], bool], *, seconds_max: float = 10) -> None:
    """Look until `true()`; fails after `seconds_max`."""
    deadline = time.monotonic() + seconds_max
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    """`await until(lambda: …)`: look until it is true."""
    return until


@pytest.fixture(name="picture")
def picture_fixture() -> Callable[..., bytes]:
    """`picture(width, height)`: a PNG."""
    return picture


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    async with running(SandboxSettings(port=0, telegram_bot_token=TOKEN)) as server:
        yield server


@pytest.fixture
async def http(sandbox: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The sandbox, without aiogram between."""
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
async def bot(sandbox: Running) -> AsyncIterator[Bot]:
    """aiogram as it is, pointed at the sandbox by nothing but its base URL."""
    made = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(sandbox.url)))
    yield made
    await made.session.close()


@pytest.fixture
async def anya(http: httpx.AsyncClient) -> Person:
    """Has started the bot."""
    person = Person(http, ANYA)
    await person.says("/start")
    return person


@pytest.fixture
def john(http: httpx.AsyncClient) -> Person:
    """Has never written to the bot."""
    return Person(http, JOHN)


@pytest.fixture
def calls(http: httpx.AsyncClient) -> Callable[[str], Awaitable[dict[str, int]]]:
    """`await calls("sendPhoto")`: outcomes and their numbers."""

    async def counted(operation: str) -> dict[str, int]:
        state = (await http.get("/_sandbox/state")).json()
        counts: dict[str, int] = state["calls"].get("telegram", {}).get(operation, {})
        return counts

    return counted
