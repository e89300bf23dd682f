"""What the real service refuses is refused, and aiogram raises what it would raise there."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaDocument,
    InputMediaPhoto,
    MessageEntity,
    ReplyParameters,
)

from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings

BUTTONS = InlineKeyboardMarkup(
    inline_keyboard=[[InlineKeyboardButton(text="Draw", callback_data="draw")]]
)
GONE = 999_999_999
Picture = Callable[..., bytes]


def upload(data: bytes, name: str = "a.png") -> BufferedInputFile:
    return BufferedInputFile(data, name)


async def refusal(call: Awaitable[Any], kind: type[Exception] = TelegramBadRequest) -> str:
    """The description with which a call is refused."""
    with pytest.raises(kind) as refused:
        await call
    assert type(refused.value) is kind
    return str(getattr(refused.value, "message", refused.value))


def with_token(sandbox: Running, token: str) -> Bot:
    return Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(sandbox.url)))


async def test_a_wrong_token(sandbox: Running) -> None:
    async with with_token(sandbox, "7000000001:wrong") as bot:
        assert await refusal(bot.get_me(), TelegramUnauthorizedError) == "Unauthorized"


@pytest.mark.parametrize("token", ["nonsense", "0:abc", "7:"])
async def test_a_malformed_token(http: httpx.AsyncClient, token: str) -> None:
    answer = await http.get(f"/bot{token}/getMe")
    assert answer.status_code == 404
    assert answer.json() == {"ok": False, "error_code": 404, "description": "Not Found"}
    assert (await http.get(f"/file/bot{token}/photos/file_0.jpg")).status_code == 404


async def test_an_unknown_method(bot: Bot) -> None:
    words = await refusal(bot.get_my_star_balance(), TelegramNotFound)
    assert words == "Not Found: method not found"


async def test_an_unknown_chat(bot: Bot) -> None:
    for call in (
        bot.send_message(5, "x"),
        bot.get_chat(5),
        bot.send_message("@nobody", "x"),
        bot.delete_message(5, 1),
    ):
        assert await refusal(call) == "Bad Request: chat not found"


async def test_a_user_who_never_wrote(bot: Bot, john: Any) -> None:
    words = await refusal(bot.send_message(john.user_id, "x"), TelegramForbiddenError)
    assert words == "Forbidden: bot can't initiate conversation with a user"


async def test_a_user_who_blocked_the_bot(bot: Bot, anya: Any, picture: Picture) -> None:
    sent = await bot.send_message(anya.user_id, "one")
    await anya.blocks()
    for call in (
        bot.send_message(anya.user_id, "two"),
        bot.send_photo(anya.user_id, upload(picture())),
        bot.send_document(anya.user_id, upload(b"x")),
        bot.send_media_group(anya.user_id, [InputMediaPhoto(media=upload(picture()))] * 2),
        bot.send_chat_action(anya.user_id, "typing"),
        bot.edit_message_text("two", chat_id=anya.user_id, message_id=sent.message_id),
    ):
        words = await refusal(call, TelegramForbiddenError)
        assert words == "Forbidden: bot was blocked by the user"
    await anya.blocks(blocked=False)
    assert (await bot.send_message(anya.user_id, "two")).text == "two"


@pytest.mark.parametrize("text", ["", " \n", "<b></b>"])
async def test_an_empty_text(bot: Bot, anya: Any, text: str) -> None:
    call = bot.send_message(anya.user_id, text, parse_mode="HTML")
    assert await refusal(call) == "Bad Request: message text is empty"


async def test_a_text_too_long(bot: Bot, anya: Any) -> None:
    sent = await bot.send_message(anya.user_id, "<b>" + "x" * 4096 + "</b>", parse_mode="HTML")
    for text in ("x" * 4097, "😀" * 2049, "x" * 40_000):
        assert await refusal(bot.send_message(anya.user_id, text)) == (
            "Bad Request: message is too long"
        )
    edit = bot.edit_message_text("x" * 4097, chat_id=anya.user_id, message_id=sent.message_id)
    assert await refusal(edit) == "Bad Request: MESSAGE_TOO_LONG"


async def test_a_caption_too_long(bot: Bot, anya: Any, picture: Picture) -> None:
    photo = await bot.send_photo(anya.user_id, upload(picture()), caption="x" * 1024)
    too_long = "Bad Request: message caption is too long"
    for call in (
        bot.send_photo(anya.user_id, upload(picture()), caption="x" * 1025),
        bot.send_document(anya.user_id, upload(b"x"), caption="😀" * 513),
        bot.edit_message_caption(
            chat_id=anya.user_id, message_id=photo.message_id, caption="x" * 1025
        ),
    ):
        assert await refusal(call) == too_long


async def test_bad_markup(bot: Bot, anya: Any) -> None:
    words = await refusal(bot.send_message(anya.user_id, "5 < 6", parse_mode="HTML"))
    assert words == (
        'Bad Request: can\'t parse entities: Unsupported start tag "" at byte offset 2'
    )
    entity = MessageEntity(type="bold", offset=0, length=9)
    words = await refusal(bot.send_message(anya.user_id, "short", entities=[entity]))
    assert "ends after the end of the text at UTF-16 offset 5" in words
    words = await refusal(bot.send_message(anya.user_id, "x", parse_mode="BBCode"))
    assert words == "Bad Request: unsupported parse_mode"


async def test_an_edit_that_changes_nothing(bot: Bot, anya: Any, picture: Picture) -> None:
    sent = await bot.send_message(
        anya.user_id, "<b>one</b>", parse_mode="HTML", reply_markup=BUTTONS
    )
    photo = await bot.send_photo(anya.user_id, upload(picture()), caption="one")
    for call in (
        bot.edit_message_text(
            "<b>one</b> ",
            chat_id=anya.user_id,
            message_id=sent.message_id,
            parse_mode="HTML",
            reply_markup=BUTTONS,
        ),
        bot.edit_message_reply_markup(
            chat_id=anya.user_id, message_id=sent.message_id, reply_markup=BUTTONS
        ),
        bot.edit_message_caption(chat_id=anya.user_id, message_id=photo.message_id, caption="one"),
    ):
        assert (await refusal(call)).startswith("Bad Request: message is not modified: ")
    await bot.edit_message_text("one", chat_id=anya.user_id, message_id=sent.message_id)


async def test_edits_of_what_is_not_there_or_of_another_kind(
    bot: Bot, anya: Any, picture: Picture
) -> None:
    text = await bot.send_message(anya.user_id, "one")
    photo = await bot.send_photo(anya.user_id, upload(picture()))
    hers = await anya.says("mine")

    def edit(message_id: int) -> Awaitable[Any]:
        return bot.edit_message_text("two", chat_id=anya.user_id, message_id=message_id)

    assert await refusal(edit(GONE)) == "Bad Request: message to edit not found"
    assert await refusal(edit(0)) == "Bad Request: message identifier is not specified"
    assert await refusal(edit(hers["message_id"])) == "Bad Request: message can't be edited"
    assert await refusal(edit(photo.message_id)) == (
        "Bad Request: there is no text in the message to edit"
    )
    caption = bot.edit_message_caption(
        chat_id=anya.user_id, message_id=text.message_id, caption="x"
    )
    assert await refusal(caption) == "Bad Request: there is no caption in the message to edit"
    media = bot.edit_message_media(
        InputMediaPhoto(media=upload(picture())), chat_id=anya.user_id, message_id=text.message_id
    )
    assert await refusal(media) == "Bad Request: there is no media in the message to edit"
    await bot.delete_message(anya.user_id, text.message_id)
    assert await refusal(edit(text.message_id)) == "Bad Request: message to edit not found"
    again = bot.delete_message(anya.user_id, text.message_id)
    assert await refusal(again) == "Bad Request: message to delete not found"


async def test_wrong_buttons(bot: Bot, anya: Any) -> None:
    long = InlineKeyboardButton(text="x", callback_data="я" * 33)
    call = bot.send_message(
        anya.user_id, "x", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[long]])
    )
    assert await refusal(call) == "Bad Request: BUTTON_DATA_INVALID"
    assert len(await anya.chat()) == 1


async def test_an_answer_to_a_press_that_is_over(bot: Bot, anya: Any) -> None:
    sent = await bot.send_message(anya.user_id, "draw?", reply_markup=BUTTONS)
    query_id = await anya.presses(sent.message_id, "draw")
    assert await refusal(bot.answer_callback_query(query_id, text="x" * 201)) == (
        "Bad Request: MESSAGE_TOO_LONG"
    )
    assert await bot.answer_callback_query(query_id)
    too_old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    assert await refusal(bot.answer_callback_query(query_id)) == too_old
    assert await refusal(bot.answer_callback_query("5")) == too_old


async def test_a_press_is_too_old_after_a_minute(bot: Bot, anya: Any, sandbox: Running) -> None:
    sent = await bot.send_message(anya.user_id, "draw?", reply_markup=BUTTONS)
    query_id = await anya.presses(sent.message_id, "draw")
    presses = sandbox.sandbox.telegram.callbacks
    user_id, pressed = presses[query_id]
    presses[query_id] = (user_id, pressed - 61)
    assert "query is too old" in await refusal(bot.answer_callback_query(query_id))


async def test_a_photo_that_is_too_big_or_no_photo(bot: Bot, anya: Any, picture: Picture) -> None:
    big = picture(64, 48) + b"\0" * 10 * 1024 * 1024
    assert await refusal(bot.send_photo(anya.user_id, upload(big))) == (
        f"Bad Request: file of size {len(big)} bytes is too big for a photo; "
        "the maximum size is 10485760 bytes"
    )
    for width, height in ((9000, 1001), (2100, 100)):
        wrong = bot.send_photo(anya.user_id, upload(picture(width, height)))
        assert await refusal(wrong) == "Bad Request: PHOTO_INVALID_DIMENSIONS"
    for data in (b"not a picture", picture(200, 200)[:100]):
        broken = bot.send_photo(anya.user_id, upload(data))
        assert await refusal(broken) == "Bad Request: IMAGE_PROCESS_FAILED"
    assert await refusal(bot.send_photo(anya.user_id, upload(b""))) == (
        "Bad Request: file must be non-empty"
    )
    document = await bot.send_document(anya.user_id, upload(big))
    assert document.document is not None
    assert document.document.file_size == len(big)


async def test_a_picture_bomb_is_refused_by_its_header(
    bot: Bot, anya: Any, picture: Picture
) -> None:
    png = bytearray(picture(8, 8))
    png[16:24] = (60_000).to_bytes(4, "big") * 2  # IHDR's width and height
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    words = await refusal(bot.send_photo(anya.user_id, upload(bytes(png))))
    assert words == "Bad Request: PHOTO_INVALID_DIMENSIONS"


async def test_a_body_of_more_than_50_mb(bot: Bot, anya: Any) -> None:
    big = upload(b"\0" * (50 * 1024 * 1024 + 1))
    words = await refusal(bot.send_document(anya.user_id, big), TelegramEntityTooLarge)
    assert words == "Request Entity Too Large"


async def test_wrong_files(bot: Bot, anya: Any, picture: Picture) -> None:
    photo = await bot.send_photo(anya.user_id, upload(picture()))
    assert photo.photo is not None
    wrong = "Bad Request: wrong file identifier/HTTP URL specified"
    assert await refusal(bot.send_photo(anya.user_id, "AgACAg")) == wrong
    assert await refusal(bot.send_document(anya.user_id, "AgACAg")) == wrong
    assert await refusal(bot.send_document(anya.user_id, photo.photo[0].file_id)) == (
        "Bad Request: can't use file of type Photo as Document"
    )
    assert await refusal(bot.send_photo(anya.user_id, "https://example.com/a.png")) == (
        "Bad Request: failed to get HTTP URL content"
    )
    assert await refusal(bot.get_file("AgACAg")) == "Bad Request: invalid file_id"


async def test_a_file_of_more_than_20_mb_is_sent_but_not_got(bot: Bot, anya: Any) -> None:
    message = await anya.sends_document(b"\0" * (20 * 1024 * 1024 + 1))
    words = await refusal(bot.get_file(message["document"]["file_id"]))
    assert words == "Bad Request: file is too big"


async def test_a_path_that_getfile_never_gave(bot: Bot, http: httpx.AsyncClient) -> None:
    answer = await http.get("/file/bot7000000001:test-token/photos/file_77.jpg")
    assert (answer.status_code, answer.json()["description"]) == (404, "Not Found")


async def test_wrong_albums(bot: Bot, anya: Any, picture: Picture) -> None:
    photo = InputMediaPhoto(media=upload(picture()))
    document = InputMediaDocument(media=upload(b"x"))
    for media, problem in (
        ([], "there are no messages to send"),
        ([photo] * 11, "too many messages to send as an album"),
        ([photo, document], "document can't be mixed with other media types"),
        ([photo, InputMediaPhoto(media="AgAC")], "wrong file identifier/HTTP URL specified"),
        ([photo, InputMediaPhoto(media="")], "can't parse InputMedia: media not found"),
    ):
        words = await refusal(bot.send_media_group(anya.user_id, media))  # type: ignore[arg-type]
        assert words == f"Bad Request: {problem}"
    assert len(await anya.chat()) == 1


async def test_a_reply_to_what_is_gone(bot: Bot, anya: Any) -> None:
    call = bot.send_message(anya.user_id, "x", reply_parameters=ReplyParameters(message_id=GONE))
    assert await refusal(call) == "Bad Request: message to be replied not found"
    lenient = ReplyParameters(message_id=GONE, allow_sending_without_reply=True)
    assert (await bot.send_message(anya.user_id, "x", reply_parameters=lenient)).text == "x"


async def test_wrong_words_about_the_bot(bot: Bot) -> None:
    async def command(name: str, description: str) -> str:
        return await refusal(
            bot.set_my_commands([BotCommand(command=name, description=description)])
        )

    assert await command("Help me", "x") == "Bad Request: BOT_COMMAND_INVALID"
    assert await command("help", "") == "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID"
    many = [BotCommand(command=f"c{number}", description="x") for number in range(101)]
    assert await refusal(bot.set_my_commands(many)) == "Bad Request: BOT_COMMANDS_TOO_MUCH"
    assert "TOO_LONG" in await refusal(bot.set_my_name("x" * 65))
    assert "language code" in await refusal(bot.set_my_name("x", language_code="russian"))


@pytest.mark.parametrize(
    ("method", "body", "problem"),
    [
        ("sendMessage", {"text": "x"}, "chat_id is empty"),
        ("sendMessage", {"chat_id": 1001}, "message text is empty"),
        ("sendMessage", {"chat_id": 1001, "text": "x", "reply_markup": "{"},
         "can't parse reply keyboard markup JSON object"),
        ("sendMessage", {"chat_id": 1001, "text": "x", "reply_markup": {"inline_keyboard": 5}},
         "field of the keyboard must be of the type Array of Arrays"),
        ("sendMessage", {"chat_id": 1001, "text": "x", "entities": {"type": "bold"}},
         "can't parse entities: expected an Array"),
        ("sendMessage", {"chat_id": 1001, "text": "half \ud83d"},
         "strings must be encoded in UTF-8"),
        ("sendPhoto", {"chat_id": 1001}, "there is no photo in the request"),
        ("sendPhoto", {"chat_id": 1001, "photo": "attach://x"}, "file attachment not found"),
        ("sendDocument", {"chat_id": 1001}, "there is no document in the request"),
        ("sendMediaGroup", {"chat_id": 1001, "media": {}}, "can't parse media: expected an Array"),
        ("sendMediaGroup", {"chat_id": 1001, "media": [{"type": "dice"}]},
         'can\'t parse InputMedia: type "dice" is unsupported'),
        ("sendChatAction", {"chat_id": 1001, "action": "sing"},
         "wrong parameter action in request"),
        ("editMessageText", {"chat_id": 1001, "message_id": "one", "text": "x"},
         'parameter "message_id" must be an Integer'),
        ("editMessageText", {"chat_id": 1001, "message_id": 1.5, "text": "x"},
         'parameter "message_id" must be an Integer'),
        ("deleteMessages", {"chat_id": 1001}, "message identifiers are not specified"),
        ("deleteMessages", {"chat_id": 1001, "message_ids": [1] * 101},
         "too many message identifiers specified"),
        ("getFile", {}, "invalid file_id"),
        ("answerCallbackQuery", {}, "callback_query_id is empty"),
        ("getUpdates", {"timeout": "long"}, 'parameter "timeout" must be an Integer'),
        ("setMyCommands", {"commands": "help"}, "can't parse commands JSON object"),
        ("setMyCommands", {"commands": [], "scope": {"type": "moon"}},
         "can't parse BotCommandScope: unsupported type specified"),
        ("setWebhook", {"url": "http://example.com/"},
         "bad webhook: An HTTPS URL must be provided for webhook"),
        ("setWebhook", {"url": "https://example.com/", "secret_token": "a b"},
         "secret token contains unallowed characters"),
    ],
)  # fmt: skip
async def test_wrong_parameters(
    http: httpx.AsyncClient, anya: Any, method: str, body: dict[str, Any], problem: str
) -> None:
    content = json.dumps(body)
    headers = {"Content-Type": "application/json"}
    url = f"/bot7000000001:test-token/{method}"
    answer = await http.post(url, content=content, headers=headers)
    assert answer.json() == {
        "ok": False, "error_code": 400, "description": f"Bad Request: {problem}",
    }  # fmt: skip
    assert answer.status_code == 400
    assert len(await anya.chat()) == 1


async def test_an_edit_takes_no_reply_keyboard(
    bot: Bot, anya: Any, http: httpx.AsyncClient
) -> None:
    sent = await bot.send_message(anya.user_id, "x")
    body = {
        "chat_id": anya.user_id,
        "message_id": sent.message_id,
        "text": "y",
        "reply_markup": {"force_reply": True},
    }
    answer = await http.post("/bot7000000001:test-token/editMessageText", json=body)
    assert answer.json()["description"] == "Bad Request: inline keyboard expected"
    assert (await anya.chat())[-1]["text"] == "x"


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
async def test_a_body_that_is_no_json_object(http: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    url = "/bot7000000001:test-token/sendMessage"
    answer = await http.post(url, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["description"] == "Bad Request: can't parse JSON encoded request"


async def test_a_malformed_multipart_body(http: httpx.AsyncClient) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = await http.post(
            "/bot7000000001:test-token/sendMessage",
            content=b"--y\r\nnonsense",
            headers={"Content-Type": kind},
        )
        assert answer.status_code == 400, kind


class TestFloodLimit:
    """With REI_SANDBOX_TELEGRAM_MESSAGES_MAX the stand-in counts like the real one."""

    @pytest.fixture
    async def sandbox(self) -> AsyncIterator[Running]:
        settings = SandboxSettings(port=0, telegram_messages_max=3)
        async with running(settings) as server:
            yield server

    async def test_the_fourth_message_waits(self, bot: Bot, anya: Any, john: Any) -> None:
        await john.says("/start")
        sent = [await bot.send_message(anya.user_id, str(number)) for number in range(2)]
        await bot.edit_message_text("x", chat_id=anya.user_id, message_id=sent[0].message_id)
        with pytest.raises(TelegramRetryAfter) as refused:
            await bot.send_message(anya.user_id, "too much")
        assert 1 <= refused.value.retry_after <= 10
        assert (await bot.send_message(john.user_id, "other chats go on")).text
        assert [message["text"] for message in await anya.chat()] == ["/start", "x", "1"]
