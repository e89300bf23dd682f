"""sendMessage, sendPhoto, sendDocument, sendMediaGroup, sendChatAction.

Everything is checked before anything is sent, so a refused album leaves no half of it.
"""

from __future__ import annotations

from typing import Any, Final

from rei_sandbox.telegram import content
from rei_sandbox.telegram.errors import bad_request
from rei_sandbox.telegram.model import Chat, Json
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.state import TelegramState
from rei_sandbox.telegram.users import ALBUM_MAX, new_media_group_id

ACTIONS: Final = frozenset({
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
    "upload_document", "choose_sticker", "find_location", "record_video_note",
    "upload_video_note", "cancel",
})  # fmt: skip


async def send_message(state: TelegramState, params: Params) -> Json:
    chat = state.chat_for_bot(params.chat_id())
    return _send(state, chat, params, content.text(params))


async def send_photo(state: TelegramState, params: Params) -> Json:
    return await _send_file(state, params, "photo")


async def send_document(state: TelegramState, params: Params) -> Json:
    return await _send_file(state, params, "document")


async def send_media_group(state: TelegramState, params: Params) -> list[Json]:
    """1–10 files; a single one is sent as if it were no album, as the real service does."""
    chat_id = params.chat_id()
    state.chat_for_bot(chat_id)
    values = params.json("media")
    if values is not None and not isinstance(values, list):
        raise bad_request("can't parse media: expected an Array")
    if not values:
        raise bad_request("there are no messages to send")
    if len(values) > ALBUM_MAX:
        raise bad_request("too many messages to send as an album")
    items = [content.item(params, value) for value in values]
    if len({kind for kind, _, _ in items}) > 1:
        raise bad_request("document can't be mixed with other media types")
    captions = [content.caption(own) for _, _, own in items]
    files = [await content.media(state.files, kind, source) for kind, source, _ in items]
    chat = state.chat_for_bot(chat_id)  # it may have been blocked meanwhile
    extra = content.options(params, chat)
    for _ in files:
        state.flood.pass_(chat.user_id)
    group: Json = {} if len(files) == 1 else {"media_group_id": new_media_group_id()}
    return [
        state.new_message(chat, {**group, **file, **words, **extra}, sender=state.bot())
        for file, words in zip(files, captions, strict=True)
    ]


async def send_chat_action(state: TelegramState, params: Params) -> bool:
    chat = state.chat_for_bot(params.chat_id())
    action = params.text("action")
    if action not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    state.events.publish("action", user_id=chat.user_id, action=action)
    return True


async def _send_file(state: TelegramState, params: Params, kind: str) -> Json:
    chat_id = params.chat_id()
    state.chat_for_bot(chat_id)
    words = content.caption(params)
    content.reply_markup(params)  # refused before the file is processed and kept
    file = await content.media(state.files, kind, params.file(kind))
    return _send(state, state.chat_for_bot(chat_id), params, {**file, **words})


def _send(state: TelegramState, chat: Chat, params: Params, body: dict[str, Any]) -> Json:
    keyboard = content.reply_markup(params)
    inline = keyboard is not None and "inline_keyboard" in keyboard
    shown = {"reply_markup": keyboard} if inline else {}
    extra = content.options(params, chat)
    state.flood.pass_(chat.user_id)
    message = state.new_message(chat, {**body, **extra, **shown}, sender=state.bot())
    if keyboard is not None and not inline:
        state.show_keyboard(chat, None if keyboard.get("remove_keyboard") else keyboard)
    return message
