"""All chats as they are now, kept up to date by the chat page's own stream of events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import httpx

from rei_sandbox.demo.person import Seen, seen_of

EVENTS: Final = "/_sandbox/chat/events"
AGAIN_SECONDS: Final = 0.2
MESSAGES_MAX: Final = 400
"""Kept of each chat; the oldest go first."""


class Chats:
    """The bot's messages by chat and id."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.delivered: set[tuple[int, int]] = set()
        """(chat, message) of all deliveries, copies of them included."""
        self._http = http
        self._messages: defaultdict[int, dict[int, Seen]] = defaultdict(dict)
        self._news: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def listen(self) -> None:
        """Read events until cancelled; after a gap the chats are loaded again."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await self._read()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self) -> None:
        timeout = httpx.Timeout(30, read=60)
        async with self._http.stream("GET", EVENTS, timeout=timeout) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    await self._take(json.loads(line[5:]))

    async def _take(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "snapshot":  # a stream begins, or has lost something: nobody tells it again
                for user in event["users"]:
                    await self._load(int(user["id"]))
            case "message" | "edit" as kind:
                new = kind == "message"
                self._keep(int(event["user_id"]), seen_of(event["message"]), new=new)

    async def _load(self, user_id: int) -> None:
        """The chat as it is; a message that was edited was no news, or its news were told before."""
        answer = await self._http.get(f"/_sandbox/telegram/users/{user_id}/messages")
        answer.raise_for_status()
        for message in answer.json()["messages"]:
            self._keep(user_id, seen_of(message), new="edit_date" not in message)

    def _keep(self, user_id: int, message: Seen, *, new: bool) -> None:
        if not message.from_bot:
            return
        if _is_picture(message) or (new and _is_news(message)):
            self.delivered.add((user_id, message.message_id))
        chat = self._messages[user_id]
        chat[message.message_id] = message
        while len(chat) > MESSAGES_MAX:
            del chat[min(chat)]
        self._news[user_id].set()

    def latest(self, user_id: int) -> int:
        """The number of the chat's newest message of the bot, 0 if there is none."""
        return max(self._messages[user_id], default=0)

    def message(self, user_id: int, message_id: int) -> Seen | None:
        """A message as it is now."""
        return self._messages[user_id].get(message_id)

    async def find(
        self, user_id: int, condition: Callable[[Seen], bool], *, since: int, seconds: float
    ) -> Seen | None:
        """The newest message after `since` for which `condition` holds; None when time is up."""
        deadline = time.monotonic() + seconds
        while True:
            self._news[user_id].clear()
            for message_id in sorted(self._messages[user_id], reverse=True):
                if message_id <= since:
                    break
                message = self._messages[user_id][message_id]
                if condition(message):
                    return message
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news[user_id].wait()


# What the worker sends, each once if all goes well. A card that was edited may read as news do.


def _is_picture(message: Seen) -> bool:
    return message.photo is not None or message.document is not None


def _is_news(message: Seen) -> bool:
    return message.text.startswith(("😔", "✅ Зачислено", "✖️ Платёж"))
