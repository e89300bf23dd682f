"""Each fault of the methods, as aiogram sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.exceptions import (
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import BufferedInputFile

from rei_sandbox.app import Running

Calls = Callable[[str], Awaitable[dict[str, int]]]


@pytest.fixture
def order(sandbox: Running) -> Callable[..., None]:
    """`order(kind, …)`: a fault of Telegram's."""

    def ordered(kind: str, **more: Any) -> None:
        sandbox.sandbox.faults.add("telegram", kind, **more)

    return ordered


async def test_rate_limited_with_its_delay(
    bot: Bot, anya: Any, order: Callable[..., None], calls: Calls
) -> None:
    order("rate_limited", delay_seconds=7, operation="sendMessage")
    with pytest.raises(TelegramRetryAfter) as refused:
        await bot.send_message(anya.user_id, "one")
    assert refused.value.retry_after == 7
    assert (await bot.send_message(anya.user_id, "two")).text == "two"
    assert [message["text"] for message in await anya.chat()] == ["/start", "two"]
    assert await calls("sendMessage") == {"fault:rate_limited": 1, "ok": 1}


async def test_rate_limited_on_the_wire(
    http: httpx.AsyncClient, anya: Any, order: Callable[..., None]
) -> None:
    order("rate_limited", delay_seconds=2.5)
    body = {"chat_id": anya.user_id, "text": "x"}
    answer = await http.post("/bot7000000001:test-token/sendMessage", json=body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 3",
        "parameters": {"retry_after": 3},
    }


@pytest.mark.parametrize(
    ("kind", "words"), [("unavailable", "Bad Gateway"), ("internal", "Internal Server Error")]
)
async def test_the_server_fails_and_nothing_is_done(
    bot: Bot, anya: Any, order: Callable[..., None], kind: str, words: str
) -> None:
    order(kind, count=2)
    for _ in range(2):
        with pytest.raises(TelegramServerError, match=words):
            await bot.send_message(anya.user_id, "one")
    await bot.send_message(anya.user_id, "two")
    assert [message["text"] for message in await anya.chat()] == ["/start", "two"]


async def test_it_hangs_and_nothing_is_done(
    bot: Bot, anya: Any, order: Callable[..., None], calls: Calls
) -> None:
    order("hang")
    with pytest.raises(TelegramNetworkError):
        await bot.send_message(anya.user_id, "one", request_timeout=1)
    assert len(await anya.chat()) == 1


async def test_done_but_the_connection_is_cut(
    bot: Bot, anya: Any, order: Callable[..., None], calls: Calls
) -> None:
    order("done_no_answer", subject=str(anya.user_id))
    with pytest.raises(TelegramNetworkError):
        await bot.send_message(anya.user_id, "one")
    assert [message["text"] for message in await anya.chat()] == ["/start", "one"]
    assert await calls("sendMessage") == {"fault:done_no_answer": 1}


async def test_blocked_is_for_what_is_said_to_a_user(
    bot: Bot, anya: Any, order: Callable[..., None]
) -> None:
    order("blocked", subject=str(anya.user_id))
    assert (await bot.get_chat(anya.user_id)).id == anya.user_id
    with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
        await bot.send_message(anya.user_id, "one")
    await bot.send_message(anya.user_id, "two")


async def test_a_fault_is_for_its_operation_and_its_chat(
    bot: Bot, anya: Any, john: Any, order: Callable[..., None]
) -> None:
    await john.says("/start")
    order("internal", operation="sendDocument", subject=str(john.user_id))
    await bot.send_message(john.user_id, "no document")
    await bot.send_document(anya.user_id, BufferedInputFile(b"x", "a.txt"))
    with pytest.raises(TelegramServerError):
        await bot.send_document(john.user_id, BufferedInputFile(b"x", "a.txt"))


async def test_polling_uses_up_only_what_was_ordered_for_it(
    bot: Bot, anya: Any, order: Callable[..., None]
) -> None:
    order("unavailable")
    assert len(await bot.get_updates()) == 1
    with pytest.raises(TelegramServerError):
        await bot.get_me()
    order("internal", operation="getUpdates")
    with pytest.raises(TelegramServerError):
        await bot.get_updates()


async def test_downloads_have_faults_of_their_own(
    bot: Bot, anya: Any, http: httpx.AsyncClient, order: Callable[..., None]
) -> None:
    sent = await anya.sends_document(b"bytes", name="a.txt")
    order("unavailable", operation="file")
    order("internal", operation="file")
    order("done_no_answer", operation="file")
    file = await bot.get_file(sent["document"]["file_id"])
    url = f"/file/bot7000000001:test-token/{file.file_path}"
    assert [(await http.get(url)).status_code for _ in range(2)] == [502, 500]
    with pytest.raises(httpx.TransportError):
        await http.get(url)
    assert (await http.get(url)).content == b"bytes"


async def test_a_bad_token_uses_up_no_fault(
    http: httpx.AsyncClient, sandbox: Running, order: Callable[..., None]
) -> None:
    order("internal")
    assert (await http.get("/bot7000000001:wrong/getMe")).status_code == 401
    assert (await http.get("/bot7000000001:test-token/nothing")).status_code == 404
    assert len(sandbox.sandbox.faults.active()) == 1


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"kind": "lost"}, "kind"),
        ({"kind": "blocked", "operation": "sendVideo"}, "operation"),
        ({"kind": "blocked", "operation": "notification"}, "kind"),
        ({"kind": "duplicated", "operation": "sendPhoto"}, "operation"),
    ],
)
async def test_mistyped_faults_are_refused(
    http: httpx.AsyncClient, body: dict[str, str], parameter: str
) -> None:
    answer = await http.post("/_sandbox/faults", json={"service": "telegram", **body})
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)
