"""Claiming jobs and keeping them: compare-and-set, with `attempt` as the fencing token.

Whoever claims a job raises its `attempt`; every later write names the attempt it belongs to
and changes nothing if another one has begun. A lease that is not renewed lapses, and the sweep
(`lapse`) gives the job back or, out of attempts, leaves it to `end_queries.fail_lapsed`.

A claim whose answer is lost on the way leaves jobs that nobody works on: they cost an attempt and
the time of a lease, and nothing else.
"""

from __future__ import annotations

import asyncpg
import structlog

from rei_core.db import Connection
from rei_core.db.text import storable
from rei_core.jobs.model import InputRef, Job, JobStatus

logger = structlog.get_logger(__name__)

CLAIM_LOCK_KEY = 0x7265695F636C6D  # "rei_clm"
CLAIM_MAX = 100
"""Jobs in one claim. The answer then fits into the socket's buffers, so that a worker that freezes
right here cannot keep the server sending, and the lock held, for ever."""

# All workers queue for this lock, and a worker may freeze, or its node vanish, while it has it:
# the server ends such a transaction after two seconds, and nobody waits longer than five.
CLAIM_LOCK = """
SELECT set_config('idle_in_transaction_session_timeout', '2000', true),
       set_config('lock_timeout', '5000', true),
       pg_advisory_xact_lock($1)
"""

# $4 is how many jobs all workers together may process; the count and the claim are made exact by
# the lock that `claim` takes in a statement of its own (the count must see what the others did).
# While the provider is on trial after an outage, it gets one job.
CLAIM = """
WITH paused AS MATERIALIZED (
    SELECT name FROM circuits WHERE opened_at IS NOT NULL
), room AS MATERIALIZED (
    SELECT greatest(0, least(
        $1,
        CASE
            WHEN EXISTS (SELECT FROM circuits WHERE name = 'provider' AND on_trial) THEN 1
            ELSE $4
        END - (SELECT count(*) FROM jobs WHERE status = 'processing')
    )) AS jobs
), due AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE status = 'queued'
      AND run_after <= now()
      AND NOT EXISTS (
          SELECT FROM paused WHERE name = 'provider' OR name = 'model:' || jobs.model
      )
    ORDER BY id
    LIMIT (SELECT room.jobs FROM room)
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs
SET status = 'processing',
    attempt = jobs.attempt + 1,
    worker = $2,
    lease_until = now() + make_interval(secs => $3),
    started_at = now()
FROM due
WHERE jobs.id = due.id
RETURNING jobs.*
"""


async def claim(
    connection: Connection,
    *,
    worker: str,
    lease_seconds: float,
    limit: int,
    processing_max: int,
) -> list[Job]:
    """Claim up to `limit` due jobs, at most `CLAIM_MAX`, oldest first; within a transaction.

    Raises asyncpg's `LockNotAvailableError` if the others' claims take too long.
    """
    if limit <= 0:
        return []
    await connection.execute(CLAIM_LOCK, CLAIM_LOCK_KEY)
    rows = await connection.fetch(
        CLAIM, min(limit, CLAIM_MAX), worker, lease_seconds, processing_max
    )
    jobs = [job for row in rows if (job := _readable(row)) is not None]
    return sorted(jobs, key=lambda job: job.id)


def _readable(row: asyncpg.Record) -> Job | None:
    """A claimed row as a value. One that cannot be read must not keep all others from being done:
    it stays claimed, its leases lapse, and the sweep refunds it."""
    try:
        return job_of(row)
    except (KeyError, TypeError, ValueError):
        logger.exception("job.unreadable", job_id=row["id"])
        return None


