"""Every method of the Bot API that the stand-in knows, by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from rei_sandbox.telegram import editing, profile, reading, receiving, sending
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.state import TelegramState

Action = Callable[[TelegramState, Params], Awaitable[Any]]


@dataclass(frozen=True)
class Method:
    """`name` as the documentation spells it; callers may spell it in any case."""

    name: str
    action: Action
    writes: bool = False
    """It speaks to a user, who may have blocked the bot."""


_TEXTS: Final = {
    "Name": "name",
    "Description": "description",
    "ShortDescription": "short_description",
}

_ALL: Final = (
    Method("getMe", profile.get_me),
    Method("getUpdates", receiving.get_updates),
    Method("setWebhook", receiving.set_webhook),
    Method("deleteWebhook", receiving.delete_webhook),
    Method("getWebhookInfo", receiving.get_webhook_info),
    Method("sendMessage", sending.send_message, writes=True),
    Method("sendPhoto", sending.send_photo, writes=True),
    Method("sendDocument", sending.send_document, writes=True),
    Method("sendMediaGroup", sending.send_media_group, writes=True),
    Method("sendChatAction", sending.send_chat_action, writes=True),
    Method("editMessageText", editing.edit_message_text, writes=True),
    Method("editMessageCaption", editing.edit_message_caption, writes=True),
    Method("editMessageReplyMarkup", editing.edit_message_reply_markup, writes=True),
    Method("editMessageMedia", editing.edit_message_media, writes=True),
    Method("deleteMessage", editing.delete_message),
    Method("deleteMessages", editing.delete_messages),
    Method("answerCallbackQuery", reading.answer_callback_query),
    Method("getFile", reading.get_file),
    Method("getChat", reading.get_chat),
    Method("setMyCommands", profile.set_my_commands),
    Method("getMyCommands", profile.get_my_commands),
    Method("deleteMyCommands", profile.delete_my_commands),
    *(Method(f"setMy{name}", profile.setter(which)) for name, which in _TEXTS.items()),
    *(Method(f"getMy{name}", profile.getter(which)) for name, which in _TEXTS.items()),
    Method("setChatMenuButton", profile.set_chat_menu_button),
    Method("close", profile.done),
    Method("logOut", profile.done),
)

METHODS: Final = {method.name.lower(): method for method in _ALL}
