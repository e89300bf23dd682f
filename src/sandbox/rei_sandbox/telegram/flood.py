"""Telegram's flood limit for a chat, off by default."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from rei_sandbox.telegram.errors import too_many_requests


@dataclass(frozen=True)
class FloodLimit:
    """At most `messages` in `seconds` to one chat."""

    messages: int = 20
    seconds: float = 10.0


class FloodGate:
    """Counts what goes to each chat; raises 429 with the time that is really left."""

    def __init__(self, limit: FloodLimit | None) -> None:
        self._limit = limit
        self._sent: defaultdict[int, deque[float]] = defaultdict(deque)

    def pass_(self, chat_id: int) -> None:
        """Count a message to this chat, or raise."""
        if self._limit is None:
            return
        now, sent = time.monotonic(), self._sent[chat_id]
        while sent and sent[0] <= now - self._limit.seconds:
            sent.popleft()
        if len(sent) >= self._limit.messages:
            raise too_many_requests(math.ceil(sent[0] + self._limit.seconds - now))
        sent.append(now)
