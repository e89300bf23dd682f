"""What a gateway, a captive portal or a broken server may answer in Telegram's place when the
worker sends: nothing is lost, nothing hangs, and the next good answer delivers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web

from rei_core.deliveries import queries
from rei_core.jobs.model import InputRef
from rei_worker.delivery.courier import Courier
from rei_worker.inputs import InputLost, InputUnreachable, fetch
from rei_worker.metrics import Metrics
from rei_worker.telegram_pace import TelegramPace
from rei_worker.telegram_session import StrictSession

from ..worker.conftest import Studio

TOKEN = "42:TEST-token-of-the-bot"
DAY_SECONDS = 86_400
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"


def refused(code: Any, description: Any = "no", **more: Any) -> bytes:
    return json.dumps(
        {"ok": False, "error_code": code, "description": description, **more}
    ).encode()


def done(result: Any) -> bytes:
    return json.dumps({"ok": True, "result": result}).encode()


MESSAGE = {"message_id": 5, "date": 1_800_000_000, "chat": {"id": 1, "type": "private"}}
SIZE = {"file_id": "f", "file_unique_id": "f", "width": 8, "height": 8}
GOOD = {
    "sendPhoto": done({**MESSAGE, "photo": [SIZE]}),
    "sendDocument": done({**MESSAGE, "document": {"file_id": "d", "file_unique_id": "d"}}),
}

ODD: dict[str, tuple[int, bytes]] = {
    "html 200": (200, HTML),
    "html 502": (502, HTML),
    "html 403": (403, HTML),
    "html 400": (400, HTML),
    "nothing": (200, b""),
    "no body of a 204": (204, b""),
    "bytes that are no text": (200, b"\xff\xfe\x00\x01" * 100),
    "cut": (200, GOOD["sendPhoto"][:40]),
    "nested without end": (200, b"[" * 100_000),
    "a list": (200, b"[]"),
    "null": (200, b"null"),
    "ok without a result": (200, b'{"ok": true}'),
    "ok with null": (200, done(None)),
    "ok with true": (200, done(True)),
    "ok with a text": (200, done("sent")),
    "ok with an empty message": (200, done({})),
    "ok is a word": (200, b'{"ok": "maybe", "result": {}}'),
    "a message with a huge id": (200, done({**MESSAGE, "message_id": 10**30})),
    "a message with a chat of no kind": (200, done({**MESSAGE, "chat": {"id": "x"}})),
    "a photo that is a text": (200, done({**MESSAGE, "photo": "x"})),
    "not ok with 200": (200, refused(400)),
    "a refusal without a word": (400, refused(400, None)),
    "an outage without a word": (500, refused(500, None)),
    "an outage in JSON of others": (503, b'{"message": "upstream"}'),
    "a code that is a text": (400, refused("many")),
    "a flood without an end": (429, refused(429, "Too Many Requests")),
    "a flood of minus": (429, refused(429, "flood", parameters={"retry_after": -5})),
    "a flood for ever": (429, refused(429, "flood", parameters={"retry_after": 10**15})),
    "a flood of a word": (429, refused(429, "flood", parameters={"retry_after": "soon"})),
    "a status of no kind": (299, HTML),
    "a redirect to nowhere": (302, b""),
    "a teapot": (418, b"{}"),
    "the token in the words": (403, refused(403, f"no such bot{TOKEN}")),
}  # fmt: skip
NOT_HELD_AGAINST = {
    "html 502", "an outage without a word", "an outage in JSON of others", "a flood of minus",
    "a flood for ever",
}  # fmt: skip


@dataclass
class Portal:
    """Whatever answers in Telegram's place."""

    url: str = ""
    odd: list[tuple[int, bytes]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        await request.read()
        self.calls.append(method)
        if self.odd:
            status, body = self.odd[0]
            return web.Response(status=status, body=body, content_type="text/html")
        return web.Response(body=GOOD[method], content_type="application/json")


@pytest.fixture
async def portal(serve: Callable[[web.Application], Awaitable[str]]) -> Portal:
    made = Portal()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/bot{token}/{method}", made.answer)
    made.url = await serve(app)
    return made


@pytest.fixture
async def bot(portal: Portal) -> AsyncIterator[Bot]:
    made = Bot(TOKEN, session=StrictSession(api=TelegramAPIServer.from_base(portal.url)))
    yield made
    await made.session.close()


@pytest.fixture
def courier(studio: Studio, bot: Bot) -> Courier:
    """With permits for all: what is tested is not the pace."""

    class FreePace(TelegramPace):
        async def acquire(self, chat_id: int, *, deadline_seconds: float) -> bool:
            del chat_id, deadline_seconds
            return True

    pace = FreePace(studio.redis_url, messages_per_second_max=25)
    return Courier(bot=bot, pool=studio.pool, pace=pace, metrics=Metrics(), attempts_max=3)


async def attempt(studio: Studio, courier: Courier) -> None:
    """Carry out the delivery that is due."""
    async with studio.pool.acquire() as connection:
        [delivery] = await queries.claim(connection, limit=1, lease_seconds=60)
    await courier.deliver(delivery, is_ours=lambda: True)


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_answer_loses_nothing(
    studio: Studio, courier: Courier, portal: Portal, name: str
) -> None:
    await studio.customer()
    job_id = await studio.complete_one()
    balance = await studio.balance()
    portal.odd = [ODD[name]]
    await attempt(studio, courier)
    assert portal.calls, "nothing was sent at all"

    row = await studio.pool.fetchrow(
        "SELECT status, failures, error_detail, "
        "extract(epoch FROM due_at - now())::float8 AS due_in FROM deliveries ORDER BY id LIMIT 1"
    )
    assert row is not None
    if name == "a refusal without a word":  # of the photo, as far as we know: then the file alone
        assert await studio.deliveries() == [("result", "delivered"), ("original", "pending")]
        return
    assert await studio.count("deliveries") == 1
    assert row["status"] in {"pending", "undeliverable"}
    assert row["error_detail"]
    assert len(row["error_detail"]) <= 500
    assert TOKEN not in row["error_detail"]
    for word in ("AttributeError", "TypeError", "KeyError"):
        assert word not in row["error_detail"], "Python stumbled, instead of us saying what it is"
    if row["status"] == "pending":
        assert 0 < row["due_in"] <= DAY_SECONDS + 1
        assert row["failures"] == (0 if name in NOT_HELD_AGAINST else 1)
    else:
        assert name not in NOT_HELD_AGAINST
    # Whatever Telegram says, the picture is stored and paid for, once.
    assert await studio.status(job_id) == "completed"
    assert await studio.pool.fetchval("SELECT data IS NOT NULL FROM job_outputs")
    assert await studio.balance() == balance

    if row["status"] == "pending":
        portal.odd = []
        for _ in GOOD:
            await studio.pool.execute("UPDATE deliveries SET due_at = now()")
            await attempt(studio, courier)
        assert await studio.deliveries() == [("result", "delivered"), ("original", "delivered")]


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_answer_about_an_input_is_a_clear_one(
    bot: Bot, portal: Portal, name: str
) -> None:
    portal.odd = [ODD[name]]
    with pytest.raises((InputLost, InputUnreachable)) as failed:
        await fetch(bot, (InputRef("photo-1", "image/jpeg", 4),))
    assert TOKEN not in str(failed.value)
