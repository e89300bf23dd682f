"""getFile, getChat, answerCallbackQuery."""

from __future__ import annotations

from typing import Final

from rei_sandbox.telegram import entities
from rei_sandbox.telegram.errors import bad_request
from rei_sandbox.telegram.files import DOWNLOAD_BYTES_MAX
from rei_sandbox.telegram.model import Json
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.state import TelegramState

ANSWER_UNITS_MAX: Final = 200


async def get_file(state: TelegramState, params: Params) -> Json:
    file = state.files.get(params.text("file_id"))
    if file is None:
        raise bad_request("invalid file_id")
    if len(file.data) > DOWNLOAD_BYTES_MAX:
        raise bad_request("file is too big")
    return {**file.info(), "file_path": file.path}


async def get_chat(state: TelegramState, params: Params) -> Json:
    chat = state.known_chat(params.chat_id())
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription")
    return {
        **chat.chat(),
        "accent_color_id": chat.user_id % 7,
        "max_reaction_count": 11,
        "accepted_gift_types": {**dict.fromkeys(gifts, True), "gifts_from_channels": True},
    }


async def answer_callback_query(state: TelegramState, params: Params) -> bool:
    """Stops the button's spinner; a press is answered once."""
    query_id = params.text("callback_query_id")
    if not query_id:
        raise bad_request("callback_query_id is empty")
    text = params.text("text")
    if entities.units(text) > ANSWER_UNITS_MAX:
        raise bad_request("MESSAGE_TOO_LONG")
    user_id = state.close_callback(query_id)
    state.events.publish(
        "answer",
        user_id=user_id,
        query_id=query_id,
        text=text,
        show_alert=params.boolean("show_alert"),
    )
    return True
