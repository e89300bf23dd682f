"""One batch of each thing that is removed when it is old. What moves money is never among it.

Each statement takes ($1 days, $2 and $3 where the last batch ended, $4 how many rows, $5 whether to
remove or only to count), reads at most $4 rows by an index, from where the last batch ended, and
gives one row: how many it read, how many of them may go, where it ended, whether there is more.

Reading on by key, rather than "the oldest again", is what keeps a batch small: the entries of what
was removed stay in the index until they are cleaned up, for hours while a backup reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rei_core.db import Connection

# Follows the CTEs `old` (id, at) and `doomed` (id).
_TOLD: Final = """
SELECT (SELECT count(*) FROM old) AS examined,
       (SELECT count(*) FROM doomed) AS doomed,
       last.at AS last_at,
       last.id AS last_id,
       (SELECT count(*) FROM old) = $4 AS more
FROM (SELECT 1) AS one
LEFT JOIN (SELECT at, id FROM old ORDER BY at DESC, id DESC LIMIT 1) AS last ON true
"""

# A finished job may go when nothing leans on it any more:
#  - its draft is gone: the job is what makes a second press of "Draw" find the first order;
#  - nothing about it waits to be delivered;
#  - the ledger says how it ended, with its price: what does not add up stays, for the audit and for
#    the person who looks into it.
# The ledger keeps its transfers, and the audit asks from the job to the transfer, so it misses
# nothing when both ends agree and one is removed. The bytes go with the job (ON DELETE CASCADE).
#
# OFFSET 0 makes each of them a look by the index for one row. Without it the planner, which expects
# next to nothing to be pending, reads everything that is pending for each job: after an outage of
# Telegram's a batch would take minutes.
JOBS = f"""
WITH old AS MATERIALIZED (
    SELECT id, finished_at AS at, user_id, idempotency_key, price_kopecks
    FROM jobs
    WHERE status = $6
      AND finished_at < now() - make_interval(days => $1)
      AND (finished_at, id) > (coalesce($2::timestamptz, '-infinity'), $3::bigint)
    ORDER BY finished_at, id
    LIMIT $4
), doomed AS MATERIALIZED (
    SELECT old.id
    FROM old
    JOIN transfers AS t
      ON t.kind = $7 AND t.ref_type = 'job' AND t.ref_id = old.id::text
    WHERE t.amount_kopecks = old.price_kopecks AND t.user_id = old.user_id
      AND NOT EXISTS (
          SELECT FROM (
              SELECT d.status
              FROM deliveries AS d
              WHERE d.kind IN ('result', 'original', 'job_failed') AND d.ref_id = old.id::text
              OFFSET 0
          ) AS told
          WHERE told.status = 'pending'
      )
      AND NOT EXISTS (
          SELECT FROM (
              SELECT drafts.id FROM drafts WHERE drafts.user_id = old.user_id OFFSET 0
          ) AS card
          WHERE 'draft:' || card.id = old.idempotency_key
      )
), gone AS (
    DELETE FROM jobs
    USING doomed
    WHERE jobs.id = doomed.id AND NOT $5
)
{_TOLD}
"""

OUTPUTS = f"""
WITH old AS MATERIALIZED (
    SELECT job_id AS id, stored_at AS at
    FROM job_outputs
    WHERE data IS NOT NULL
      AND stored_at < now() - make_interval(days => $1)
      AND (stored_at, job_id) > (coalesce($2::timestamptz, '-infinity'), $3::bigint)
    ORDER BY stored_at, job_id
    LIMIT $4
), doomed AS MATERIALIZED (
    SELECT old.id
    FROM old
    WHERE NOT EXISTS (
        SELECT FROM (
            SELECT d.status
            FROM deliveries AS d
            WHERE d.kind IN ('result', 'original') AND d.ref_id = old.id::text
            OFFSET 0
        ) AS told
        WHERE told.status = 'pending'
    )
), gone AS (
    UPDATE job_outputs
    SET data = NULL
    FROM doomed
    WHERE job_outputs.job_id = doomed.id AND NOT $5
)
{_TOLD}
"""

# By their primary key, which ages like `created_at`: no index on a busy table for this alone. All
# rows from the front are read, but no more than the batch beyond those that are old. $2 is not
# needed, and has to be mentioned: a statement must use all of its parameters.
DELIVERIES = """
WITH read AS MATERIALIZED (
    SELECT id, created_at, finished_at
    FROM deliveries
    WHERE id > $3::bigint AND $2::timestamptz IS NULL
    ORDER BY id
    LIMIT $4
), old AS MATERIALIZED (
    SELECT id, created_at AS at, finished_at
    FROM read
    WHERE created_at < now() - make_interval(days => $1)
), doomed AS MATERIALIZED (
    SELECT id
    FROM old
    WHERE finished_at < now() - make_interval(days => $1)
), gone AS (
    DELETE FROM deliveries
    USING doomed
    WHERE deliveries.id = doomed.id AND NOT $5
)
SELECT (SELECT count(*) FROM old) AS examined,
       (SELECT count(*) FROM doomed) AS doomed,
       NULL::timestamptz AS last_at,
       (SELECT max(id) FROM read) AS last_id,
       (SELECT count(*) FROM read) = $4 AND EXISTS (SELECT FROM old) AS more
