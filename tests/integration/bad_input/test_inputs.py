"""What a customer may send as a photo, and what becomes of it between the order and the work: a
picture, or a job that failed, was refunded once, and says so in the customer's language.

A real worker between Telegram and Gemini as the sandbox plays them, over real HTTP.
"""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from PIL import Image

from rei_core.catalog import load_catalog
from rei_core.images.gemini import GeminiClient
from rei_core.jobs.model import InputRef
from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.telegram.params import Upload
from rei_worker.inputs import FILE_BYTES_MAX
from rei_worker.metrics import Metrics
from rei_worker.telegram_session import StrictSession
from rei_worker.worker import Worker

from ..worker.conftest import PRICE_KOPECKS, FreeRate, Studio, png, until

API_KEY = "sandbox-gemini-key"
TOKEN = "7000000001:sandbox-token"
EXIF_ORIENTATION = 0x0112


def encoded(kind: str, *, side: int = 64, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2), "orange").save(out, kind, **options)
    return out.getvalue()


def frames(kind: str) -> bytes:
    pictures = [Image.new("RGB", (32, 32), color) for color in ("red", "green", "blue")]
    out = io.BytesIO()
    pictures[0].save(out, kind, save_all=True, append_images=pictures[1:], duration=100)
    return out.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    return encoded("JPEG", exif=exif)


