"""The rows of the report, in its order."""

from __future__ import annotations

from rei_bench.plan import Row
from rei_bench.rows.accept import ROW as ACCEPT
from rei_bench.rows.backup import ROW as BACKUP
from rei_bench.rows.end_to_end import ROW as END_TO_END
from rei_bench.rows.full_tables import ROW as FULL_TABLES
from rei_bench.rows.many_calls import ROW as MANY_CALLS
from rei_bench.rows.notification import ROW as NOTIFICATION
from rei_bench.rows.objects import ROW as OBJECTS
from rei_bench.rows.retention import ROW as RETENTION
from rei_bench.rows.second_worker import ROW as SECOND_WORKER
from rei_bench.rows.stuck_jobs import ROW as STUCK_JOBS
from rei_bench.rows.update import ROW as UPDATE

ROWS: tuple[Row, ...] = (
    ACCEPT,
    MANY_CALLS,
    END_TO_END,
    SECOND_WORKER,
    NOTIFICATION,
    UPDATE,
    FULL_TABLES,
    STUCK_JOBS,
    RETENTION,
    BACKUP,
    OBJECTS,
)
