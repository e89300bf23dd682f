"""Every method that Rei uses, called by aiogram."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.enums import ChatAction
from aiogram.types import (
    BotCommand,
    BotCommandScopeChat,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaDocument,
    InputMediaPhoto,
    KeyboardButton,
    LinkPreviewOptions,
    MediaUnion,
    MenuButtonCommands,
    Message,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    ReplyParameters,
    TelegramObject,
)
from PIL import Image

from rei_sandbox.app import Running
from rei_sandbox.faults import OPERATIONS, TELEGRAM_FILE
from rei_sandbox.telegram.methods import METHODS
from rei_sandbox.telegram.profile import commands_for

BUTTONS = InlineKeyboardMarkup(
    inline_keyboard=[[InlineKeyboardButton(text="Draw", callback_data="draw")]]
)
OTHER = InlineKeyboardMarkup(
    inline_keyboard=[[InlineKeyboardButton(text="Pay", url="http://127.0.0.1/pay/1")]]
)

Picture = Callable[..., bytes]


def plain(value: TelegramObject | list[Any] | None) -> Any:
    """Without what aiogram binds to an answer: comparable with what was sent."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.model_dump(exclude_none=True) if value is not None else None


def upload(data: bytes, name: str = "a.png") -> BufferedInputFile:
    return BufferedInputFile(data, name)


def test_faults_can_be_ordered_for_every_method_and_for_nothing_else() -> None:
    methods = {method.name for method in METHODS.values()}
    assert set(OPERATIONS["telegram"]) == methods | {TELEGRAM_FILE, "notification"}


async def test_the_bot_knows_itself(bot: Bot) -> None:
    me = await bot.get_me()
    assert (me.id, me.is_bot, me.username) == (7_000_000_001, True, "rei_sandbox_bot")


async def test_a_formatted_message_with_buttons(bot: Bot, anya: Any) -> None:
    sent = await bot.send_message(
        anya.user_id,
        "<b>Ready</b>, 5 &lt; 6 😀 <code>x</code>",
        parse_mode="HTML",
        reply_markup=BUTTONS,
        link_preview_options=LinkPreviewOptions(is_disabled=True),
    )
    assert sent.text == "Ready, 5 < 6 😀 x"
    assert plain(sent.entities) == [
        {"type": "bold", "offset": 0, "length": 5},
        {"type": "code", "offset": 16, "length": 1},
    ]
    assert plain(sent.reply_markup) == plain(BUTTONS)
    assert sent.from_user is not None
    assert (sent.from_user.is_bot, sent.chat.id) == (True, anya.user_id)
    assert [message["message_id"] for message in await anya.chat()][-1] == sent.message_id


async def test_4096_characters_pass(bot: Bot, anya: Any) -> None:
    sent = await bot.send_message(anya.user_id, "я" * 4094 + "😀")
    assert len(sent.text or "") == 4095


async def test_a_reply_keyboard_is_shown_and_taken_away(
    bot: Bot, anya: Any, http: httpx.AsyncClient
) -> None:
    keyboard = ReplyKeyboardMarkup(keyboard=[[KeyboardButton(text="yes")]], one_time_keyboard=True)
    path = f"/_sandbox/telegram/users/{anya.user_id}/messages"
    await bot.send_message(anya.user_id, "sure?", reply_markup=keyboard)
    shown = (await http.get(path)).json()["keyboard"]
    assert shown["keyboard"] == [[{"text": "yes"}]]
    await anya.says("yes")
    assert (await http.get(path)).json()["keyboard"] is None
    await bot.send_message(anya.user_id, "sure?", reply_markup=keyboard)
    await bot.send_message(anya.user_id, "never mind", reply_markup=ReplyKeyboardRemove())
    assert (await http.get(path)).json()["keyboard"] is None


async def test_a_reply_names_what_it_answers(bot: Bot, anya: Any) -> None:
    asked = await anya.says("why?")
    sent = await bot.send_message(
        anya.user_id, "because", reply_parameters=ReplyParameters(message_id=asked["message_id"])
    )
    assert sent.reply_to_message is not None
    assert sent.reply_to_message.text == "why?"


async def test_a_photo_is_recompressed_and_comes_again_by_its_id(
    bot: Bot, anya: Any, picture: Picture
) -> None:
    data = picture(1600, 900)
    sent = await bot.send_photo(
        anya.user_id, upload(data), caption="<i>sea</i>", parse_mode="HTML", reply_markup=BUTTONS
    )
    assert sent.photo is not None
    assert [(size.width, size.height) for size in sent.photo] == [
        (90, 51), (320, 180), (800, 450), (1280, 720), (1600, 900),
    ]  # fmt: skip
    assert sent.caption == "sea"
    largest = sent.photo[-1].file_id
    stored = await bot.download(largest)
    assert stored is not None
    assert Image.open(io.BytesIO(stored.read())).format == "JPEG"
    again = await bot.send_photo(anya.user_id, largest)
    assert plain(again.photo) == plain(sent.photo)


