"""What people do in their chats with the bot: write, send pictures, press buttons, block.

Each act makes the update that the real service would make for it (`message`, `callback_query`,
`my_chat_member`) and tells the listeners of `state.events`. What a Telegram app would not let a
person do (press a button that is not there, write while the bot is blocked) is refused with
`BotApiError`: 404 for an unknown user, 400 for the rest.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from rei_sandbox.telegram import entities
from rei_sandbox.telegram.errors import BotApiError, bad_request
from rei_sandbox.telegram.model import CAPTION_UNITS_MAX, TEXT_UNITS_MAX, Chat, Json
from rei_sandbox.telegram.params import Upload

if TYPE_CHECKING:
    from rei_sandbox.telegram.state import TelegramState

ALBUM_MAX: Final = 10


class UserSide:
    """The people of `state`."""

    def __init__(self, state: TelegramState) -> None:
        self._state = state

    async def send_text(self, user_id: int, text: str) -> Json:
        """Write a message; returns it as the Bot API shows it."""
        chat = self._writer(user_id)
        return self._said(chat, _formatted("text", text, units_max=TEXT_UNITS_MAX))

    async def send_photos(
        self, user_id: int, uploads: list[Upload], caption: str = ""
    ) -> list[Json]:
        """Send one picture, or an album of 2–10; the caption goes with the first."""
        chat = self._writer(user_id)
        if not 1 <= len(uploads) <= ALBUM_MAX:
            raise bad_request(f"an album has 1 to {ALBUM_MAX} pictures, not {len(uploads)}")
        words = _formatted("caption", caption, units_max=CAPTION_UNITS_MAX) if caption else {}
        photos = [await self._state.files.add_photo(upload) for upload in uploads]
        group: Json = {} if len(photos) == 1 else {"media_group_id": new_media_group_id()}
        chat = self._writer(user_id)  # who may have blocked the bot while they were processed
        return [
            self._said(chat, {"photo": photo, **group, **(words if index == 0 else {})})
            for index, photo in enumerate(photos)
        ]

    async def send_document(self, user_id: int, upload: Upload, caption: str = "") -> Json:
        """Send a file as it is."""
        chat = self._writer(user_id)
        words = _formatted("caption", caption, units_max=CAPTION_UNITS_MAX) if caption else {}
        return self._said(chat, {"document": self._state.files.add_document(upload), **words})

    def press(self, user_id: int, message_id: int, callback_data: str) -> str:
        """Press an inline button that the message has; returns the id of the callback query."""
        chat = self._writer(user_id)
        message = chat.messages.get(message_id)
        if message is None or callback_data not in _callback_data(message):
            raise bad_request(f"message {message_id} has no such button")
        query_id = str(secrets.randbits(62))
        self._state.open_callback(user_id, query_id)
        query = {
            "id": query_id,
            "from": chat.user(),
            "message": message,
            "chat_instance": str(user_id),
            "data": callback_data,
        }
        self._state.updates.push("callback_query", query, chat_id=user_id)
        return query_id

    def set_blocked(self, user_id: int, blocked: bool) -> None:
        """Block the bot, or let it write again."""
        chat = self._chat(user_id)
        if chat.blocked == blocked:
            return
        chat.blocked = blocked
        here: Json = {"user": self._state.bot(), "status": "member"}
        gone: Json = {"user": self._state.bot(), "status": "kicked", "until_date": 0}
        change = {
            "chat": chat.chat(),
            "from": chat.user(),
            "date": int(time.time()),
            "old_chat_member": here if blocked else gone,
            "new_chat_member": gone if blocked else here,
        }
        self._state.updates.push("my_chat_member", change, chat_id=user_id)
        self._state.user_changed(chat)

    def _said(self, chat: Chat, content: Json) -> Json:
        if not chat.started:
            chat.started = True
            self._state.user_changed(chat)
        message = self._state.new_message(chat, content, sender=chat.user())
        self._state.updates.push("message", message, chat_id=chat.user_id)
        if chat.keyboard and chat.keyboard.get("one_time_keyboard"):
            self._state.show_keyboard(chat, None)
        return message

    def _writer(self, user_id: int) -> Chat:
        chat = self._chat(user_id)
        if chat.blocked:
            raise bad_request("the user has blocked the bot")
        return chat

    def _chat(self, user_id: int) -> Chat:
        chat = self._state.chats.get(user_id)
        if chat is None:
            raise BotApiError(404, f"Not Found: no user {user_id}")
        return chat


def new_media_group_id() -> str:
    """What the messages of one album have in common."""
    return str(10**16 + secrets.randbits(50))


def _formatted(name: str, text: str, *, units_max: int) -> Json:
    """A text or caption with the entities that Telegram finds by itself."""
    if len(text) > 4 * units_max:  # white space around it may go, but not that much
        raise bad_request(f"message {name} is longer than {units_max}")
    plain, found = entities.parse(text, "")
    if not plain:
        raise bad_request(f"message {name} is empty")
    if entities.units(plain) > units_max:
        raise bad_request(f"message {name} is longer than {units_max}")
    key = "entities" if name == "text" else "caption_entities"
    return {name: plain, **({key: found} if found else {})}


def _callback_data(message: Json) -> set[str]:
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return {button["callback_data"] for row in rows for button in row if "callback_data" in button}
