"""Polling and the webhook, with aiogram's own dispatcher at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiogram import Bot, Dispatcher, F
from aiogram.exceptions import TelegramConflictError
from aiogram.methods import SendMessage
from aiogram.types import CallbackQuery, ChatMemberUpdated, Message, Update
from aiogram.webhook.aiohttp_server import SimpleRequestHandler
from aiohttp import web

from rei_sandbox.app import Running

SECRET = "a-secret_Token"
Until = Callable[..., Awaitable[None]]


class Seen:
    """A bot that remembers what it was given and echoes texts."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.failures = 0
        self.dispatcher = Dispatcher()
        self.dispatcher.update.outer_middleware(self._remember)
        self.dispatcher.message.register(self._echo, F.text)
        self.dispatcher.message.register(self._quiet)
        self.dispatcher.callback_query.register(self._answer)
        self.dispatcher.my_chat_member.register(self._moved)

    def kinds(self) -> list[str]:
        return [update.event_type for update in self.updates]

    def texts(self) -> list[str]:
        return [str(u.message.text) for u in self.updates if u.message is not None]

    async def _remember(self, handler: Any, event: Any, data: dict[str, Any]) -> Any:
        self.updates.append(event)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the bot fails")
        return await handler(event, data)

    async def _echo(self, message: Message) -> None:
        await message.answer(f"echo: {message.text}")

    async def _quiet(self, message: Message) -> None: ...

    async def _answer(self, query: CallbackQuery) -> None:
        await query.answer("ok")

    async def _moved(self, event: ChatMemberUpdated) -> None: ...


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def polling(bot: Bot, seen: Seen) -> AsyncIterator[Seen]:
    """The bot polls."""
    task = asyncio.create_task(
        seen.dispatcher.start_polling(
            bot, polling_timeout=5, handle_signals=False, close_bot_session=False
        )
    )
    yield seen
    await seen.dispatcher.stop_polling()
    await task


class Hook:
    """The bot's webhook server."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture
async def hook(
    bot: Bot, seen: Seen, serve: Callable[[web.Application], Awaitable[str]]
) -> AsyncIterator[Hook]:
    """aiogram's webhook handler, which answers only when the update was handled."""
    app = web.Application()
    SimpleRequestHandler(
        seen.dispatcher, bot, handle_in_background=False, secret_token=SECRET
    ).register(app, path="/webhook/telegram")
    yield Hook(f"{await serve(app)}/webhook/telegram")
    await bot.delete_webhook()


async def chat_texts(person: Any) -> list[str]:
    return [str(message.get("text")) for message in await person.chat()]


async def eventually(person: Any, text: str) -> list[str]:
    """The chat's texts once `text` is among them."""
    deadline = time.monotonic() + 10
    while text not in (texts := await chat_texts(person)):
        assert time.monotonic() < deadline, f"no {text!r} in {texts}"
        await asyncio.sleep(0.01)
    return texts


async def test_a_polling_bot_answers_what_people_do(
    polling: Seen, anya: Any, john: Any, picture: Callable[..., bytes], until: Until
) -> None:
    await anya.says("привет")
    await eventually(anya, "echo: привет")
    await john.says("hello")
    await eventually(john, "echo: hello")
    await anya.sends_photos(picture(), caption="draw")
    await anya.blocks()
    await until(lambda: len(polling.updates) == 5)
    assert polling.kinds() == ["message"] * 4 + ["my_chat_member"]
    photo = polling.updates[3].message
    assert photo is not None
    assert photo.photo is not None
    assert photo.caption == "draw"
    moved = polling.updates[4].my_chat_member
    assert moved is not None
    assert (moved.old_chat_member.status, moved.new_chat_member.status) == ("member", "kicked")


async def test_commands_have_their_entity_and_their_arguments(bot: Bot, anya: Any) -> None:
    [update] = await bot.get_updates()
    assert update.message is not None
    assert update.message.entities is not None
    assert [(e.type, e.length) for e in update.message.entities] == [("bot_command", 6)]


async def test_an_album_is_as_many_messages_with_one_group(
    bot: Bot, anya: Any, picture: Callable[..., bytes]
) -> None:
    await anya.sends_photos(picture(), picture(), picture(), caption="these three")
    updates = (await bot.get_updates())[1:]
    messages = [update.message for update in updates if update.message is not None]
    assert len(messages) == 3
    assert len({message.media_group_id for message in messages}) == 1
    assert [message.caption for message in messages] == ["these three", None, None]


async def test_unconfirmed_updates_come_again(bot: Bot, anya: Any) -> None:
    [first] = await bot.get_updates()
    assert [update.update_id for update in await bot.get_updates()] == [first.update_id]
    assert await bot.get_updates(offset=first.update_id + 1) == []


async def test_only_the_kinds_asked_for_come(bot: Bot, anya: Any) -> None:
    await bot.get_updates(offset=-1, allowed_updates=["callback_query"])
    await anya.says("not wanted")
    assert len(await bot.get_updates(allowed_updates=[])) == 1
    await anya.says("wanted")
    assert [u.message.text for u in await bot.get_updates() if u.message] == ["/start", "wanted"]


