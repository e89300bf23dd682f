"""Finding jobs that hang, each kind by its own small partial index. They are ended elsewhere.

Keyset pages: a run reads on from where it was, and never again past the entries of what it ended.
While a backup holds an old snapshot those cannot be cleaned up, and a search that began at the
front each time would read all of them with every batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rei_core.db import Connection
from rei_core.jobs.end_queries import STUCK

PAGE: Final = 10_000
"""Ids in one answer."""

UNFINISHED = """
SELECT (SELECT count(*) FROM jobs WHERE status = 'processing')
     + (SELECT count(*) FROM jobs WHERE status = 'queued')
"""


async def unfinished(connection: Connection) -> int:
    """How many jobs there are that could hang."""
    count: int = await connection.fetchval(UNFINISHED)
    return count


PROCESSING = f"""
SELECT id
FROM jobs
WHERE status = 'processing' AND id > $1 AND {STUCK}
ORDER BY id
LIMIT $4
"""

OVERDUE = """
SELECT id, deadline_at
FROM jobs
WHERE status = 'queued' AND finished_at IS NULL AND deadline_at < now()
  AND (deadline_at, id) > (coalesce($1::timestamptz, '-infinity'), $2)
ORDER BY deadline_at, id
LIMIT $3
"""


async def stuck_at_work(
    connection: Connection,
    *,
    after_id: int,
    timeout_seconds: float,
    timeout_seconds_by_model: dict[str, int],
    limit: int,
) -> list[int]:
    """The next jobs that are being worked on and hang, at most `PAGE`, by id."""
    rows = await connection.fetch(
        PROCESSING, after_id, timeout_seconds, timeout_seconds_by_model, min(limit, PAGE)
    )
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Overdue:
    """A page of jobs that wait past their deadline; the next one begins after its last."""

    ids: list[int]
    last_deadline: datetime | None
    last_id: int


async def overdue(connection: Connection, *, after: Overdue | None, limit: int) -> Overdue:
    """The next jobs that are queued past their deadline, at most `PAGE`, the earliest first."""
    rows = await connection.fetch(
        OVERDUE,
        None if after is None else after.last_deadline,
        0 if after is None else after.last_id,
        min(limit, PAGE),
    )
    if not rows:
        return Overdue([], None, 0)
    return Overdue([row["id"] for row in rows], rows[-1]["deadline_at"], rows[-1]["id"])


WOULD_END = f"""
SELECT count(*)::bigint AS jobs, coalesce(sum(price_kopecks), 0)::bigint AS kopecks
FROM (
    (SELECT price_kopecks FROM jobs WHERE status = 'processing' AND id > $1 AND {STUCK} LIMIT $4)
    UNION ALL
    (SELECT price_kopecks FROM jobs
     WHERE status = 'queued' AND finished_at IS NULL AND deadline_at < now() LIMIT $4)
    LIMIT $4
) AS stuck
"""


async def would_end(
    connection: Connection,
    *,
    timeout_seconds: float,
    timeout_seconds_by_model: dict[str, int],
    limit: int,
) -> tuple[int, int]:
    """(jobs, their price in kopecks) of what hangs, at most `limit` of them."""
    row = await connection.fetchrow(WOULD_END, 0, timeout_seconds, timeout_seconds_by_model, limit)
    assert row is not None
    return row["jobs"], row["kopecks"]
