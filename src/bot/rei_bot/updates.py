"""One Telegram update, handled once in effect, whoever brings it: the webhook or polling.

    claim ─┬─ done before ──────────────────────────────► REPEATED   confirm
           ├─ somebody is at it ────────────────────────► BUSY       ask again
           └─ ours ─ handler ─┬─ returns, marked done ──► HANDLED    confirm
                              ├─ raises, released ──────► FAILED     ask again
                              └─ raises the fifth time ─► GIVEN_UP   confirm, and say sorry

Guarantees: an update is confirmed only after everything it caused is committed and its row says
so. A process that dies in between leaves a lease that lapses; the repeat then runs the handler
again, which changes nothing more (handlers key what they write by the update's content). The
same holds for a process that was frozen beyond its lease.

Dangers: giving up loses what a customer said, so an attempt counts only if the update itself may
be to blame. While the database or Telegram is away nothing is held against anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import time
from collections.abc import AsyncIterator

import pydantic
import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramEntityTooLarge,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.types import Update
from aiogram.types.update import UpdateTypeLookupError

from rei_bot.metrics import kind_of
from rei_bot.notices import Notices, sender_of
from rei_bot.services import Services
from rei_bot.throttle import Throttle, Verdict
from rei_core.db import is_outage as database_is_away
from rei_core.process import cancel
from rei_core.updates import queries
from rei_core.updates.queries import Claim

log = structlog.get_logger(__name__)

ATTEMPTS_MAX = 5
HANDLER_SECONDS_MAX = 25.0
"""Telegram waits longer for a webhook's answer; a slow payment provider fits in."""
LEASE_SECONDS = 6.0
"""Renewed while the handler runs; a customer of a process that died waits for this long."""
DATABASE_SECONDS_MAX = 5.0
"""For a connection; a statement has its own bound (`main.STATEMENT_SECONDS_MAX`)."""

