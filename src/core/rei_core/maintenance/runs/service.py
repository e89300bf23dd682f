"""Carrying out a run: intent → effect → result, each of which may be the last thing this process does.

Guarantees: a key runs to its end once; two runs of one resource never overlap; a run whose process
died, or whose connection was cut, is taken over once its lease is over, and ends as if nothing had
happened. What is promised of the procedure in return: it may be begun again at any point, keeps
count by `Progress`, and writes by the connection it is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog

from rei_core.db import CUT_OFF, Connection, Pool, is_lost
from rei_core.errors import ReiError
from rei_core.logs import masked_text
from rei_core.maintenance.model import Json, Progress, RunResult
from rei_core.maintenance.runs import queries
from rei_core.maintenance.runs.model import Run, RunBusy, RunKey, RunLost, TryAgain

log = structlog.get_logger(__name__)

LEASE_SECONDS = 60.0
GIVE_BACK_SECONDS_MAX = 2.0
ERROR_CHARS_MAX = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a procedure ended; `detail` is what only its kind has to tell, as JSON, bounded."""

    result: RunResult
    detail: Json = field(default_factory=dict)


Work = Callable[[Connection, Progress], Awaitable[Outcome]]


class Recorded:
    """The progress of a run, kept in its row."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._result = run.result

    @property
    def result(self) -> RunResult:
        return self._result

    @property
    def detail(self) -> Json:
        return self._run.detail

    async def advance(self, connection: Connection, result: RunResult) -> None:
        """Remember the result so far, in the caller's transaction; raises `RunLost`."""
        if not await queries.advance(connection, self._run, result):
            raise RunLost(self._run)
        self._result = result

    async def remember(self, connection: Connection, detail: Json) -> None:
        """Write down what is about to be done; raises `RunLost`."""
        if not await queries.remember(connection, self._run, detail):
            raise RunLost(self._run)


async def carry_out(
    pool: Pool,
    key: RunKey,
    *,
    owner: str,
    work: Work,
    lease_seconds: float = LEASE_SECONDS,
    attempts_max: int = 1,
) -> Run:
    """Run `work` once for this key and return the ended run; one that ended before is returned.

    An error of the procedure ends the run as failed; a `TryAgain` only on the last of
    `attempts_max`, and is raised before that. Raises `RunBusy` if another process is at a run of
    this resource, and whatever cuts the way to the database. After each of these but `RunBusy` the
    run stays open, and calling again takes it over.
    """
    async with pool.acquire() as connection, queries.only_one(connection, key):
        run = await queries.begin(connection, key, owner=owner, lease_seconds=lease_seconds)
        if run is None:
            known = await queries.find(connection, key)
            if known is None or known.finished_at is None:
                raise RunBusy(key)
            return known
        with structlog.contextvars.bound_contextvars(
            kind=key.kind, namespace=key.namespace, name=key.name, run_id=run.id
        ):
            log.info("run.begun", attempt=run.attempt, scheduled_for=key.scheduled_for.isoformat())
            async with _leased(pool, run, lease_seconds):
                return await _to_its_end(connection, run, work, attempts_max)


async def _to_its_end(
    connection: Connection, run: Run, work: Work, attempts_max: int
) -> Run:  # fmt: skip
    progress = Recorded(run)
    error: str | None = None
    try:
        outcome = await work(connection, progress)
    except (RunLost, *CUT_OFF):
        raise
    except asyncio.CancelledError:
        await _give_back(connection, run)
        raise
    except TryAgain as again:
        if run.attempt < attempts_max:
            log.warning("run.tried", attempt=run.attempt, error=told(again.reason))
            await _give_back(connection, run)
            raise
        log.error("run.given_up", attempt=run.attempt, error=told(again.reason))  # noqa: TRY400 - the sentence says it all
        outcome, error = Outcome(progress.result), told(again.reason)
    except Exception as problem:
        if is_lost(connection):
            raise
        if isinstance(problem, ReiError):
            log.error("run.failed", error=told(problem))  # noqa: TRY400 - the sentence says it all
        else:
            log.exception("run.failed")
        outcome, error = Outcome(progress.result), told(problem)
    ended = await queries.finish(
        connection, run, result=outcome.result, detail=outcome.detail, error=error
    )
    if ended is None:
        raise RunLost(run)
    log.info("run.ended", status=ended.status.value, changed=ended.result.changed,
             failed=ended.result.failed, amount_kopecks=ended.result.amount_kopecks)  # fmt: skip
    return ended


def told(error: Exception) -> str:
    """An error for a person, in one line and without secrets."""
    if isinstance(error, ReiError):
        return masked_text(str(error))[:ERROR_CHARS_MAX]
    lines = masked_text(str(error)).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:ERROR_CHARS_MAX]


async def _give_back(connection: Connection, run: Run) -> None:
    """This process ends in order: the next one need not wait for the lease."""
    with suppress(Exception):
        async with asyncio.timeout(GIVE_BACK_SECONDS_MAX):
            await queries.renew(connection, run, lease_seconds=-1)


@asynccontextmanager
async def _leased(pool: Pool, run: Run, lease_seconds: float) -> AsyncIterator[None]:
    """Renew the lease meanwhile, by another connection: the run's own is at work."""
    task = asyncio.create_task(_keep(pool, run, lease_seconds), name=f"lease-of-run-{run.id}")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep(pool: Pool, run: Run, lease_seconds: float) -> None:
    # A lease that lapses all the same does no harm: the lock keeps others out for as long as this
    # process can write.
    while True:
        await asyncio.sleep(lease_seconds / 3)
        try:
            async with asyncio.timeout(lease_seconds / 3), pool.acquire() as connection:
                await queries.renew(connection, run, lease_seconds=lease_seconds)
        except Exception as error:
            log.warning("run.lease_not_renewed", error=type(error).__name__)
