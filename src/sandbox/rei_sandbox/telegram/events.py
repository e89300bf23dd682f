"""Changes of the chats, told to whoever shows them.

A listener that falls behind by more than `BACKLOG_MAX` loses its subscription and has to load
everything again; so no slow browser makes the server grow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rei_sandbox.telegram.model import Json

BACKLOG_MAX = 1000
LISTENERS_MAX = 100

Listener = asyncio.Queue[Json | None]
"""Events; None means: over, come again."""


class EventHub:
    """Publish to all listeners without ever waiting."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """A queue of events from now on; the oldest listener gives way when there are too many."""
        while len(self._listeners) >= LISTENERS_MAX:
            self._end(self._listeners[0])
        listener: Listener = asyncio.Queue(BACKLOG_MAX)
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def publish(self, event: str, *, user_id: int, **data: object) -> None:
        for listener in list(self._listeners):
            try:
                listener.put_nowait({"event": event, "user_id": user_id, **data})
            except asyncio.QueueFull:
                self._end(listener)

    def close(self) -> None:
        for listener in list(self._listeners):
            self._end(listener)

    def _end(self, listener: Listener) -> None:
        self._listeners.remove(listener)
        while listener.full():
            listener.get_nowait()
        listener.put_nowait(None)