TELEGRAM_AWAY = (
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
"""What is raised when Telegram is away; what a database raises is in `rei_core.db.outages`."""


class Result(enum.StrEnum):
    """How an update ended this time; the values are metric labels."""

    HANDLED = "handled"
    REPEATED = "repeated"
    THROTTLED = "throttled"
    GIVEN_UP = "given_up"
    BUSY = "busy"
    FAILED = "failed"

    @property
    def settled(self) -> bool:
        """Whether the update may be confirmed to Telegram; else it has to come again."""
        return self not in {Result.BUSY, Result.FAILED}


class UpdateHandler:
    """Claims, hands to the dispatcher, marks as done."""

    def __init__(
        self,
        *,
        bot: Bot,
        dispatcher: Dispatcher,
        services: Services,
        throttle: Throttle,
    ) -> None:
        self._bot = bot
        self._dispatcher = dispatcher
        self._pool = services.pool
        self._support_contact = services.settings.support_contact
        self._throttle = throttle
        self._notices = Notices(bot, services.pool)
        self._metrics = services.metrics

    async def handle(self, update: Update) -> Result:
        """Handle one update; raises nothing but `CancelledError`."""
        started = time.monotonic()
        sender = sender_of(update)
        with structlog.contextvars.bound_contextvars(
            update_id=update.update_id, user_id=sender.id if sender else None
        ):
            try:
                result = await self._claim_and_run(update)
            except Exception as error:  # the claim, or the last words about the update
                _log_failure(error, attempt=None)
                result = Result.FAILED
            seconds = time.monotonic() - started
            log.debug(
                "update ended", kind=kind_of(update), result=result, seconds=round(seconds, 3)
            )
        self._metrics.update(kind_of(update), result, seconds)
        return result

    async def _claim_and_run(self, update: Update) -> Result:
        async with self._pool.acquire(timeout=DATABASE_SECONDS_MAX) as connection:
            claim, attempt = await queries.claim(
                connection, update.update_id, lease_seconds=LEASE_SECONDS
            )
        if claim is Claim.DONE:
            return Result.REPEATED
        if claim is Claim.BUSY:
            return Result.BUSY
        if attempt > ATTEMPTS_MAX:  # it took the process down with it each time, or its last words
            log.error("update given up", attempt=attempt)
            return await self._give_up(update)
        return await self._attempt(update, attempt)

    async def _attempt(self, update: Update, attempt: int) -> Result:
        try:
            async with (
                asyncio.timeout(HANDLER_SECONDS_MAX) as bound,
                self._kept(update, attempt),
            ):
                result = await self._run(update, first=attempt == 1)
                await self._mark_done(update)
        except asyncio.CancelledError:  # we stop; the next process need not wait for the lease
            await self._release(update, attempt, counts=False)
            raise
        except Exception as error:
            counts = bound.expired() or not is_outage(error)
            if counts and attempt >= ATTEMPTS_MAX:
                log.exception("update given up", attempt=attempt)
                return await self._give_up(update)
            _log_failure(error, attempt=attempt)
            await self._release(update, attempt, counts=counts)
            return Result.FAILED
        return result

    async def _run(self, update: Update, *, first: bool) -> Result:
        try:
            _ = update.event_type
        except UpdateTypeLookupError:
            log.warning("update of a kind that this version does not know")
            return Result.HANDLED
        sender = sender_of(update)
        verdict = Verdict.PASS
        if first and sender is not None:
            verdict = await self._throttle.judge(sender.id)
        if verdict is Verdict.PASS:
            await self._dispatcher.feed_update(self._bot, update)
            return Result.HANDLED
        if verdict is Verdict.WARN:
            log.warning("customer throttled")
            await self._notices.too_fast(update)
        return Result.THROTTLED

    async def _give_up(self, update: Update) -> Result:
        await self._notices.gave_up(update, support_contact=self._support_contact)
        await self._mark_done(update)
        return Result.GIVEN_UP

    async def _mark_done(self, update: Update) -> None:
        async with self._pool.acquire(timeout=DATABASE_SECONDS_MAX) as connection:
            await queries.done(connection, update.update_id)

    @contextlib.asynccontextmanager
    async def _kept(self, update: Update, attempt: int) -> AsyncIterator[None]:
        """Inside, nobody else takes the update."""
        keeping: list[asyncio.Task[None]] = []
        # Most handlers are done long before the first renewal: a timer costs them less than a task.
        timer = asyncio.get_running_loop().call_later(
            LEASE_SECONDS / 3,
            lambda: keeping.append(asyncio.create_task(self._keep(update, attempt))),
        )
        try:
            yield
        finally:
            timer.cancel()
            await cancel(*keeping)

    async def _keep(self, update: Update, attempt: int) -> None:
        while True:
            try:
                async with self._pool.acquire(timeout=DATABASE_SECONDS_MAX) as connection:
                    await queries.renew(
                        connection,
                        update.update_id,
                        attempt=attempt,
                        lease_seconds=LEASE_SECONDS,
                    )
            except Exception as error:  # the next one comes; a lapsed lease means one run too many
                log.warning("update's lease not renewed", error=type(error).__name__)
            await asyncio.sleep(LEASE_SECONDS / 3)

    async def _release(self, update: Update, attempt: int, *, counts: bool) -> None:
        """Let the repeat try at once; if even that fails, it waits for the lease."""
        try:
            async with self._pool.acquire(timeout=DATABASE_SECONDS_MAX) as connection:
                await queries.release(connection, update.update_id, attempt=attempt, counts=counts)
        except Exception as error:
            log.warning("update not released", error=type(error).__name__)


def is_outage(error: Exception) -> bool:
    """Whether something else was away, so that the update is not to blame."""
    if isinstance(error, TelegramEntityTooLarge):  # aiogram counts it among the network's errors
        return False
    if isinstance(error, ClientDecodeError):
        # An answer that is no JSON comes from something between us and Telegram.
        return not isinstance(error.original, pydantic.ValidationError)
    return isinstance(error, TELEGRAM_AWAY) or database_is_away(error)


def _log_failure(error: Exception, *, attempt: int | None) -> None:
    if is_outage(error):
        log.warning("update failed", attempt=attempt, error=type(error).__name__, detail=str(error))
    else:
        log.error("update failed", attempt=attempt, exc_info=error)