def claims_to_be(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        tail = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + tail

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(50_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )  # fmt: skip


TAKEN: dict[str, Callable[[], bytes]] = {
    "png": png,
    "webp": lambda: encoded("WEBP"),
    "rotated by EXIF": rotated,
    "animated webp": lambda: frames("WEBP"),
    "animated png": lambda: frames("PNG"),
    "two pictures in a JPEG": lambda: frames("MPO"),
    "a JPEG that is a ZIP too": lambda: encoded("JPEG") + b"PK\x05\x06" + bytes(18),
    "a PNG that is HTML too": lambda: png() + b"<html><script>alert(1)</script>",
}
UNUSABLE: dict[str, Callable[[], bytes]] = {
    "words": "это не картинка".encode,
    "a program": lambda: b"MZ" + bytes(4_000),
    "one byte": lambda: b"\x89",
    "a PDF": lambda: b"%PDF-1.7\n%%EOF",
    "an SVG": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a GIF": lambda: frames("GIF"),
    "a TIFF": lambda: encoded("TIFF"),
    "cut in its header": lambda: encoded("JPEG")[:30],
    "HTML before a PNG": lambda: b"<html>" + png(),
    "a bomb": lambda: claims_to_be(60_000, 60_000),
    "a long line": lambda: claims_to_be(2**31 - 1, 1),
    "no side": lambda: claims_to_be(0, 0),
}


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    settings = SandboxSettings(port=0, gemini_latency_seconds=0, gemini_side_pixels_max=64)
    async with running(settings) as server:
        yield server


@pytest.fixture
async def bot(sandbox: Running) -> AsyncIterator[Bot]:
    api = TelegramAPIServer.from_base(sandbox.url)
    made = Bot(TOKEN, session=StrictSession(api=api))
    yield made
    await made.session.close()


class Atelier:
    """A customer of the sandbox's, and a worker that is at its orders."""

    def __init__(self, studio: Studio, sandbox: Running, bot: Bot) -> None:
        self.studio = studio
        self.telegram = sandbox.sandbox.telegram
        self._url = sandbox.url
        self._bot = bot

    async def customer(self, language: str) -> int:
        """Their id; they have written to the bot, which may write to them then."""
        user_id = self.telegram.add_user("Аня", language).user_id
        await self.telegram.users.send_text(user_id, "/start")
        await self.studio.customer(user_id, language=language)
        return user_id

    def file(self, data: bytes) -> str:
        """The id of a document that a customer has sent."""
        stored = self.telegram.files.add_document(
            Upload("document", "photo.png", "image/png", data)
        )
        file_id: str = stored["file_id"]
        return file_id

    async def ends(self, user_id: int, *file_ids: str) -> int:
        """An order with these photos, worked on to its end and told of."""
        provider = GeminiClient(api_key=API_KEY, base_url=f"{self._url}/gemini")
        worker = Worker(
            settings=self.studio.settings(),
            pool=self.studio.pool,
            lease_pool=self.studio.pool,
            bot=self._bot,
            provider=provider,
            rate=FreeRate(),
            catalog=load_catalog(),
            metrics=Metrics(),
        )
        job = await self.studio.order(
            user_id, inputs=tuple(InputRef(each, "image/png", 100) for each in file_ids)
        )
        at_work = asyncio.create_task(worker.run())
        try:
            await self.studio.until_delivered(seconds=60)
            # The worker lives: it does the next order.
            next_job = await self.studio.order(user_id)
            await self.studio.until_status(next_job, "completed")
            await self.studio.until_delivered(seconds=60)
        finally:
            worker.stop()
            await asyncio.wait_for(at_work, 30)
            await provider.aclose()
        return job

    async def refunded_once(self, job: int, code: str, user_id: int) -> None:
        assert await self.studio.status(job) == "failed"
        found = await self.studio.pool.fetchval("SELECT error_code FROM jobs WHERE id = $1", job)
        assert found == code
        releases = f"transfers WHERE kind = 'release' AND ref_id = '{job}'"
        assert await self.studio.count(releases) == 1
        assert await self.studio.balance(user_id) == 100_000 - PRICE_KOPECKS  # the next order's
        attempts = await self.studio.pool.fetchval("SELECT attempt FROM jobs WHERE id = $1", job)
        assert attempts == 1, "no repeat makes a picture of it"

    def told(self, user_id: int) -> str:
        """What the customer reads in the chat."""
        messages = self.telegram.chats[user_id].messages.values()
        return "\n".join(message.get("text", "") for message in messages)


@pytest.fixture
def atelier(studio: Studio, sandbox: Running, bot: Bot) -> Atelier:
    return Atelier(studio, sandbox, bot)


@pytest.mark.parametrize("name", TAKEN)
async def test_a_picture_of_any_kind_is_worked_on(atelier: Atelier, name: str) -> None:
    user_id = await atelier.customer("ru")
    job = await atelier.ends(user_id, atelier.file(TAKEN[name]()))
    assert await atelier.studio.status(job) == "completed"
    assert await atelier.studio.balance(user_id) == 100_000 - 2 * PRICE_KOPECKS


@pytest.mark.parametrize("name", UNUSABLE)
async def test_what_is_no_picture_is_refunded_before_the_provider_is_called(
    atelier: Atelier, sandbox: Running, name: str
) -> None:
    user_id = await atelier.customer("ru")
    job = await atelier.ends(user_id, atelier.file(png()), atelier.file(UNUSABLE[name]()))
    await atelier.refunded_once(job, "input_unusable", user_id)
    assert "не удаётся прочитать" in atelier.told(user_id)
    assert "Мы вернули" in atelier.told(user_id)
    made = sandbox.sandbox.calls.counts()["gemini"]["made"]
    assert sum(made.values()) == 1  # the next order's


async def test_a_customer_who_reads_english_is_told_in_english(atelier: Atelier) -> None:
    user_id = await atelier.customer("en")
    job = await atelier.ends(user_id, atelier.file(b"no picture"))
    await atelier.refunded_once(job, "input_unusable", user_id)
    assert "cannot be read" in atelier.told(user_id)
    assert "are back on your balance" in atelier.told(user_id)


async def test_a_file_that_vanished_before_the_work_is_refunded(atelier: Atelier) -> None:
    user_id = await atelier.customer("ru")
    file_id = atelier.file(png())
    atelier.telegram.files.clear()
    job = await atelier.ends(user_id, file_id)
    await atelier.refunded_once(job, "input_lost", user_id)
    assert "не хранит" in atelier.told(user_id)


async def test_a_file_larger_than_telegram_gives_is_refunded(atelier: Atelier) -> None:
    user_id = await atelier.customer("ru")
    job = await atelier.ends(user_id, atelier.file(png() + bytes(FILE_BYTES_MAX)))
    await atelier.refunded_once(job, "input_lost", user_id)


async def test_a_file_that_is_empty_by_now_is_refunded(
    atelier: Atelier, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await atelier.customer("ru")
    file_id = atelier.file(png())
    stored = atelier.telegram.files.get(file_id)
    assert stored is not None
    object.__setattr__(stored, "data", b"")
    job = await atelier.ends(user_id, file_id)
    await atelier.refunded_once(job, "input_unusable", user_id)
    await until(lambda: "не удаётся прочитать" in atelier.told(user_id))
