"""A call of the Bot API is counted by its end, also when what stands in Telegram's place speaks HTML."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import AiogramError
from aiohttp import web

from rei_telegram.session import BoundedSession

Told = list[tuple[str, str]]


def refusal(status: int, **parameters: int) -> web.Response:
    return web.json_response(
        {"ok": False, "error_code": status, "description": "no", "parameters": parameters},
        status=status,
    )


ANSWERS: dict[str, Callable[[], web.Response]] = {
    "ok": lambda: web.json_response({"ok": True, "result": True}),
    "limited": lambda: refusal(429, retry_after=3),
    "blocked": lambda: refusal(403),
    "unauthorized": lambda: refusal(401),
    "conflict": lambda: refusal(409),
    "refused": lambda: refusal(400),
    "server_error": lambda: refusal(502),
    "unreadable": lambda: web.Response(text="<html>", status=200),
}


@pytest.fixture
async def ask() -> AsyncIterator[Callable[[str], Awaitable[Told]]]:
    """Make one call that is answered in a given way; what was told of it."""
    answers: list[web.Response] = []

    async def answer(request: web.Request) -> web.Response:
        del request
        return answers.pop()

    app = web.Application()
    app.router.add_post("/bot42:TEST/deleteMyCommands", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    told: Told = []
    session = BoundedSession(
        answer_bytes_max=1000,
        on_call=lambda method, outcome, seconds: told.append((method, outcome)),
        api=TelegramAPIServer.from_base(f"http://127.0.0.1:{port}"),
    )
    bot = Bot("42:TEST", session=session)

    async def one(outcome: str) -> Told:
        told.clear()
        if outcome == "network":
            await runner.cleanup()
        else:
            answers.append(ANSWERS[outcome]())
        try:
            await bot.delete_my_commands()
        except AiogramError:
            assert outcome != "ok"
        return told

    yield one
    await session.close()
    await runner.cleanup()


@pytest.mark.parametrize("outcome", [*ANSWERS, "network"])
async def test_by_its_end(ask: Callable[[str], Awaitable[Told]], outcome: str) -> None:
    assert await ask(outcome) == [("deleteMyCommands", outcome)]