async def test_two_pollers_get_409(sandbox: Running, bot: Bot, until: Until) -> None:
    first = asyncio.create_task(bot.get_updates(timeout=20))
    await until(lambda: sandbox.sandbox.telegram.updates.polled == 1)
    second = asyncio.create_task(bot.get_updates(timeout=20))
    with pytest.raises(TelegramConflictError, match="only one bot instance is running"):
        await first
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second


async def test_polling_under_a_webhook_gets_409(bot: Bot, hook: Hook) -> None:
    await bot.set_webhook(hook.url, secret_token=SECRET)
    with pytest.raises(TelegramConflictError, match="can't use getUpdates method while webhook"):
        await bot.get_updates()
    await bot.delete_webhook()
    assert await bot.get_updates() == []


async def test_setting_a_webhook_ends_a_poll(
    sandbox: Running, bot: Bot, hook: Hook, until: Until
) -> None:
    polling = asyncio.create_task(bot.get_updates(timeout=20))
    await until(lambda: sandbox.sandbox.telegram.updates.polled == 1)
    await bot.set_webhook(hook.url, secret_token=SECRET)
    with pytest.raises(TelegramConflictError, match="terminated by setWebhook request"):
        await polling


async def test_a_bot_on_a_webhook_answers(
    bot: Bot, hook: Hook, seen: Seen, anya: Any, until: Until
) -> None:
    await bot.set_webhook(hook.url, secret_token=SECRET, max_connections=7)
    assert "echo: /start" in await eventually(anya, "echo: /start")
    await anya.says("hello")
    await eventually(anya, "echo: hello")
    info = await bot.get_webhook_info()
    assert (info.url, info.max_connections) == (hook.url, 7)
    await until(lambda: len(seen.updates) == 2)
    assert seen.texts() == ["/start", "hello"]


async def test_a_wrong_secret_reaches_no_handler(
    hook: Hook, seen: Seen, anya: Any, sandbox: Running, until: Until, *, bot: Bot
) -> None:
    await bot.set_webhook(hook.url, secret_token="another")
    webhook = sandbox.sandbox.telegram.sender.webhook
    assert webhook is not None
    await until(lambda: bool(webhook.last_error_message))
    info = await bot.get_webhook_info()
    assert info.last_error_message is not None
    assert info.last_error_message.startswith("Wrong response from the webhook: 401")
    assert (info.pending_update_count, seen.updates) == (1, [])
    await bot.set_webhook(hook.url, secret_token=SECRET)
    await until(lambda: seen.texts() == ["/start"])


async def test_an_update_that_failed_comes_again_with_its_number_and_in_order(
    bot: Bot, hook: Hook, seen: Seen, anya: Any
) -> None:
    seen.failures = 2
    await anya.says("next")
    await bot.set_webhook(hook.url, secret_token=SECRET)
    await eventually(anya, "echo: next")
    assert seen.texts() == ["/start", "/start", "/start", "next"]
    numbers = [update.update_id for update in seen.updates]
    assert numbers[0] == numbers[1] == numbers[2] < numbers[3]


async def test_pending_updates_can_be_dropped(bot: Bot, hook: Hook, seen: Seen, anya: Any) -> None:
    await bot.set_webhook(hook.url, secret_token=SECRET, drop_pending_updates=True)
    await anya.says("after")
    await eventually(anya, "echo: after")
    assert seen.texts() == ["after"]


async def test_updates_stay_for_a_bot_that_is_down(
    bot: Bot, hook: Hook, seen: Seen, anya: Any
) -> None:
    await bot.delete_webhook()
    await anya.says("while it was down")
    await bot.set_webhook(hook.url, secret_token=SECRET)
    await eventually(anya, "echo: while it was down")
    assert seen.texts() == ["/start", "while it was down"]


async def test_a_method_in_the_webhooks_answer_is_carried_out(
    bot: Bot, hook: Hook, seen: Seen, anya: Any
) -> None:
    async def in_the_answer(message: Message) -> SendMessage:
        return SendMessage(chat_id=message.chat.id, text="<b>by answer</b>", parse_mode="HTML")

    seen.dispatcher.message.handlers.clear()
    seen.dispatcher.message.register(in_the_answer)
    await bot.set_webhook(hook.url, secret_token=SECRET)
    await eventually(anya, "by answer")


@pytest.mark.parametrize("kind", ["duplicated", "late", "reordered"])
async def test_faults_of_updates(
    hook: Hook, seen: Seen, anya: Any, sandbox: Running, until: Until, *, bot: Bot, kind: str
) -> None:
    await bot.set_webhook(hook.url, secret_token=SECRET, drop_pending_updates=True)
    faults = sandbox.sandbox.faults
    faults.add("telegram", kind, subject=str(anya.user_id), delay_seconds=2)
    await anya.says("one")
    await anya.says("two")
    expected = {
        "duplicated": ["one", "one", "two"],
        "late": ["two", "one"],
        "reordered": ["two", "one"],
    }[kind]
    await until(lambda: len(seen.texts()) == len(expected))
    assert seen.texts() == expected
    numbers = [update.update_id for update in seen.updates]
    if kind == "duplicated":
        assert numbers[0] == numbers[1]
    else:
        assert numbers[0] > numbers[1], "a high-water mark would lose the second"
    assert faults.taken() == {f"telegram.{kind}": 1}