async def test_a_document_keeps_its_bytes(bot: Bot, anya: Any, picture: Picture) -> None:
    data = picture(300, 200)
    sent = await bot.send_document(
        anya.user_id,
        upload(data, "rei-7.png"),
        caption="The original",
        disable_content_type_detection=True,
    )
    assert sent.document is not None
    assert (sent.document.file_name, sent.document.mime_type) == ("rei-7.png", "image/png")
    assert sent.document.file_size == len(data)
    file = await bot.get_file(sent.document.file_id)
    assert file.file_path is not None
    downloaded = await bot.download_file(file.file_path)
    assert downloaded is not None
    assert downloaded.read() == data
    again = await bot.send_document(anya.user_id, sent.document.file_id)
    assert plain(again.document) == plain(sent.document)


async def test_an_album_of_photos(bot: Bot, anya: Any, picture: Picture) -> None:
    media: list[MediaUnion] = [
        InputMediaPhoto(media=upload(picture()), caption="<b>two</b>", parse_mode="HTML"),
        InputMediaPhoto(media=upload(picture(80, 60))),
    ]
    sent = await bot.send_media_group(anya.user_id, media)
    assert len({message.media_group_id for message in sent}) == 1
    assert sent[0].media_group_id is not None
    assert [message.caption for message in sent] == ["two", None]
    [alone] = await bot.send_media_group(anya.user_id, media[:1])
    assert alone.media_group_id is None


async def test_a_message_is_edited_in_its_place(bot: Bot, anya: Any) -> None:
    first = await bot.send_message(anya.user_id, "queued", reply_markup=BUTTONS)
    await bot.send_message(anya.user_id, "another")
    edited = await bot.edit_message_text(
        "<b>drawing</b>",
        chat_id=anya.user_id,
        message_id=first.message_id,
        reply_markup=OTHER,
        parse_mode="HTML",
    )
    assert isinstance(edited, Message)
    assert (edited.text, plain(edited.reply_markup)) == ("drawing", plain(OTHER))
    assert edited.edit_date is not None
    assert [message.get("text") for message in await anya.chat()] == [
        "/start", "drawing", "another",
    ]  # fmt: skip


async def test_an_edit_without_buttons_takes_them_away(bot: Bot, anya: Any) -> None:
    first = await bot.send_message(anya.user_id, "queued", reply_markup=BUTTONS)
    edited = await bot.edit_message_text("done", chat_id=anya.user_id, message_id=first.message_id)
    assert isinstance(edited, Message)
    assert edited.reply_markup is None
    buttons = await bot.edit_message_reply_markup(
        chat_id=anya.user_id, message_id=first.message_id, reply_markup=OTHER
    )
    assert isinstance(buttons, Message)
    assert (buttons.text, plain(buttons.reply_markup)) == ("done", plain(OTHER))


async def test_captions_and_media_are_edited(bot: Bot, anya: Any, picture: Picture) -> None:
    photo = await bot.send_photo(anya.user_id, upload(picture()), caption="one")
    edited = await bot.edit_message_caption(
        chat_id=anya.user_id, message_id=photo.message_id, caption="two"
    )
    assert isinstance(edited, Message)
    assert (edited.caption, plain(edited.photo)) == ("two", plain(photo.photo))
    replaced = await bot.edit_message_media(
        InputMediaDocument(media=upload(b"bytes", "a.txt"), caption="three"),
        chat_id=anya.user_id,
        message_id=photo.message_id,
    )
    assert isinstance(replaced, Message)
    assert replaced.photo is None
    assert replaced.document is not None
    assert (replaced.document.file_name, replaced.caption) == ("a.txt", "three")


async def test_messages_are_deleted(bot: Bot, anya: Any) -> None:
    sent = [await bot.send_message(anya.user_id, text) for text in ("one", "two", "three")]
    assert await bot.delete_message(anya.user_id, sent[0].message_id)
    assert await bot.delete_messages(anya.user_id, [sent[1].message_id, 5])
    assert [message["text"] for message in await anya.chat()] == ["/start", "three"]


async def test_a_chat_action_is_published(bot: Bot, anya: Any, sandbox: Running) -> None:
    with sandbox.sandbox.telegram.events.listen() as events:
        assert await bot.send_chat_action(anya.user_id, ChatAction.UPLOAD_PHOTO)
        assert events.get_nowait() == {
            "event": "action", "user_id": anya.user_id, "action": "upload_photo",
        }  # fmt: skip


