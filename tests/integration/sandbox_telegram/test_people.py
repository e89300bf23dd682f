"""The users' side over HTTP: what the demo and other tests stand on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from rei_sandbox.app import Running
from rei_sandbox.telegram.events import BACKLOG_MAX, LISTENERS_MAX, EventHub
from rei_sandbox.telegram.files import FileStore
from rei_sandbox.telegram.model import MESSAGES_MAX
from rei_sandbox.telegram.params import Upload
from rei_sandbox.telegram.state import CALLBACKS_MAX, TelegramState

USERS = "/_sandbox/telegram/users"


async def test_two_people_are_there_and_more_can_come(http: httpx.AsyncClient) -> None:
    assert [user["first_name"] for user in (await http.get(USERS)).json()["users"]] == [
        "Аня", "John",
    ]  # fmt: skip
    made = await http.post(USERS, json={"first_name": "Олег", "language_code": "ru"})
    assert made.status_code == 201
    user = made.json()["user"]
    assert (user["id"], user["first_name"], user["started"]) == (1003, "Олег", False)
    said = await http.post(f"{USERS}/1003/messages", json={"text": "/start"})
    assert said.status_code == 201
    assert (await http.get(USERS)).json()["users"][2]["started"] is True


async def test_a_message_is_shown_as_the_bot_api_shows_it(bot: Bot, anya: Any) -> None:
    said = await anya.says("/start ref_7")
    assert said["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]
    update = (await bot.get_updates())[-1]
    assert update.message is not None
    assert update.message.message_id == said["message_id"]
    assert (await anya.chat())[-1] == said


async def test_files_come_back_as_they_were_sent(
    http: httpx.AsyncClient, anya: Any, picture: Callable[..., bytes]
) -> None:
    data = picture()
    document = await anya.sends_document(data, name="../sea.png", caption="as file")
    assert document["document"]["file_name"] == "sea.png"
    assert document["caption"] == "as file"
    got = await http.get(f"/_sandbox/telegram/files/{document['document']['file_id']}")
    assert (got.content, got.headers["Content-Type"]) == (data, "image/png")
    [photo] = await anya.sends_photos(data)
    got = await http.get(f"/_sandbox/telegram/files/{photo['photo'][-1]['file_id']}")
    assert got.headers["Content-Type"] == "image/jpeg"
    assert (await http.get("/_sandbox/telegram/files/none")).status_code == 404


async def test_a_page_that_was_sent_as_a_file_does_not_run_here(
    http: httpx.AsyncClient, anya: Any
) -> None:
    sent = await anya.sends_document(b"<script>alert(1)</script>", name="x.html")
    got = await http.get(f"/_sandbox/telegram/files/{sent['document']['file_id']}")
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["X-Content-Type-Options"] == "nosniff"


async def test_only_buttons_that_are_there_can_be_pressed(
    bot: Bot, anya: Any, http: httpx.AsyncClient
) -> None:
    keyboard = InlineKeyboardMarkup(
        inline_keyboard=[[InlineKeyboardButton(text="Yes", callback_data="yes")]]
    )
    sent = await bot.send_message(anya.user_id, "sure?", reply_markup=keyboard)
    url = f"{USERS}/{anya.user_id}/press"
    for message_id, data in ((sent.message_id, "no"), (sent.message_id + 1, "yes")):
        answer = await http.post(url, json={"message_id": message_id, "data": data})
        assert answer.status_code == 400
        assert "no such button" in answer.json()["error"]
    assert (await anya.presses(sent.message_id, "yes")).isdigit()
    await bot.edit_message_reply_markup(chat_id=anya.user_id, message_id=sent.message_id)
    answer = await http.post(url, json={"message_id": sent.message_id, "data": "yes"})
    assert answer.status_code == 400


async def test_who_blocked_the_bot_neither_writes_nor_presses(
    bot: Bot, anya: Any, http: httpx.AsyncClient
) -> None:
    await anya.blocks()
    await anya.blocks()
    answer = await http.post(f"{USERS}/{anya.user_id}/messages", json={"text": "x"})
    assert (answer.status_code, answer.json()["error"]) == (400, "the user has blocked the bot")
    await anya.blocks(blocked=False)
    kinds = [update.event_type for update in await bot.get_updates()]
    assert kinds == ["message", "my_chat_member", "my_chat_member"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("9/messages", {"text": "x"}, 404),
        ("1001/messages", {"text": ""}, 400),
        ("1001/messages", {"text": "x" * 4097}, 400),
        ("1001/messages", {"text": "/a " * 100_000}, 400),
        ("1001/messages", {"text": "half \ud83d"}, 400),
        ("1001/messages", {"text": 5}, 400),
        ("1001/messages", {}, 400),
        ("1001/press", {"message_id": "1", "data": "x"}, 400),
        ("1001/press", {"message_id": True, "data": "x"}, 400),
        ("1001/blocked", {"blocked": "yes"}, 400),
        ("1001/photos", {}, 400),
    ],
)
async def test_mistakes_are_named(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await http.post(f"{USERS}/{path}", content=json.dumps(body), headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


async def test_wrong_users_and_pictures_are_refused(
    http: httpx.AsyncClient, anya: Any, picture: Callable[..., bytes]
) -> None:
    for body in (
        {"first_name": "", "language_code": "ru"},
        {"first_name": "x" * 65, "language_code": "ru"},
        {"first_name": "x", "language_code": "<script>"},
    ):
        assert (await http.post(USERS, json=body)).status_code == 400
    many = [("f", ("a.png", picture(), "image/png"))] * 11
    url = f"{USERS}/{anya.user_id}/photos"
    assert (await http.post(url, files=many)).status_code == 400
    good_and_bad = [("f", ("a.png", picture())), ("g", ("b.png", b"no picture"))]
    answer = await http.post(url, files=good_and_bad)
    assert (answer.status_code, answer.json()["error"]) == (400, "IMAGE_PROCESS_FAILED")
    assert len(await anya.chat()) == 1


async def test_listeners_hear_of_everything(
    bot: Bot, anya: Any, sandbox: Running, http: httpx.AsyncClient
) -> None:
    state = sandbox.sandbox.telegram
    with state.events.listen() as events:
        said = await anya.says("hello")
        sent = await bot.send_message(anya.user_id, "one")
        await bot.edit_message_text("two", chat_id=anya.user_id, message_id=sent.message_id)
        await bot.delete_message(anya.user_id, sent.message_id)
        await anya.blocks()
        await http.post("/_sandbox/reset")
        got = [events.get_nowait() for _ in range(events.qsize())]
    assert all(event is not None for event in got)
    named = [(event["event"], event["user_id"]) for event in got if event]
    her = anya.user_id
    assert named == [
        ("message", her), ("message", her), ("edit", her), ("delete", her), ("user", her),
        ("user", 1001), ("user", 1002), ("reset", 0),
    ]  # fmt: skip
    assert got[0] == {"event": "message", "user_id": her, "message": said}
    assert got[1] is not None
    assert got[1]["message"]["text"] == "one", "an edit does not change what was told before"
    assert got[3] == {"event": "delete", "user_id": her, "message_id": sent.message_id}
    assert got[4] is not None
    assert got[4]["user"]["blocked"] is True


async def test_a_reset_forgets_chats_but_keeps_what_the_bot_set_up(
    bot: Bot, anya: Any, http: httpx.AsyncClient
) -> None:
    await bot.set_my_name("Rei!")
    before = await bot.send_message(anya.user_id, "one")
    await http.post("/_sandbox/reset")
    assert await anya.chat() == []
    assert await bot.get_updates() == []
    assert (await bot.get_my_name()).name == "Rei!"
    after = await anya.says("/start")
    assert after["message_id"] > before.message_id, "ids are never given twice"


async def test_the_state_counts(bot: Bot, anya: Any, http: httpx.AsyncClient) -> None:
    await anya.sends_document(b"x")
    assert (await http.get("/_sandbox/state")).json()["telegram"] == {
        "users": 2, "messages": 2, "files": 1, "updates_pending": 2, "webhook": "",
    }  # fmt: skip


async def test_chats_and_presses_are_bounded() -> None:
    state = TelegramState()
    for number in range(MESSAGES_MAX + 5):
        await state.users.send_text(1001, str(number))
    messages = list(state.chats[1001].messages.values())
    assert len(messages) == MESSAGES_MAX
    assert messages[0]["text"] == "5"
    for number in range(CALLBACKS_MAX + 5):
        state.open_callback(1001, str(number))
    assert len(state.callbacks) == CALLBACKS_MAX
    assert "4" not in state.callbacks


def test_files_are_bounded_by_number_and_by_bytes() -> None:
    store = FileStore(files_max=3, bytes_max=10)
    ids = [store.add_document(Upload("f", "a", "text/plain", b"1234"))["file_id"] for _ in range(4)]
    assert [store.get(file_id) is not None for file_id in ids] == [False, False, True, True]
    for _ in range(4):
        store.add_document(Upload("f", "a", "text/plain", b"1"))
    assert len(store) == 3


def test_a_listener_that_sleeps_is_sent_away() -> None:
    hub = EventHub()
    with hub.listen() as sleeper:
        for _ in range(BACKLOG_MAX + 1):
            hub.publish("message", user_id=1)
        last = [sleeper.get_nowait() for _ in range(sleeper.qsize())][-1]
        assert last is None
        hub.publish("message", user_id=1)
        assert sleeper.empty()


def test_too_many_listeners_send_the_oldest_away() -> None:
    hub = EventHub()
    with hub.listen() as oldest:
        others = [hub.listen() for _ in range(LISTENERS_MAX)]
        queues = [other.__enter__() for other in others]
        hub.publish("message", user_id=1)
        assert oldest.get_nowait() is None
        assert [queue.qsize() for queue in queues] == [1] * LISTENERS_MAX
        for other in others:
            other.__exit__(None, None, None)
