"""The ends of a job. Each is one statement: the status, the money and what to tell the customer.

`complete` captures (held → revenue); all other ends release (held → user). Which rows end is
decided by one conditional UPDATE, so of two ends that race only one finds its row. Where many
jobs end at once the balance rows are locked in the order of user ids: two sweeps cannot
deadlock.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import asyncpg

from rei_core.db import Connection
from rei_core.db.text import storable
from rei_core.jobs.model import EndedJob, Output

COMPLETE = """
WITH ended AS (
    UPDATE jobs
    SET status = 'completed', finished_at = now(), lease_until = NULL,
        error_code = NULL, error_detail = NULL
    WHERE id = $1 AND attempt = $2 AND status = 'processing'
    RETURNING id, user_id, chat_id, price_kopecks
), account AS (
    UPDATE balances AS b
    SET active_jobs = b.active_jobs - 1
    FROM ended
    WHERE b.user_id = ended.user_id
    RETURNING b.balance_kopecks
), captured AS (
    INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                           amount_kopecks, balance_after_kopecks)
    SELECT 'capture', 'job', ended.id::text, ended.user_id, 'held', 'revenue',
           ended.price_kopecks, account.balance_kopecks
    FROM ended, account
), stored AS (
    INSERT INTO job_outputs (job_id, mime_type, width, height, size_bytes, sha256, data)
    SELECT ended.id, $3, $4, $5, length($7::bytea), $6, $7::bytea
    FROM ended
), announced AS (
    INSERT INTO deliveries (kind, ref_id, user_id, chat_id)
    SELECT 'result', ended.id::text, ended.user_id, ended.chat_id
    FROM ended
), answered AS (
    UPDATE circuits
    SET failures = 0, on_trial = false
    WHERE name = 'provider' AND opened_at IS NULL AND (failures > 0 OR on_trial)
      AND EXISTS (SELECT FROM ended)
)
SELECT id FROM ended
"""

HASHED_HERE_BYTES_MAX = 64 * 1024
"""More is hashed in a thread: ten megabytes would hold up everybody else in the event loop."""


async def complete(connection: Connection, job_id: int, *, attempt: int, output: Output) -> bool:
    """Store the result, capture the price and queue the delivery; False if the job is not ours.

    The provider has answered, so its count of failures in a row starts over (see `images.circuits`).
    """
    if len(output.data) > HASHED_HERE_BYTES_MAX:
        hashed = await asyncio.to_thread(hashlib.sha256, output.data)
    else:
        hashed = hashlib.sha256(output.data)
    digest = hashed.digest()
    row = await connection.fetchrow(
        COMPLETE, job_id, attempt, output.mime_type, output.width, output.height, digest, output.data
    )  # fmt: skip
    return row is not None


# Follows a CTE `ended` (id, user_id, chat_id, progress_message_id, price_kopecks, error_code).
#
# The jobs of a customer travel as arrays through the lock on the balance and are taken apart
# behind it: nothing is joined but tables with an index. Two CTEs joined with each other would be
# compared row by row, as the planner expects a handful: a million pairs in a batch of a thousand.
_RELEASE = """
, account AS MATERIALIZED (
    SELECT sums.*, b.balance_kopecks
    FROM (
        SELECT ended.user_id, sum(price_kopecks)::bigint AS kopecks, count(*)::integer AS jobs,
               array_agg(id ORDER BY id) AS job_ids,
               array_agg(price_kopecks ORDER BY id) AS prices
        FROM ended
        GROUP BY ended.user_id
    ) AS sums
    JOIN balances AS b USING (user_id)
    ORDER BY b.user_id
    FOR UPDATE OF b
), repaid AS (
    UPDATE balances AS b
    SET balance_kopecks = b.balance_kopecks + account.kopecks,
        active_jobs = b.active_jobs - account.jobs
    FROM account
    WHERE b.user_id = account.user_id
), released AS (
    INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                           amount_kopecks, balance_after_kopecks)
    SELECT 'release', 'job', job.id::text, account.user_id, 'held', 'user', job.price_kopecks,
           account.balance_kopecks
               + sum(job.price_kopecks) OVER (PARTITION BY account.user_id ORDER BY job.id)
    FROM account, unnest(account.job_ids, account.prices) AS job (id, price_kopecks)
    ORDER BY account.user_id, job.id
), announced AS (
    INSERT INTO deliveries (kind, ref_id, user_id, chat_id)
    SELECT 'job_failed', id::text, user_id, chat_id
    FROM ended
    WHERE error_code <> 'cancelled'
)
SELECT * FROM ended
ORDER BY id
"""

_RETURNING = (
    "RETURNING jobs.id, jobs.user_id, jobs.chat_id, jobs.progress_message_id, "
    "jobs.price_kopecks, jobs.error_code"
)

FAIL = f"""
WITH ended AS (
    UPDATE jobs
    SET status = 'failed', finished_at = now(), lease_until = NULL,
        error_code = $3, error_detail = $4
    WHERE id = $1 AND attempt = $2 AND status = 'processing'
    {_RETURNING}
)
{_RELEASE}
"""


async def fail(
    connection: Connection, job_id: int, *, attempt: int, error_code: str, error_detail: str
) -> EndedJob | None:
    """Fail a claimed job and give the money back; None if the job is not ours any more."""
    rows = await connection.fetch(FAIL, job_id, attempt, error_code, storable(error_detail))
    return ended_of(rows[0]) if rows else None


CANCEL = f"""
WITH ended AS (
    UPDATE jobs
    SET status = 'cancelled', finished_at = now(), error_code = 'cancelled', error_detail = NULL
    WHERE id = $1 AND user_id = $2 AND status = 'queued'
    {_RETURNING}
)
{_RELEASE}
"""


async def cancel(connection: Connection, job_id: int, *, user_id: int) -> EndedJob | None:
    """Cancel the user's own job while it is queued; None if it is not, or not theirs."""
    rows = await connection.fetch(CANCEL, job_id, user_id)
    return ended_of(rows[0]) if rows else None


