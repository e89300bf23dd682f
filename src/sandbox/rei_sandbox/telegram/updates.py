"""Updates that wait for the bot, fetched by long polling or handed to the webhook.

They are kept for a day and bounded in number, as the real service does: a bot may be dead for
long and still misses nothing. Faults of the operation `notification` repeat, delay or reorder
them. With a webhook such an update keeps the number it was born with, so it arrives below others
that were handled already; a poller would never be given it, so there it is numbered on arrival.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from rei_sandbox.faults import Faults
from rei_sandbox.telegram.errors import BotApiError, conflict
from rei_sandbox.telegram.model import Json

UPDATES_MAX: Final = 10_000
UPDATE_SECONDS_MAX: Final = 24 * 3600.0
POLL_SECONDS_MAX: Final = 50
POLL_LIMIT_MAX: Final = 100
LATE_SECONDS: Final = 5.0
REORDER_SECONDS_MAX: Final = 2.0
"""How long an update waits for the next one to overtake it."""
FAULT_KINDS: Final = ("duplicated", "late", "reordered")
NOT_BY_DEFAULT: Final = ("chat_member", "message_reaction", "message_reaction_count")
"""A bot gets these only when it asks for them by name."""


@dataclass(eq=False)
class Pending:
    """An update on its way; the webhook keeps its retries here.

    Those of one chat go in order, except that the messages of one `album` need not.
    """

    update: Json
    chat_id: int
    album: str = ""
    created: float = field(default_factory=time.monotonic)
    attempts: int = 0
    not_before: float = 0.0
    in_flight: bool = False

    @property
    def update_id(self) -> int:
        return int(self.update["update_id"])


@dataclass(frozen=True)
class _Born:
    """An update that is held back; `update_id` 0: to be numbered when it arrives."""

    kind: str
    body: Json
    chat_id: int
    update_id: int


class UpdateQueue:
    """Oldest first."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.pending: deque[Pending] = deque()
        self.allowed: tuple[str, ...] = ()
        """The kinds of updates the bot asked for; empty: the usual ones."""
        self.number_at_birth = False
        """True while a webhook is set."""
        self._faults = faults
        # Numbers go on over restarts of the sandbox: the bot remembers the old ones for a day.
        self._numbers = itertools.count(int(time.time()))
        self._held: list[_Born] = []
        self._closed = False
        self._poller = 0
        self._stopped_by = ""
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def push(self, kind: str, body: Json, *, chat_id: int) -> None:
        """Queue an update of `kind` unless the bot did not ask for such."""
        unwanted = kind not in self.allowed if self.allowed else kind in NOT_BY_DEFAULT
        if unwanted:
            return
        fault = self._faults and self._faults.take(
            "telegram", "notification", subject=str(chat_id), kinds=FAULT_KINDS
        )
        born = _Born(kind, body, chat_id, next(self._numbers) if self.number_at_birth else 0)
        overtaken, self._held = self._held, []
        if fault and fault.kind == "late":
            self._later(fault.delay_seconds or LATE_SECONDS, lambda: self._append(born))
        elif fault and fault.kind == "reordered":
            self._held.append(born)
            self._later(fault.delay_seconds or REORDER_SECONDS_MAX, self._release)
        else:
            self._append(born, copies=2 if fault else 1)
        for each in overtaken:
            self._append(each)

    async def poll(self, *, offset: int | None, limit: int, timeout_seconds: float) -> list[Json]:
        """getUpdates. A newer poller ends this one with 409, as does `stop_poller`.

        Once the queue is closed every poll is told so with 502.
        """
        self.stop_poller(
            "other getUpdates request; make sure that only one bot instance is running"
        )
        mine = self._poller
        self._confirm(offset)
        deadline = time.monotonic() + min(max(timeout_seconds, 0), POLL_SECONDS_MAX)
        while not self._closed and not self.pending and time.monotonic() < deadline:
            await self.wait(deadline - time.monotonic())
            if mine != self._poller:
                raise conflict(f"terminated by {self._stopped_by}")
        if self._closed:
            raise BotApiError(502, "Bad Gateway")
        self.drop_expired()
        count = min(max(limit, 1), POLL_LIMIT_MAX)
        return [entry.update for entry in itertools.islice(self.pending, count)]

    @property
    def polled(self) -> int:
        """How many polls there were, and how many times they were stopped from outside."""
        return self._poller

    def stop_poller(self, cause: str) -> None:
        """End a waiting getUpdates, which says that it was terminated by `cause`."""
        self._poller += 1
        self._stopped_by = cause
        self.notify()

    async def wait(self, seconds: float) -> None:
        """Wait until something is added or removed, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def done(self, entry: Pending) -> None:
        """The webhook has taken it, or it was given up."""
        with contextlib.suppress(ValueError):
            self.pending.remove(entry)
        self.notify()

    def clear(self) -> None:
        """Drop what waits and what is held back."""
        self._cancel_later()
        self._held.clear()
        self.pending.clear()
        self.notify()

    async def close(self) -> None:
        """Stop everything that waits."""
        self._closed = True
        self.notify()
        tasks = self._cancel_later()
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop_expired(self) -> None:
        """Forget what is older than a day."""
        oldest = time.monotonic() - UPDATE_SECONDS_MAX
        while self.pending and self.pending[0].created < oldest:
            self.pending.popleft()

    def _append(self, born: _Born, *, copies: int = 1) -> None:
        update = {"update_id": born.update_id or next(self._numbers), born.kind: born.body}
        album = str(born.body.get("media_group_id", ""))
        for _ in range(copies):
            self.pending.append(Pending(update, born.chat_id, album))
        while len(self.pending) > UPDATES_MAX:
            self.pending.popleft()
        self.notify()

    def _release(self) -> None:
        held, self._held = self._held, []
        for each in held:
            self._append(each)

    def _confirm(self, offset: int | None) -> None:
        if offset is None:
            return
        if offset < 0:
            kept = list(self.pending)[offset:]
        else:
            kept = [entry for entry in self.pending if entry.update_id >= offset]
        self.pending = deque(kept)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        if len(self._tasks) >= UPDATES_MAX:
            action()
            return

        async def run() -> None:
            await asyncio.sleep(seconds)
            action()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel_later(self) -> list[asyncio.Task[None]]:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    def notify(self) -> None:
        """Wake everyone who waits; who comes later waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()
