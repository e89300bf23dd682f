"""The order in which polled updates are handled: chats side by side, each chat one by one.

The photos of an album are one step of their chat, handled all at once: each waits for a quiet
moment in which no other photo has come (see `handlers.compose`), and one after the other they
would wait for that many moments.

Guarantee: an update that could not be handled is tried again, and the chat's later ones wait for
it. Nothing here is remembered beyond the process: what is not settled, Telegram still has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiogram.types import Update

from rei_bot.notices import sender_of
from rei_bot.updates import Result

AT_ONCE_MAX = 24
"""Handlers at a time; each uses a connection to the database now and then."""
BUSY_PAUSE_SECONDS = 1.0
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 15.0


@dataclass(eq=False)
class Step:
    """An update, or the photos of an album, that the chat's next step waits for."""

    album: str | None
    before: Step | None
    left: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Lanes:
    """Takes updates in the order of their arrival; `on_settled` is told each one's id once."""

    def __init__(
        self,
        handle: Callable[[Update], Awaitable[Result]],
        *,
        on_settled: Callable[[int], None],
        at_once_max: int = AT_ONCE_MAX,
    ) -> None:
        self._handle = handle
        self._on_settled = on_settled
        self._places = asyncio.Semaphore(at_once_max)
        self._last: dict[int, Step] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    def add(self, update: Update) -> None:
        """Handle an update when its turn comes."""
        chat_id, album = chat_of(update), album_of(update)
        step = self._last.get(chat_id)
        if step is None or album is None or step.album != album:
            step = self._last[chat_id] = Step(album, before=step)
        step.left += 1
        task = asyncio.create_task(self._take(update, step, chat_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, *, seconds: float) -> None:
        """Start nothing more; let what runs end for so long, then cancel it."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, update: Update, step: Step, chat_id: int) -> None:
        try:
            if step.before is not None:
                await step.before.over.wait()
                step.before = None  # or a busy chat's steps would hold each other in memory
            if await self._settle(update):
                self._on_settled(update.update_id)
        finally:
            step.left -= 1
            if step.left == 0:
                step.over.set()
                if self._last.get(chat_id) is step:
                    del self._last[chat_id]

    async def _settle(self, update: Update) -> bool:
        """Try until the update may be confirmed; False if we stop before."""
        pause_seconds = RETRY_SECONDS_MIN
        while not self._stopping.is_set():
            async with self._places:
                if self._stopping.is_set():
                    break
                result = await self._handle(update)
            if result.settled:
                return True
            if result is Result.BUSY:  # the lease of a process that died, most likely
                await self._pause(BUSY_PAUSE_SECONDS)
                continue
            await self._pause(pause_seconds)
            pause_seconds = min(pause_seconds * 2, RETRY_SECONDS_MAX)
        return False

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless we stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def chat_of(update: Update) -> int:
    """Whose turn it is: in a private chat the chat and its customer have the same id."""
    sender = sender_of(update)
    return 0 if sender is None else sender.id


def album_of(update: Update) -> str | None:
    """The album that the update's photo belongs to."""
    return None if update.message is None else update.message.media_group_id
