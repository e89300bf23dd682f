"""Updates by long polling, for a bot of one process.

Guarantee: Telegram forgets an update only once it is handled: the offset stands at the first that
is not. So a killed process loses nothing; what it had not finished comes again, and what it had
finished but not confirmed is known by its row (see `updates`).

While something is being handled Telegram is asked without waiting, because it would hand out
the same updates at once for ever; so it is to confirm what was handled. At most `WINDOW` updates
are under way: what one getUpdates returns. A chat whose update fails again and again holds the
others up only when that is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pydantic
import structlog
from aiogram import Bot
from aiogram.methods import TelegramMethod
from aiogram.types import Update

from rei_bot.backoff import Backoff, report
from rei_bot.lanes import Lanes
from rei_bot.metrics import Metrics
from rei_bot.updates import Result

log = structlog.get_logger(__name__)

WINDOW = 100
POLL_SECONDS = 25
ANSWER_SECONDS_MAX = 10
"""How much longer than asked for an answer may take."""
UNDER_WAY_SECONDS = 0.5
"""How often new updates are looked for while others are being handled."""


class GetRawUpdates(TelegramMethod[list[dict[str, Any]]]):
    """getUpdates, its result not parsed: one update that aiogram cannot read must not stop all."""

    __returning__ = list[dict[str, Any]]
    __api_method__ = "getUpdates"

    offset: int | None = None
    limit: int = WINDOW
    timeout: int = 0
    allowed_updates: list[str]


class Poller:
    """Fetches updates and hands them to `handle`."""

    def __init__(
        self,
        *,
        bot: Bot,
        handle: Callable[[Update], Awaitable[Result]],
        allowed_updates: list[str],
        metrics: Metrics,
    ) -> None:
        self._bot = bot
        self._allowed_updates = allowed_updates
        self._metrics = metrics
        self._settled: dict[int, bool] = {}
        """What Telegram has handed out and not been told to forget, by id."""
        self._all_settled = asyncio.Event()
        self._lanes = Lanes(handle, on_settled=self._settle)
        self.ticked_at = asyncio.get_running_loop().time()

    async def run(self, stop: asyncio.Event, *, drain_seconds: float) -> None:
        """Poll until `stop`, then let what runs end within `drain_seconds`."""
        stopped = asyncio.create_task(stop.wait())
        try:
            await self._repeat(self._drop_webhook, "deleteWebhook", stopped, once=True)
            log.info("polling started")
            await self._repeat(self._poll, "getUpdates", stopped)
        finally:
            stopped.cancel()
            await self._lanes.stop(seconds=drain_seconds)

    async def _repeat(
        self,
        action: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        stopped: asyncio.Task[bool],
        *,
        once: bool = False,
    ) -> None:
        """Do `action` (until it succeeds, with `once`); failures are reported and waited out."""
        backoff = Backoff()
        while not stopped.done():
            self.ticked_at = asyncio.get_running_loop().time()
            work = asyncio.create_task(action())
            # Nothing is lost by ending a call midway: it has confirmed nothing that is open.
            if not await _ended_before(stopped, work):
                return
            error = work.exception()
            if error is None:
                backoff.succeeded()
                if once:
                    return
                continue
            if not isinstance(error, Exception):
                raise error
            pause_seconds = backoff.failed(error)
            self._metrics.poll("failed")
            report(name, error, pause_seconds=pause_seconds)
            self.ticked_at += pause_seconds  # a pause that Telegram asked for is no standstill
            await asyncio.wait({stopped}, timeout=pause_seconds)

    async def _drop_webhook(self) -> None:
        """While one is set Telegram refuses to be polled. What waits for us is kept."""
        await self._bot.delete_webhook(drop_pending_updates=False)

    async def _poll(self) -> None:
        offset = self._offset()
        timeout_seconds = 0 if self._settled else POLL_SECONDS
        fetched = await self._bot(
            GetRawUpdates(
                offset=offset, timeout=timeout_seconds, allowed_updates=self._allowed_updates
            ),
            request_timeout=timeout_seconds + ANSWER_SECONDS_MAX,
        )
        self._metrics.poll("ok")
        self._forget_below(offset)
        for raw in fetched:
            self._take(raw)
        await self._wait_for_room()

    def _offset(self) -> int | None:
        """The first update that is not handled; everything before it Telegram will forget.

        None once Telegram has forgotten all there was: ids may start anew after a quiet week,
        below an offset that we insisted on.
        """
        if not self._settled:
            return None
        open_ids = [update_id for update_id, settled in self._settled.items() if not settled]
        return min(open_ids) if open_ids else max(self._settled) + 1

    def _forget_below(self, offset: int | None) -> None:
        if offset is not None:
            self._settled = {i: settled for i, settled in self._settled.items() if i >= offset}

    def _take(self, raw: dict[str, Any]) -> None:
        update_id = raw.get("update_id")
        if not isinstance(update_id, int) or update_id in self._settled:
            return
        try:
            update = Update.model_validate(raw, context={"bot": self._bot})
        except pydantic.ValidationError as error:
            # It will not read better the next time, and all others wait behind it.
            # No traceback: it would hold what the customer wrote.
            log.error(  # noqa: TRY400
                "update cannot be read", update_id=update_id, problems=problems(error)
            )
            self._metrics.update("other", "unreadable", 0)
            self._settled[update_id] = True
            return
        self._settled[update_id] = False
        self._all_settled.clear()
        self._lanes.add(update)

    def _settle(self, update_id: int) -> None:
        if update_id in self._settled:
            self._settled[update_id] = True
        if all(self._settled.values()):
            self._all_settled.set()

    async def _wait_for_room(self) -> None:
        if all(self._settled.values()):
            return
        try:
            async with asyncio.timeout(UNDER_WAY_SECONDS):
                await self._all_settled.wait()
        except TimeoutError:
            return


def problems(error: pydantic.ValidationError) -> str:
    """What is wrong with an update, without the customer's words in it."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[:3]
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)


async def _ended_before(stopped: asyncio.Task[bool], work: asyncio.Task[None]) -> bool:
    """Wait for `work`, and cancel it if we stop first."""
    either: set[asyncio.Task[Any]] = {stopped, work}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
    return not work.cancelled()
