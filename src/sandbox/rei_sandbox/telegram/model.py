"""What a private chat is made of: its user, its messages, its keyboard."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

MESSAGES_MAX: Final = 1000
"""Kept for each chat; the oldest go first."""
TEXT_UNITS_MAX: Final = 4096
CAPTION_UNITS_MAX: Final = 1024
"""In UTF-16 code units, after the entities were taken out."""

Json = dict[str, Any]


@dataclass
class Chat:
    """A user and the one private chat with the bot.

    A bot cannot write first: `started` becomes true with the user's first message.
    """

    user_id: int
    first_name: str
    username: str
    language_code: str
    started: bool = False
    blocked: bool = False
    keyboard: Json | None = None
    """The reply keyboard or ForceReply that the user sees now."""
    messages: OrderedDict[int, Json] = field(default_factory=OrderedDict)

    def user(self) -> Json:
        """The Bot API's User."""
        language = {"language_code": self.language_code} if self.language_code else {}
        return {
            "id": self.user_id,
            "is_bot": False,
            "first_name": self.first_name,
            "username": self.username,
            **language,
        }

    def shown(self) -> Json:
        """The User with what the sandbox knows beyond it."""
        return {**self.user(), "started": self.started, "blocked": self.blocked}

    def chat(self) -> Json:
        """The Bot API's Chat."""
        return {
            "id": self.user_id,
            "type": "private",
            "first_name": self.first_name,
            "username": self.username,
        }

    def keep(self, message: Json) -> None:
        """Add or replace a message, in the order in which they were first kept."""
        self.messages[message["message_id"]] = message
        while len(self.messages) > MESSAGES_MAX:
            self.messages.popitem(last=False)
