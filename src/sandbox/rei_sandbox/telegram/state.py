"""Everything the stand-in knows: users, chats, files, updates, the webhook, the bot's profile.

In memory and bounded. The bot reaches it through the methods of the Bot API; users reach it
through `users`, which the chat page and tests drive.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from typing import Final

from rei_sandbox.faults import Faults
from rei_sandbox.telegram.errors import BotApiError, bad_request, blocked_by_user
from rei_sandbox.telegram.events import EventHub
from rei_sandbox.telegram.files import FileStore
from rei_sandbox.telegram.flood import FloodGate, FloodLimit
from rei_sandbox.telegram.model import Chat, Json
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.updates import UpdateQueue
from rei_sandbox.telegram.users import UserSide
from rei_sandbox.telegram.webhook import Reply, WebhookSender

USERS_MAX: Final = 1000
NAME_LENGTH_MAX: Final = 64
CALLBACKS_MAX: Final = 1000
CALLBACK_SECONDS_MAX: Final = 60.0
"""How long a button press can be answered."""
DEFAULT_USERS: Final = ((1001, "Аня", "anya", "ru"), (1002, "John", "john", "en"))
BOT_ID: Final = 7_000_000_001
BOT_NAME: Final = "Rei"
BOT_USERNAME: Final = "rei_sandbox_bot"
IDS_SINCE: Final = 1_700_000_000
"""Unix time at which the first message would have had id 0."""
_TOKEN: Final = re.compile(r"[1-9]\d{0,15}:[A-Za-z0-9_-]{3,64}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})?")


class TelegramState:
    """One bot and its private chats. An empty `token` lets every well-formed one in."""

    def __init__(
        self, token: str = "", *, flood: FloodLimit | None = None, faults: Faults | None = None
    ) -> None:
        self._token = token
        self._flood_limit = flood
        self.bot_id = int(token.partition(":")[0]) if token else BOT_ID
        self.files = FileStore()
        self.events = EventHub()
        self.updates = UpdateQueue(faults)
        self.sender = WebhookSender(self.updates, reply=self._carry_out)
        self.reply_hook: Reply | None = None
        """Carries out a call that the bot put into its answer to a webhook."""
        self.users = UserSide(self)
        self.chats: dict[int, Chat] = {}
        self.callbacks: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Button presses that wait for an answer: the user, and when it was."""
        self.commands: dict[tuple[str, str], list[Json]] = {}
        """setMyCommands by (scope, language code); see `profile.scope_key`."""
        self.texts: dict[tuple[str, str], str] = {}
        """The bot's name and descriptions by (which, language code)."""
        # Ids go on over restarts of the sandbox: a bot may still know messages of the one before.
        self._message_id = int(time.time()) - IDS_SINCE
        self.reset()

    def reset(self) -> None:
        """Forget chats, files and updates.

        The webhook and the bot's profile stay: a bot sets them once, at its start.
        """
        self.chats.clear()
        self.callbacks.clear()
        self.flood = FloodGate(self._flood_limit)
        self.files.clear()
        self.updates.clear()
        for user_id, first_name, username, language_code in DEFAULT_USERS:
            self.add_user(first_name, language_code, user_id=user_id, username=username)
        self.events.publish("reset", user_id=0)

    def counts(self) -> Json:
        """Numbers for `/_sandbox/state`."""
        return {
            "users": len(self.chats),
            "messages": sum(len(chat.messages) for chat in self.chats.values()),
            "files": len(self.files),
            "updates_pending": len(self.updates.pending),
            "webhook": self.sender.webhook.url if self.sender.webhook else "",
        }

    async def close(self) -> None:
        """End deliveries, polls and listeners."""
        self.events.close()
        await self.sender.close()
        await self.updates.close()

    def authorize(self, token: str) -> None:
        """Raises what the real service answers to a bad token."""
        if not _TOKEN.fullmatch(token):
            raise BotApiError(404, "Not Found")
        if self._token and token != self._token:
            raise BotApiError(401, "Unauthorized")
        self.bot_id = int(token.partition(":")[0])

    def bot(self) -> Json:
        """The bot as a User."""
        return {
            "id": self.bot_id,
            "is_bot": True,
            "first_name": self.texts.get(("name", "")) or BOT_NAME,
            "username": BOT_USERNAME,
        }

    def add_user(
        self, first_name: str, language_code: str, *, user_id: int = 0, username: str = ""
    ) -> Chat:
        """A new user who has not written to the bot yet."""
        if len(self.chats) >= USERS_MAX:
            raise bad_request(f"there are {USERS_MAX} users already")
        if not 1 <= len(first_name.strip()) <= NAME_LENGTH_MAX:
            raise bad_request(f"first_name has 1 to {NAME_LENGTH_MAX} characters")
        if language_code and not _LANGUAGE.fullmatch(language_code):
            raise bad_request("language_code is like ru or en-GB")
        number = user_id or max(self.chats, default=1000) + 1
        name = username or f"user{number}"
        chat = Chat(number, first_name.strip(), name, language_code)
        self.chats[number] = chat
        self.user_changed(chat)
        return chat

    def user_changed(self, chat: Chat) -> None:
        """Tell the listeners how the user is now."""
        self.events.publish("user", user_id=chat.user_id, user=chat.shown())

    def chat_for_bot(self, chat_id: int) -> Chat:
        """A chat that the bot may write to; raises what the real service would."""
        chat = self.known_chat(chat_id)
        if not chat.started:
            raise BotApiError(403, "Forbidden: bot can't initiate conversation with a user")
        if chat.blocked:
            raise blocked_by_user()
        return chat

    def known_chat(self, chat_id: int) -> Chat:
        """A chat that exists, blocked or not."""
        chat = self.chats.get(chat_id)
        if chat is None:
            raise bad_request("chat not found")
        return chat

    def new_message(self, chat: Chat, content: Json, *, sender: Json) -> Json:
        """Give content an id and a date, keep it, and tell the listeners."""
        self._message_id += 1
        message = {
            "message_id": self._message_id,
            "date": int(time.time()),
            "from": sender,
            "chat": chat.chat(),
            **content,
        }
        chat.keep(message)
        self.events.publish("message", user_id=chat.user_id, message=message)
        return message

    def replace_message(self, chat: Chat, message: Json) -> Json:
        """Keep an edited message in the place of the one before, and tell the listeners."""
        edited = {**message, "edit_date": int(time.time())}
        chat.keep(edited)
        self.events.publish("edit", user_id=chat.user_id, message=edited)
        return edited

    def delete_message(self, chat: Chat, message_id: int) -> None:
        """Forget a message, and tell the listeners."""
        del chat.messages[message_id]
        self.events.publish("delete", user_id=chat.user_id, message_id=message_id)

    def show_keyboard(self, chat: Chat, keyboard: Json | None) -> None:
        """Put a reply keyboard (or ForceReply) before the user, or take it away."""
        chat.keyboard = keyboard
        self.events.publish("keyboard", user_id=chat.user_id, keyboard=keyboard)

    def open_callback(self, user_id: int, query_id: str) -> None:
        """A button was pressed and waits for its answer."""
        self.callbacks[query_id] = (user_id, time.monotonic())
        while len(self.callbacks) > CALLBACKS_MAX:
            self.callbacks.popitem(last=False)

    def close_callback(self, query_id: str) -> int:
        """Whose button press is answered; raises when it is unknown, answered or too old."""
        user_id, pressed = self.callbacks.pop(query_id, (0, 0.0))
        if not user_id or time.monotonic() - pressed > CALLBACK_SECONDS_MAX:
            raise bad_request(
                "query is too old and response timeout expired or query ID is invalid"
            )
        return user_id

    async def _carry_out(self, answer: Params) -> None:
        if self.reply_hook is not None:
            await self.reply_hook(answer)