_LAPSED = "status = 'processing' AND lease_until < now() AND attempt >= attempts_max"
_OVERDUE = "status = 'queued' AND finished_at IS NULL AND deadline_at < now()"

FAIL_LAPSED = f"""
WITH hopeless AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE {_LAPSED} AND id <> ALL($2::bigint[])
    ORDER BY id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE jobs
    SET status = 'failed', finished_at = now(), lease_until = NULL,
        error_code = 'timeout', error_detail = NULL
    FROM hopeless
    WHERE jobs.id = hopeless.id
    {_RETURNING}
)
{_RELEASE}
"""


async def fail_lapsed(
    connection: Connection, *, limit: int, skip: Sequence[int] = ()
) -> list[EndedJob]:
    """Fail and refund the jobs whose lease lapsed on their last attempt, without those in `skip`."""
    return [ended_of(row) for row in await connection.fetch(FAIL_LAPSED, limit, skip)]


LAPSED_IDS = f"""
SELECT id
FROM jobs
WHERE {_LAPSED} AND id <> ALL($2::bigint[])
ORDER BY id
LIMIT $1
"""


async def lapsed_ids(connection: Connection, *, limit: int, skip: Sequence[int]) -> list[int]:
    """The jobs that `fail_lapsed` would end next."""
    return [row["id"] for row in await connection.fetch(LAPSED_IDS, limit, skip)]


FAIL_OVERDUE = f"""
WITH overdue AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE {_OVERDUE} AND id <> ALL($2::bigint[])
    ORDER BY deadline_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE jobs
    SET status = 'failed', finished_at = now(), error_code = 'overdue'
    FROM overdue
    WHERE jobs.id = overdue.id
    {_RETURNING}
)
{_RELEASE}
"""


async def fail_overdue(
    connection: Connection, *, limit: int, skip: Sequence[int] = ()
) -> list[EndedJob]:
    """Fail and refund the jobs that waited past their deadline, without those in `skip`."""
    return [ended_of(row) for row in await connection.fetch(FAIL_OVERDUE, limit, skip)]


OVERDUE_IDS = f"""
SELECT id
FROM jobs
WHERE {_OVERDUE} AND id <> ALL($2::bigint[])
ORDER BY deadline_at
LIMIT $1
"""


async def overdue_ids(connection: Connection, *, limit: int, skip: Sequence[int]) -> list[int]:
    """The jobs that `fail_overdue` would end next."""
    return [row["id"] for row in await connection.fetch(OVERDUE_IDS, limit, skip)]


# A job that hangs: at work for longer than its model may take ($2 seconds; $3 has other times by
# model), given up by a worker that died on its last attempt, or still queued past its deadline.
STUCK = """(
    (status = 'processing'
        AND (started_at < now() - make_interval(secs => coalesce(($3::jsonb ->> model)::float8, $2))
            OR (lease_until < now() AND attempt >= attempts_max)))
    OR (status = 'queued' AND finished_at IS NULL AND deadline_at < now())
)"""

# The rows are named by whoever found them, and looked at again once they are locked: one that has
# ended meanwhile, or has a new attempt that still has time, is left alone.
FAIL_STUCK = f"""
WITH stuck AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE id = ANY($1::bigint[]) AND {STUCK}
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE jobs
    SET status = 'failed', finished_at = now(), lease_until = NULL, error_detail = NULL,
        error_code = CASE jobs.status WHEN 'queued' THEN 'overdue' ELSE 'timeout' END
    FROM stuck
    WHERE jobs.id = stuck.id
    {_RETURNING}
)
{_RELEASE}
"""


async def fail_stuck(
    connection: Connection,
    job_ids: list[int],
    *,
    timeout_seconds: float,
    timeout_seconds_by_model: dict[str, int],
) -> list[EndedJob]:
    """Fail and refund those of the jobs that hang and that nobody else has locked."""
    rows = await connection.fetch(FAIL_STUCK, job_ids, timeout_seconds, timeout_seconds_by_model)
    return [ended_of(row) for row in rows]


NO_TIMEOUT_SECONDS = 1e9


async def fail_hopeless(connection: Connection, job_id: int) -> list[EndedJob]:
    """End this one job if its last lease has lapsed or it is overdue, however long it has worked."""
    return await fail_stuck(
        connection, [job_id], timeout_seconds=NO_TIMEOUT_SECONDS, timeout_seconds_by_model={}
    )


def ended_of(row: asyncpg.Record) -> EndedJob:
    """A row of one of the statements above as a value."""
    return EndedJob(**dict(row))
