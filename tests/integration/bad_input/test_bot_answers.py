"""What may answer in Telegram's place when the bot asks: no answer takes more memory than its bound."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import ClientDecodeError
from aiohttp import web

from rei_bot.main import ANSWER_BYTES_MAX
from rei_bot.polling import GetRawUpdates
from rei_telegram.session import BoundedSession

ASKED = GetRawUpdates(allowed_updates=[])
PIECE = b" " * 1024 * 1024
IN_BUFFERS = 32
"""Pieces that a server may have sent and nobody has read."""


class Portal:
    """Answers with a beginning, and if it is `endless`, with spaces from there on."""

    def __init__(self) -> None:
        self.beginning = b""
        self.endless = False
        self.pieces = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(self.beginning)
        while self.endless:
            await response.write(PIECE)  # raises when the other side has hung up
            self.pieces += 1
        return response


@pytest.fixture
def portal() -> Portal:
    return Portal()


@pytest.fixture
async def bot(
    portal: Portal, serve: Callable[[web.Application], Awaitable[str]]
) -> AsyncIterator[Bot]:
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", portal.answer)
    session = BoundedSession(
        answer_bytes_max=ANSWER_BYTES_MAX,
        api=TelegramAPIServer.from_base(await serve(app)),
        timeout=30,
    )
    made = Bot("42:TEST", session=session)
    yield made
    await made.session.close()


async def test_an_answer_without_an_end_is_given_up(portal: Portal, bot: Bot) -> None:
    portal.beginning, portal.endless = b'{"ok": true, "result": [', True
    with pytest.raises(ClientDecodeError, match="Answer too long"):
        await bot(ASKED)
    assert portal.pieces <= ANSWER_BYTES_MAX / len(PIECE) + IN_BUFFERS


async def test_what_is_no_text_is_no_answer(portal: Portal, bot: Bot) -> None:
    portal.beginning = b"\xff\xfe" * 100
    with pytest.raises(ClientDecodeError, match="Answer is no text"):
        await bot(ASKED)


async def test_a_full_answer_is_read(portal: Portal, bot: Bot) -> None:
    """A hundred updates with the longest texts there can be."""
    update = b'{"update_id": 1, "message": {"text": "%b"}}' % (b"\\ud83c\\udf4c" * 4096)
    portal.beginning = b'{"ok": true, "result": [' + b",".join([update] * 100) + b"]}"
    updates = await bot(ASKED)
    assert len(updates) == 100
