"""Reading jobs: one, a user's history, a place in the queue, the queue in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from rei_core.db import Connection
from rei_core.jobs.claim_queries import job_of
from rei_core.jobs.model import Job, QueueState


async def find(connection: Connection, job_id: int) -> Job | None:
    """The job, or None."""
    row = await connection.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)
    return None if row is None else job_of(row)


HISTORY = """
SELECT *
FROM jobs
WHERE user_id = $1
  AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def history(
    connection: Connection, user_id: int, *, before_id: int | None = None, limit: int = 5
) -> list[Job]:
    """The user's jobs, newest first, older than `before_id`."""
    return [job_of(row) for row in await connection.fetch(HISTORY, user_id, before_id, limit)]


PLACE_MAX = 1_000
"""Counting the people in front stops here: nobody needs the exact number of a thousand."""

# Not asked while an order is accepted: a long queue would be counted under the lock on the balance.
PLACE = f"""
SELECT CASE WHEN status = 'queued' THEN (
    SELECT 1 + count(*)
    FROM (SELECT FROM jobs AS other
          WHERE other.status = 'queued' AND other.id < job.id LIMIT {PLACE_MAX}) AS ahead
) END
FROM jobs AS job
WHERE id = $1
"""


async def place(connection: Connection, job_id: int) -> int | None:
    """The job's place in the queue, 1 for the next; None unless it is queued."""
    value: int | None = await connection.fetchval(PLACE, job_id)
    return value


MEAN_OF_JOBS = 100
MEAN_OF_MINUTES = 30

# Each part reads an index of its own that holds no more than it counts: waiting jobs, jobs at work,
# and the last hundred that were completed. `status IN (…)` over the table would read all of it.
QUEUE_STATE = """
WITH paused AS MATERIALIZED (
    SELECT name FROM circuits WHERE opened_at IS NOT NULL
), waiting AS (
    SELECT count(*) AS jobs,
           count(*) FILTER (WHERE run_after <= now() AND NOT EXISTS (
               SELECT FROM paused WHERE name = 'provider' OR name = 'model:' || jobs.model
           )) AS due,
           count(*) FILTER (WHERE attempt > 0) AS retrying,
           extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds,
           coalesce(sum(price_kopecks), 0)::bigint AS kopecks
    FROM jobs
    WHERE status = 'queued'
), at_work AS (
    SELECT count(*) AS jobs,
           count(*) FILTER (WHERE lease_until < now()) AS lapsed,
           extract(epoch FROM now() - min(started_at))::float8 AS oldest_seconds,
           coalesce(sum(price_kopecks), 0)::bigint AS kopecks
    FROM jobs
    WHERE status = 'processing'
), recent AS (
    SELECT extract(epoch FROM finished_at - started_at)::float8 AS seconds
    FROM jobs
    WHERE status = 'completed' AND started_at IS NOT NULL
      AND finished_at IS NOT NULL AND finished_at > now() - make_interval(mins => $1)
    ORDER BY finished_at DESC
    LIMIT $2
)
SELECT waiting.jobs AS queued, waiting.due, waiting.retrying,
       coalesce(waiting.oldest_seconds, 0) AS oldest_queued_seconds,
       at_work.jobs AS processing, at_work.lapsed,
       coalesce(at_work.oldest_seconds, 0) AS oldest_at_work_seconds,
       (SELECT avg(seconds) FROM recent) AS mean_seconds,
       waiting.kopecks + at_work.kopecks AS held_kopecks
FROM waiting, at_work
"""


async def queue_state(connection: Connection) -> QueueState:
    """The queue in numbers; `mean_seconds` over the last hundred completed jobs of half an hour."""
    row = await connection.fetchrow(QUEUE_STATE, MEAN_OF_MINUTES, MEAN_OF_JOBS)
    assert row is not None
    return QueueState(**dict(row))


RUNNING = """
SELECT worker, count(*) AS jobs
FROM jobs
WHERE status = 'processing' AND worker IS NOT NULL
GROUP BY worker
"""


async def running(connection: Connection) -> dict[str, int]:
    """How many jobs each worker has at work; one that has none is not there."""
    return {row["worker"]: row["jobs"] for row in await connection.fetch(RUNNING)}


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """A result with its bytes (None once Telegram has them) and Telegram's file ids."""

    mime_type: str
    width: int
    height: int
    size_bytes: int
    data: bytes | None
    photo_file_id: str | None
    document_file_id: str | None


OUTPUT = """
SELECT mime_type, width, height, size_bytes, data, photo_file_id, document_file_id
FROM job_outputs
WHERE job_id = $1
"""


async def output(connection: Connection, job_id: int) -> StoredOutput | None:
    """The job's stored result."""
    row = await connection.fetchrow(OUTPUT, job_id)
    return None if row is None else StoredOutput(**dict(row))
