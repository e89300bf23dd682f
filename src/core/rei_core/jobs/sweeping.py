"""Ending the jobs that nobody works on any more, so that one broken row holds nobody up.

A batch is one statement. A job whose books are broken (a counter that would go below zero, a
transfer that is there already) makes the whole of it fail, again and again, and everybody behind it
waits for their money. So a batch that is refused is ended job by job: the sound ones are refunded,
the broken ones are named in the answer, and `Refused` keeps them out of the next batches for a
while. They are not given up: somebody may have mended the row.

Bounds: a batch has at most `limit` jobs, and so the statements after a refusal; `Refused` remembers
at most `REFUSED_MAX`, and what it forgets is only tried once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from rei_core.db import Connection
from rei_core.jobs import end_queries
from rei_core.jobs.model import EndedJob

REFUSED_MAX: Final = 10_000
REFUSED_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RefusedJob:
    """A job that could not be ended; `code` is the constraint that refused it."""

    id: int
    code: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch did; `full` if there may be more."""

    ended: list[EndedJob]
    refused: list[RefusedJob]
    full: bool


class Refused:
    """Jobs that were refused a moment ago. `now` is any clock that only goes forwards."""

    def __init__(self, *, seconds: float = REFUSED_SECONDS) -> None:
        self._seconds = seconds
        self._until: dict[int, float] = {}

    def add(self, job_id: int, *, now: float) -> None:
        """Leave this job out for a while."""
        self._until.pop(job_id, None)
        self._until[job_id] = now + self._seconds
        while len(self._until) > REFUSED_MAX:
            del self._until[next(iter(self._until))]

    def ids(self, *, now: float) -> list[int]:
        """The jobs to leave out."""
        self._until = {job_id: until for job_id, until in self._until.items() if until > now}
        return list(self._until)


async def fail_lapsed(connection: Connection, *, limit: int, refused: Refused, now: float) -> Batch:
    """Fail and refund jobs whose lease lapsed on their last attempt.

    The connection must not be in a transaction: what is refused is rolled back alone.
    """
    return await _end(
        connection,
        end_queries.fail_lapsed,
        end_queries.lapsed_ids,
        limit=limit,
        refused=refused,
        now=now,
    )


async def fail_overdue(
    connection: Connection, *, limit: int, refused: Refused, now: float
) -> Batch:
    """Fail and refund jobs that waited past their deadline; see `fail_lapsed`."""
    return await _end(
        connection,
        end_queries.fail_overdue,
        end_queries.overdue_ids,
        limit=limit,
        refused=refused,
        now=now,
    )


async def _end(
    connection: Connection,
    together: Callable[..., Awaitable[list[EndedJob]]],
    find: Callable[..., Awaitable[list[int]]],
    *,
    limit: int,
    refused: Refused,
    now: float,
) -> Batch:
    skip = refused.ids(now=now)
    try:
        ended = await together(connection, limit=limit, skip=skip)
    except asyncpg.IntegrityConstraintViolationError:
        ids = await find(connection, limit=limit, skip=skip)
    else:
        return Batch(ended, [], full=len(ended) >= limit)
    batch = Batch([], [], full=len(ids) >= limit)
    for job_id in ids:
        try:
            batch.ended.extend(await end_queries.fail_hopeless(connection, job_id))
        except asyncpg.IntegrityConstraintViolationError as error:
            batch.refused.append(_refused(job_id, error))
            refused.add(job_id, now=now)
    return batch


def _refused(job_id: int, error: asyncpg.IntegrityConstraintViolationError) -> RefusedJob:
    one = RefusedJob(job_id, refusal_of(error))
    # The error's own text holds the row's values, which are a customer's.
    log.error("job.end_refused", job_id=job_id, code=one.code, hint="look at `rei audit`")
    return one


def refusal_of(error: asyncpg.IntegrityConstraintViolationError) -> str:
    """The constraint's name, or what kind of constraint it was."""
    return error.constraint_name or type(error).__name__