"""

UPDATES = f"""
WITH old AS MATERIALIZED (
    SELECT update_id AS id, received_at AS at
    FROM telegram_updates
    WHERE received_at < now() - make_interval(days => $1)
      AND (received_at, update_id) > (coalesce($2::timestamptz, '-infinity'), $3::bigint)
    ORDER BY received_at, update_id
    LIMIT $4
), doomed AS MATERIALIZED (
    SELECT id FROM old
), gone AS (
    DELETE FROM telegram_updates
    USING doomed
    WHERE update_id = doomed.id AND NOT $5
)
{_TOLD}
"""

DRAFTS = f"""
WITH old AS MATERIALIZED (
    SELECT id, created_at AS at
    FROM drafts
    WHERE created_at < now() - make_interval(days => $1)
      AND (created_at, id) > (coalesce($2::timestamptz, '-infinity'), $3::bigint)
    ORDER BY created_at, id
    LIMIT $4
), doomed AS MATERIALIZED (
    SELECT id FROM old
), gone AS (
    DELETE FROM drafts
    USING doomed
    WHERE drafts.id = doomed.id AND NOT $5
)
{_TOLD}
"""

# The latest run of each resource stays, however old: it says that its moment has been served.
RUNS = f"""
WITH old AS MATERIALIZED (
    SELECT id, finished_at AS at, kind, namespace, name, scheduled_for
    FROM maintenance_runs
    WHERE finished_at < now() - make_interval(days => $1)
      AND (finished_at, id) > (coalesce($2::timestamptz, '-infinity'), $3::bigint)
    ORDER BY finished_at, id
    LIMIT $4
), doomed AS MATERIALIZED (
    SELECT old.id
    FROM old
    WHERE EXISTS (
        SELECT FROM maintenance_runs AS later
        WHERE (later.kind, later.namespace, later.name) = (old.kind, old.namespace, old.name)
          AND later.scheduled_for > old.scheduled_for
    )
), gone AS (
    DELETE FROM maintenance_runs
    USING doomed
    WHERE maintenance_runs.id = doomed.id AND NOT $5
)
{_TOLD}
"""


@dataclass(frozen=True, slots=True)
class Sort:
    """Something that is removed when it is older than `days`. `extra` is $6 and on."""

    what: str
    sql: str
    days: int
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch read, and how many of that went (or would go); the next begins after it."""

    examined: int = 0
    doomed: int = 0
    last_at: datetime | None = None
    last_id: int | None = None
    more: bool = True


START = Batch(last_id=-(2**63))


async def remove_batch(
    connection: Connection, sort: Sort, *, after: Batch, limit: int, dry_run: bool
) -> Batch:
    """Remove the next old rows, or only count them."""
    row = await connection.fetchrow(
        sort.sql, sort.days, after.last_at, after.last_id, limit, dry_run, *sort.extra
    )
    assert row is not None
    return Batch(**dict(row))
