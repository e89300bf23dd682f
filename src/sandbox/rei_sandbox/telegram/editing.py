"""editMessageText, editMessageCaption, editMessageReplyMarkup, editMessageMedia, deleteMessage(s).

An edit without `reply_markup` takes the buttons away, as the real one does.
"""

from __future__ import annotations

from typing import Final

from rei_sandbox.telegram import content, markup
from rei_sandbox.telegram.errors import bad_request
from rei_sandbox.telegram.model import Chat, Json
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.state import TelegramState

DELETED_MAX: Final = 100
"""Messages that one deleteMessages may name."""
_TEXT_FIELDS: Final = ("text", "entities", "link_preview_options", "reply_markup")
_CAPTION_FIELDS: Final = ("caption", "caption_entities", "reply_markup")
_MEDIA_FIELDS: Final = ("photo", "document", *_CAPTION_FIELDS)
_NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the "
    "same as a current content and reply markup of the message"
)


async def edit_message_text(state: TelegramState, params: Params) -> Json:
    chat, message = _editable(state, params)
    new = content.text(params, too_long="MESSAGE_TOO_LONG") | _buttons(params)
    if "text" not in message:
        raise bad_request("there is no text in the message to edit")
    return _edited(state, chat, message, new, fields=_TEXT_FIELDS)


async def edit_message_caption(state: TelegramState, params: Params) -> Json:
    chat, message = _editable(state, params)
    new = content.caption(params) | _buttons(params)
    if "text" in message:
        raise bad_request("there is no caption in the message to edit")
    return _edited(state, chat, message, new, fields=_CAPTION_FIELDS)


async def edit_message_reply_markup(state: TelegramState, params: Params) -> Json:
    chat, message = _editable(state, params)
    return _edited(state, chat, message, _buttons(params), fields=("reply_markup",))


async def edit_message_media(state: TelegramState, params: Params) -> Json:
    _, message = _editable(state, params)
    kind, source, own = content.item(params, params.json("media"))
    words, buttons = content.caption(own), _buttons(params)
    if "text" in message:
        raise bad_request("there is no media in the message to edit")
    new = await content.media(state.files, kind, source)
    chat, message = _editable(state, params)  # it may have changed meanwhile
    return _edited(state, chat, message, new | words | buttons, fields=_MEDIA_FIELDS)


async def delete_message(state: TelegramState, params: Params) -> bool:
    chat = state.known_chat(params.chat_id())
    message_id = params.integer("message_id")
    if not message_id:
        raise bad_request("message identifier is not specified")
    if message_id not in chat.messages:
        raise bad_request("message to delete not found")
    state.delete_message(chat, message_id)
    return True


async def delete_messages(state: TelegramState, params: Params) -> bool:
    """Those that are not there are passed over in silence, as the real one does."""
    chat = state.known_chat(params.chat_id())
    ids = params.json("message_ids")
    if not isinstance(ids, list) or not ids:
        raise bad_request("message identifiers are not specified")
    if len(ids) > DELETED_MAX:
        raise bad_request("too many message identifiers specified")
    if not all(isinstance(each, int) for each in ids):
        raise bad_request("invalid message identifier specified")
    for message_id in ids:
        if message_id in chat.messages:
            state.delete_message(chat, message_id)
    return True


def _editable(state: TelegramState, params: Params) -> tuple[Chat, Json]:
    chat = state.chat_for_bot(params.chat_id())
    message_id = params.integer("message_id")
    if not message_id:
        raise bad_request("message identifier is not specified")
    message = chat.messages.get(message_id)
    if message is None:
        raise bad_request("message to edit not found")
    if not message["from"]["is_bot"]:
        raise bad_request("message can't be edited")
    return chat, message


def _buttons(params: Params) -> Json:
    keyboard = markup.inline_only(content.reply_markup(params))
    return {"reply_markup": keyboard} if keyboard is not None else {}


def _edited(
    state: TelegramState, chat: Chat, message: Json, new: Json, *, fields: tuple[str, ...]
) -> Json:
    """Put `new` in the place of `fields`; an edit that changes nothing is refused."""
    if all(message.get(name) == new.get(name) for name in fields):
        raise bad_request(_NOT_MODIFIED)
    state.flood.pass_(chat.user_id)
    kept = {name: value for name, value in message.items() if name not in fields}
    return state.replace_message(chat, kept | new)
