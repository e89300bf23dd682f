"""What happens in the chats, told to the page over server-sent events.

Each event is one JSON object with its kind in `event`:

    snapshot    everything that a page starts from; what is shown from before is out of date
    message, edit, delete, user, action, answer, keyboard    from `telegram.state`
    status      numbers, faults and the last calls, whenever they have changed
    beat        nothing has happened for a while, and the stream is alive

Guarantee: a stream begins with a snapshot taken in the same step in which the listening begins,
so between the two nothing is lost. A page that was cut off (a closed laptop, a restart, too slow)
comes again and starts anew; nobody keeps a history for it. A message may be in the snapshot and
come as an event too: events are applied by message id, and the last word wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import time
from typing import Final

from aiohttp import web

from rei_sandbox.control import Sandbox
from rei_sandbox.faults import KINDS, OPERATIONS
from rei_sandbox.telegram.events import Listener
from rei_sandbox.telegram.model import Chat, Json

STATUS_SECONDS: Final = 0.4
"""How often the numbers are looked at."""
BEAT_SECONDS: Final = 10.0
WRITE_SECONDS_MAX: Final = 20.0
"""A page that reads nothing for so long has to come again."""
RETRY_MS: Final = 1000
"""How long a browser waits before it comes again."""
EVENTS_AT_ONCE_MAX: Final = 100
UNREAD_IDS_MAX: Final = 100
"""Ids of the bot's last messages of a chat; the page counts the unread ones among them."""
CALLS_SHOWN_MAX: Final = 30


class Feed:
    """The streams of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Tell this page everything until one of the two ends goes away."""
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        response.headers["X-Accel-Buffering"] = "no"  # a proxy between shall pass it on at once
        with (
            contextlib.suppress(ConnectionError, TimeoutError),  # the page is gone
            self._sandbox.telegram.events.listen() as listener,
        ):
            await response.prepare(request)
            await response.write(f"retry: {RETRY_MS}\n\n".encode())
            await self._tell(response, listener)
        return response

    async def _tell(self, response: web.StreamResponse, listener: Listener) -> None:
        # Whatever was published while the headers went out is in the snapshot as well.
        snapshot = self._snapshot()
        told, looked, spoke = snapshot["status"], time.monotonic(), time.monotonic()
        await _write(response, [snapshot])
        while True:
            events = await _next(listener)
            over = None in events
            batch = [
                self._snapshot() if each["event"] == "reset" else each for each in events if each
            ]
            # Not with every message: the numbers cost more than all the messages under load.
            if time.monotonic() - looked >= STATUS_SECONDS:
                status, looked = self._status(), time.monotonic()
                if status != told:
                    batch.append({"event": "status", "status": status})
                    told = status
            if not batch and time.monotonic() - spoke >= BEAT_SECONDS:
                batch.append({"event": "beat"})
            if batch:
                await _write(response, batch)
                spoke = time.monotonic()
            if over:
                return

    def _snapshot(self) -> Json:
        telegram = self._sandbox.telegram
        return {
            "event": "snapshot",
            "bot": telegram.bot(),
            "users": [_summary(chat) for chat in telegram.chats.values()],
            "faults": {
                service: {"kinds": kinds, "operations": OPERATIONS[service]}
                for service, kinds in KINDS.items()
            },
            "status": self._status(),
        }

    def _status(self) -> Json:
        sandbox = self._sandbox
        calls = sandbox.calls
        counts = calls.counts()
        pictures = counts.get("gemini", {}).pop("made", {})  # a note beside its call, no call
        return {
            "payments": sandbox.yookassa.shop.counts(),
            "notifications": sandbox.yookassa.notifier.counts(),
            "calls": {
                service: sum(sum(outcomes.values()) for outcomes in operations.values())
                for service, operations in counts.items()
            },
            "pictures": sum(pictures.values()),
            "last_calls": [
                {**dataclasses.asdict(call), "at": call.at.isoformat()}
                for call in itertools.islice(reversed(calls.last()), CALLS_SHOWN_MAX)
            ],
            "updates_pending": len(sandbox.telegram.updates.pending),
            "webhook": sandbox.telegram.sender.webhook is not None,
            "waiting": [dataclasses.asdict(order) for order in sandbox.faults.active()],
            "taken": sandbox.faults.taken(),
        }


def _summary(chat: Chat) -> Json:
    """A user as the list of chats shows them."""
    newest = list(itertools.islice(reversed(chat.messages.values()), UNREAD_IDS_MAX))
    return {
        **chat.shown(),
        "keyboard": chat.keyboard,
        "last_message": newest[0] if newest else None,
        "bot_message_ids": [
            message["message_id"] for message in reversed(newest) if message["from"]["is_bot"]
        ],
    }


async def _next(listener: Listener) -> list[Json | None]:
    """The events that are there, or none after a short while."""
    try:
        async with asyncio.timeout(STATUS_SECONDS):
            events = [await listener.get()]
    except TimeoutError:
        return []
    while len(events) < EVENTS_AT_ONCE_MAX and not listener.empty():
        events.append(listener.get_nowait())
    return events


async def _write(response: web.StreamResponse, events: list[Json]) -> None:
    lines = (f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    async with asyncio.timeout(WRITE_SECONDS_MAX):
        await response.write("".join(lines).encode())
