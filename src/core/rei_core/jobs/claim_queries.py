"""Claiming jobs and keeping them: compare-and-set, with `attempt` as the fencing token.

Whoever claims a job raises its `attempt`; every later write names the attempt it belongs to
and changes nothing if another one has begun. A lease that is not renewed lapses, and the sweep
(`lapse`) gives the job back or, out of attempts, leaves it to `end_queries.fail_lapsed`.
"""

from __future__ import annotations

import asyncpg

from rei_core.db import Connection
from rei_core.jobs.model import InputRef, Job, JobStatus

CLAIM_LOCK_KEY = 0x7265695F636C6D  # "rei_clm"

# $4 is how many jobs all workers together may process; the count and the claim are made exact by
# the lock that `claim` takes in a statement of its own (the count must see what the others did).
CLAIM = """
WITH paused AS MATERIALIZED (
    SELECT name FROM circuits WHERE opened_at IS NOT NULL
), due AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE status = 'queued'
      AND run_after <= now()
      AND NOT EXISTS (
          SELECT FROM paused WHERE name = 'provider' OR name = 'model:' || jobs.model
      )
    ORDER BY id
    LIMIT least($1, $4 - (SELECT count(*) FROM jobs WHERE status = 'processing'))
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
    """Claim up to `limit` due jobs, oldest first; the connection must be in a transaction."""
    if limit <= 0:
        return []
    await connection.execute("SELECT pg_advisory_xact_lock($1)", CLAIM_LOCK_KEY)
    rows = await connection.fetch(CLAIM, limit, worker, lease_seconds, processing_max)
    return sorted((job_of(row) for row in rows), key=lambda job: job.id)


RENEW = """
UPDATE jobs
SET lease_until = now() + make_interval(secs => $3)
FROM unnest($1::bigint[], $2::integer[]) AS mine (id, attempt)
WHERE jobs.id = mine.id AND jobs.attempt = mine.attempt AND jobs.status = 'processing'
RETURNING jobs.id
"""


async def renew(
    connection: Connection, claims: list[tuple[int, int]], *, lease_seconds: float
) -> set[int]:
    """Prolong the leases of (job id, attempt); return the ids that are still ours."""
    ids = [job_id for job_id, _ in claims]
    attempts = [attempt for _, attempt in claims]
    return {row["id"] for row in await connection.fetch(RENEW, ids, attempts, lease_seconds)}


RETRY = """
UPDATE jobs
SET status = 'queued',
    lease_until = NULL,
    worker = NULL,
    run_after = now() + make_interval(secs => $3),
    error_code = $4,
    error_detail = $5
WHERE id = $1 AND attempt = $2 AND status = 'processing' AND attempt < attempts_max
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
) -> bool:
    """Give a job back to be tried again after a delay; False if it is not ours or out of attempts."""
    row = await connection.fetchrow(
        RETRY, job_id, attempt, delay_seconds, error_code, error_detail[:500]
    )
    return row is not None


LAPSE = """
WITH lapsed AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE status = 'processing' AND lease_until < now() AND attempt < attempts_max
    ORDER BY lease_until
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
        inputs=tuple(InputRef(**ref) for ref in row["inputs"]),
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