# A row that somebody else has locked (its end is being written, or a person at a prompt has it)
# is passed over: waiting for it would let the leases of all the others lapse.
RENEW = """
WITH mine AS MATERIALIZED (
    SELECT jobs.id, jobs.attempt
    FROM unnest($1::bigint[], $2::integer[]) AS claims (id, attempt)
    JOIN jobs ON jobs.id = claims.id AND jobs.attempt = claims.attempt
    WHERE jobs.status = 'processing'
), free AS MATERIALIZED (
    SELECT jobs.id
    FROM jobs
    JOIN mine ON mine.id = jobs.id AND mine.attempt = jobs.attempt
    WHERE jobs.status = 'processing'
    FOR UPDATE OF jobs SKIP LOCKED
), renewed AS (
    UPDATE jobs
    SET lease_until = now() + make_interval(secs => $3)
    FROM free
    WHERE jobs.id = free.id
    RETURNING jobs.id
)
SELECT (SELECT array_agg(id) FROM mine) AS mine, (SELECT array_agg(id) FROM renewed) AS renewed
"""


async def renew(
    connection: Connection, claims: list[tuple[int, int]], *, lease_seconds: float
) -> dict[int, bool]:
    """Prolong the leases of (job id, attempt); the ids that are still ours, False for those whose
    row was locked, so that their lease is as old as it was."""
    ids = [job_id for job_id, _ in claims]
    attempts = [attempt for _, attempt in claims]
    row = await connection.fetchrow(RENEW, ids, attempts, lease_seconds)
    assert row is not None
    renewed = set(row["renewed"] or ())
    return {job_id: job_id in renewed for job_id in row["mine"] or ()}


RETRY = """
UPDATE jobs
SET status = 'queued',
    lease_until = NULL,
    worker = NULL,
    run_after = now() + make_interval(secs => $3),
    error_code = $4,
    error_detail = $5,
    attempts_max = attempts_max + CASE WHEN $6 THEN 0 ELSE 1 END
WHERE id = $1 AND attempt = $2 AND status = 'processing'
  AND (attempt < attempts_max OR NOT $6)
RETURNING id
"""


async def retry_later(
    connection: Connection,
    job_id: int,
    *,
    attempt: int,
    delay_seconds: float,
    error_code: str,
    error_detail: str,
    counts: bool = True,
) -> bool:
    """Give a job back to be tried again after a delay; False if it is not ours or out of attempts.

    With `counts=False` the attempt is not held against the job, because it was ended for reasons
    of ours; the job's deadline still bounds how often.
    """
    row = await connection.fetchrow(
        RETRY, job_id, attempt, delay_seconds, error_code, storable(error_detail), counts
    )
    return row is not None


LAPSE = """
WITH lapsed AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE status = 'processing' AND lease_until < now() AND attempt < attempts_max
    ORDER BY id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs
SET status = 'queued', lease_until = NULL, worker = NULL, run_after = now(),
    error_code = 'worker_lost', error_detail = NULL
FROM lapsed
WHERE jobs.id = lapsed.id
RETURNING jobs.id
"""


async def lapse(connection: Connection, *, limit: int) -> list[int]:
    """Give back the jobs whose worker stopped renewing; their ids."""
    return [row["id"] for row in await connection.fetch(LAPSE, limit)]


def job_of(row: asyncpg.Record) -> Job:
    """A row of `jobs` as a value."""
    return Job(
        id=row["id"],
        user_id=row["user_id"],
        status=JobStatus(row["status"]),
        model=row["model"],
        prompt=row["prompt"],
        aspect_ratio=row["aspect_ratio"],
        image_size=row["image_size"],
        # By name: a newer bot's rows may say more about a picture than this code knows.
        inputs=tuple(
            InputRef(ref["file_id"], ref["mime_type"], ref["size_bytes"]) for ref in row["inputs"]
        ),
        price_kopecks=row["price_kopecks"],
        attempt=row["attempt"],
        attempts_max=row["attempts_max"],
        run_after=row["run_after"],
        lease_until=row["lease_until"],
        error_code=row["error_code"],
        error_detail=row["error_detail"],
        chat_id=row["chat_id"],
        progress_message_id=row["progress_message_id"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
