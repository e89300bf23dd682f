"""A customer of the story: acts in the sandbox's chat and reads it, over HTTP like a browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from rei_core.errors import ReiError

WAIT_SECONDS_MAX: Final = 60.0
LOOK_SECONDS: Final = 0.1
CHAT_SHOWN: Final = 6
"""Messages of the chat that an error quotes."""


class StoryBroke(ReiError):
    """A step did not end as it has to."""

    def __init__(self, expected: str, seen: str) -> None:
        self.expected = expected
        self.seen = seen
        super().__init__(f"expected {expected}; seen: {seen}")


@dataclass(frozen=True, slots=True)
class Seen:
    """A message of the chat as it is now."""

    message_id: int
    from_bot: bool
    text: str
    buttons: dict[str, str]
    """Callback data or address by label."""
    photo: str | None
    document: str | None
    """Telegram's file ids."""
    document_name: str = ""

    def button(self, words: str) -> str:
        """The data of the button whose label holds `words`."""
        for label, data in self.buttons.items():
            if words in label:
                return data
        raise StoryBroke(f"a button «{words}»", ", ".join(self.buttons) or "no buttons")


class Person:
    """One customer. Reads only what came after `turn`: the last thing they did."""

    def __init__(self, http: httpx.AsyncClient, *, user_id: int) -> None:
        self.user_id = user_id
        self._http = http
        self._base = f"/_sandbox/telegram/users/{user_id}"
        self._since = 0

    async def say(self, text: str) -> None:
        """Write to the bot."""
        await self._turn()
        await self._post("messages", json={"text": text})

    async def press(self, message: Seen, words: str) -> None:
        """Press the button whose label holds `words`."""
        await self._turn()
        data = {"message_id": message.message_id, "data": message.button(words)}
        await self._post("press", json=data)

    async def sees(
        self, what: str, condition: Callable[[Seen], bool], *, anywhere: bool = False
    ) -> Seen:
        """Wait for a message of the bot's; with `anywhere` an older one that was edited counts too."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            messages = await self.chat()
            for message in reversed(messages):
                new = anywhere or message.message_id > self._since
                if message.from_bot and new and condition(message):
                    return message
            if time.monotonic() > deadline:
                raise StoryBroke(what, _quote(messages))
            await asyncio.sleep(LOOK_SECONDS)

    async def reads(self, words: str, *, anywhere: bool = False) -> Seen:
        """Wait for a message that holds `words`."""
        return await self.sees(f"«{words}»", lambda seen: words in seen.text, anywhere=anywhere)

    async def chat(self) -> list[Seen]:
        """The chat, oldest first."""
        answer = await self._http.get(f"{self._base}/messages")
        answer.raise_for_status()
        return [seen_of(message) for message in answer.json()["messages"]]

    async def download(self, file_id: str) -> bytes:
        """A file of the chat."""
        answer = await self._http.get(f"/_sandbox/telegram/files/{file_id}")
        answer.raise_for_status()
        return answer.content

    async def _turn(self) -> None:
        self._since = max((message.message_id for message in await self.chat()), default=0)

    async def _post(self, action: str, **body: Any) -> None:
        answer = await self._http.post(f"{self._base}/{action}", **body)
        if answer.is_error:
            raise StoryBroke(f"the chat to take «{action}»", answer.text[:200])


def seen_of(message: dict[str, Any]) -> Seen:
    """A Message of the Bot API."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    photo = message.get("photo")
    return Seen(
        message_id=message["message_id"],
        from_bot=message["from"]["is_bot"],
        text=plain(message.get("text") or message.get("caption") or ""),
        buttons={
            plain(button["text"]): button.get("callback_data") or button.get("url", "")
            for row in rows
            for button in row
        },
        photo=photo[-1]["file_id"] if photo else None,
        document=message["document"]["file_id"] if "document" in message else None,
        document_name=message["document"].get("file_name", "") if "document" in message else "",
    )


def plain(text: str) -> str:
    """Ordinary spaces instead of those that do not break."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def _quote(messages: list[Seen]) -> str:
    last = [" ".join(message.text.split())[:120] or "(a picture)" for message in messages]
    return " | ".join(last[-CHAT_SHOWN:]) or "an empty chat"