async def test_a_pressed_button_is_answered_once_with_a_window(
    bot: Bot, anya: Any, sandbox: Running
) -> None:
    sent = await bot.send_message(anya.user_id, "draw?", reply_markup=BUTTONS)
    query_id = await anya.presses(sent.message_id, "draw")
    [update] = await bot.get_updates(offset=-1)
    query = update.callback_query
    assert query is not None
    assert (query.id, query.data, query.from_user.id) == (query_id, "draw", anya.user_id)
    assert query.message is not None
    assert query.message.message_id == sent.message_id
    with sandbox.sandbox.telegram.events.listen() as events:
        assert await bot.answer_callback_query(query.id, text="No money", show_alert=True)
        assert events.get_nowait() == {
            "event": "answer", "user_id": anya.user_id, "query_id": query_id,
            "text": "No money", "show_alert": True,
        }  # fmt: skip


async def test_a_chat_is_described(bot: Bot, anya: Any) -> None:
    chat = await bot.get_chat(anya.user_id)
    assert (chat.type, chat.first_name, chat.username) == ("private", "Аня", "anya")


async def test_commands_by_language_and_scope(bot: Bot, anya: Any, sandbox: Running) -> None:
    english = [BotCommand(command="help", description="How it works")]
    russian = [BotCommand(command="help", description="Как это работает")]
    hers = [BotCommand(command="admin", description="Admin")]
    await bot.set_my_commands(english)
    await bot.set_my_commands(russian, language_code="ru")
    assert plain(await bot.get_my_commands()) == plain(english)
    assert plain(await bot.get_my_commands(language_code="ru")) == plain(russian)
    state = sandbox.sandbox.telegram
    chat = state.chats[anya.user_id]
    assert commands_for(state, chat)[0]["description"] == "Как это работает"
    scope = BotCommandScopeChat(chat_id=anya.user_id)
    await bot.set_my_commands(hers, scope=scope)
    assert commands_for(state, chat)[0]["command"] == "admin"
    await bot.delete_my_commands(scope=scope)
    assert await bot.get_my_commands(scope=scope) == []
    assert commands_for(state, chat)[0]["description"] == "Как это работает"


async def test_the_bots_texts(bot: Bot) -> None:
    assert (await bot.get_my_name()).name == "Rei"
    await bot.set_my_name("Рэй", language_code="ru")
    await bot.set_my_description("Draws pictures")
    await bot.set_my_short_description("Draws")
    assert (await bot.get_my_name(language_code="ru")).name == "Рэй"
    assert (await bot.get_my_name()).name == "Rei"
    assert (await bot.get_my_description(language_code="ru")).description == "Draws pictures"
    assert (await bot.get_my_short_description()).short_description == "Draws"


async def test_the_menu_button_and_the_end(bot: Bot) -> None:
    assert await bot.set_chat_menu_button(menu_button=MenuButtonCommands())
    assert await bot.close() is True
    assert await bot.log_out() is True


@pytest.mark.parametrize("encoding", ["query", "form", "json", "multipart"])
@pytest.mark.parametrize("method", ["sendMessage", "sendmessage"])
async def test_every_encoding_says_the_same(
    http: httpx.AsyncClient, anya: Any, encoding: str, method: str
) -> None:
    keyboard = '{"inline_keyboard":[[{"text":"a","callback_data":"b"}]]}'
    text = {"chat_id": str(anya.user_id), "text": "привет & +", "reply_markup": keyboard}
    url = f"/bot7000000001:test-token/{method}"
    if encoding == "query":
        answer = await http.get(url, params=text)
    elif encoding == "form":
        answer = await http.post(url, data=text)
    elif encoding == "json":
        answer = await http.post(url, json={**text, "chat_id": anya.user_id})
    else:
        answer = await http.post(url, files={key: (None, value) for key, value in text.items()})
    message = answer.json()["result"]
    assert (message["text"], message["chat"]["id"]) == ("привет & +", anya.user_id)
    assert message["reply_markup"]["inline_keyboard"][0][0]["callback_data"] == "b"


async def test_calls_are_recorded_without_the_token(
    bot: Bot, anya: Any, http: httpx.AsyncClient
) -> None:
    await bot.send_message(anya.user_id, "hello")
    shown = (await http.get("/_sandbox/calls", params={"service": "telegram"})).json()["calls"]
    last = shown[-1]
    assert (last["operation"], last["outcome"]) == ("sendMessage", "ok")
    assert (last["subject"], last["detail"]) == (str(anya.user_id), "hello")
    assert "test-token" not in str(shown)
