"""The SQL of runs: begun by compare-and-set, fenced by `attempt`, kept alive by a lease.

`only_one` is an advisory lock on the connection that the run works with. A process that dies lets
go of it at once, one whose node vanishes when the server misses its answers; and a process that
lost the lock has lost the connection, so it can write nothing more with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from rei_core.db import Connection, is_lost
from rei_core.db.text import storable
from rei_core.maintenance.model import Json, RunResult
from rei_core.maintenance.runs.model import Run, RunBusy, RunKey, RunStatus

# A peer that is silent for a minute is gone: otherwise the lock of a node that vanished would
# stand for the two hours that TCP waits by default.
WATCH_THE_PEER = """
SELECT set_config('tcp_keepalives_idle', '20', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '4', false),
       set_config('tcp_user_timeout', '60000', false)
"""
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"


@asynccontextmanager
async def only_one(connection: Connection, key: RunKey) -> AsyncIterator[None]:
    """Be the only one who runs this resource; raises `RunBusy` if somebody else does."""
    await connection.execute(WATCH_THE_PEER)
    try:
        locked = await connection.fetchval(TRY_LOCK, key.lock_name)
    except BaseException:
        connection.terminate()  # it may have got the lock at the last moment
        raise
    if not locked:
        raise RunBusy(key)
    try:
        yield
    finally:
        if not is_lost(connection):
            try:
                await connection.execute(UNLOCK, key.lock_name)
            except BaseException:
                connection.terminate()  # no connection goes back to the pool with the lock
                raise


# An earlier run whose process died is over when the next one begins; and one that has killed its
# process over and over is not tried for ever.
ABANDON = """
UPDATE maintenance_runs
SET status = 'failed', finished_at = now(), lease_until = NULL,
    error = CASE WHEN scheduled_for = $4 THEN 'every process that tried this run died'
                 ELSE 'the process that ran this died; a later run took its place' END
WHERE kind = $1 AND namespace = $2 AND name = $3 AND status = 'running' AND lease_until < now()
  AND (scheduled_for < $4 OR (scheduled_for = $4 AND attempt >= $5))
"""

BEGIN = """
INSERT INTO maintenance_runs AS r (kind, namespace, name, scheduled_for, owner, lease_until)
SELECT $1, $2, $3, $4, $5, now() + make_interval(secs => $6)
WHERE NOT EXISTS (
    SELECT FROM maintenance_runs
    WHERE kind = $1 AND namespace = $2 AND name = $3 AND status = 'running'
      AND lease_until >= now()
)
ON CONFLICT ON CONSTRAINT maintenance_runs_once DO UPDATE
SET attempt = r.attempt + 1, owner = excluded.owner, lease_until = excluded.lease_until
WHERE r.status = 'running' AND r.lease_until < now()
RETURNING r.*
"""

ATTEMPTS_MAX = 10


async def begin(
    connection: Connection, key: RunKey, *, owner: str, lease_seconds: float
) -> Run | None:
    """Write the intent, or take over a run whose lease lapsed; under `only_one`.

    None if there is nothing to begin: this run has ended, or a run of this resource has a lease
    that stands.
    """
    async with connection.transaction():
        await connection.execute(ABANDON, *_key(key), ATTEMPTS_MAX)
        row = await connection.fetchrow(BEGIN, *_key(key), owner, lease_seconds)
    return None if row is None else run_of(row)


FIND = """
SELECT *
FROM maintenance_runs
WHERE kind = $1 AND namespace = $2 AND name = $3 AND scheduled_for = $4
"""


async def find(connection: Connection, key: RunKey) -> Run | None:
    """The run of this key, or None."""
    row = await connection.fetchrow(FIND, *_key(key))
    return None if row is None else run_of(row)


# A run that was asked for with next year's date is due next year, and has ended long ago: it must
# not stand in front of all others until then. Such runs are few, and come by the order of their
# beginning.
LATEST = """
SELECT *
FROM (
    (SELECT *
     FROM maintenance_runs
     WHERE kind = $1 AND namespace = $2 AND name = $3
       AND scheduled_for <= now() + interval '1 hour'
     ORDER BY scheduled_for DESC
     LIMIT $4)
    UNION ALL
    (SELECT *
     FROM maintenance_runs
     WHERE kind = $1 AND namespace = $2 AND name = $3
       AND scheduled_for > now() + interval '1 hour'
     ORDER BY id DESC
     LIMIT $4)
) AS known
ORDER BY scheduled_for > now() + interval '1 hour', scheduled_for DESC
"""


async def latest(
    connection: Connection, *, kind: str, namespace: str, name: str, limit: int = 1
) -> list[Run]:
    """The runs of a resource, the latest due first: from these its status can be told again.

    At most `limit` that have been due, and after them as many that were asked for with a date that
    lies ahead.
    """
    rows = await connection.fetch(LATEST, kind, namespace, name, limit)
    return [run_of(row) for row in rows]


RENEW = """
UPDATE maintenance_runs
SET lease_until = now() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND status = 'running'
"""


async def renew(connection: Connection, run: Run, *, lease_seconds: float) -> bool:
    """Prolong the lease (0 ends it); False if the run is not ours any more."""
    done = await connection.execute(RENEW, run.id, run.attempt, lease_seconds)
    return done == "UPDATE 1"


ADVANCE = """
UPDATE maintenance_runs
SET result = $3
WHERE id = $1 AND attempt = $2 AND status = 'running'
"""


async def advance(connection: Connection, run: Run, result: RunResult) -> bool:
    """Remember how far the run is; False if it is not ours any more."""
    done = await connection.execute(ADVANCE, run.id, run.attempt, result.document())
    return done == "UPDATE 1"


REMEMBER = """
UPDATE maintenance_runs
SET detail = $3
WHERE id = $1 AND attempt = $2 AND status = 'running'
"""


async def remember(connection: Connection, run: Run, detail: Json) -> bool:
    """Remember what the run is about to do; False if it is not ours any more."""
    done = await connection.execute(REMEMBER, run.id, run.attempt, detail)
    return done == "UPDATE 1"


FINISH = """
UPDATE maintenance_runs
SET status = CASE WHEN $5::text IS NULL THEN 'succeeded' ELSE 'failed' END,
    finished_at = now(), lease_until = NULL, result = $3, detail = $4, error = $5
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING *
"""


async def finish(
    connection: Connection, run: Run, *, result: RunResult, detail: Json, error: str | None = None
) -> Run | None:
    """End the run, as failed if there is an error; None if it is not ours any more."""
    text = None if error is None else storable(error)
    row = await connection.fetchrow(FINISH, run.id, run.attempt, result.document(), detail, text)
    return None if row is None else run_of(row)


def run_of(row: asyncpg.Record) -> Run:
    """A row of `maintenance_runs` as a value."""
    return Run(
        id=row["id"],
        key=RunKey(row["kind"], row["namespace"], row["name"], row["scheduled_for"]),
        status=RunStatus(row["status"]),
        attempt=row["attempt"],
        owner=row["owner"],
        result=RunResult.of(row["result"]),
        detail=row["detail"],
        error=row["error"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _key(key: RunKey) -> tuple[Any, ...]:
    return key.kind, key.namespace, key.name, key.scheduled_for
