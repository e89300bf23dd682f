"""What PostgreSQL knows about a resource, for its next decision."""

from __future__ import annotations

from datetime import datetime

from rei_core.db import Connection
from rei_core.maintenance.backups.databases import MARK
from rei_operator.kinds.restore import Done

NOW = "SELECT now()"


async def now(connection: Connection) -> datetime:
    """The database's clock, the only one that all processes share."""
    value: datetime = await connection.fetchval(NOW)
    return value


# A restore in place leaves its mark on the database that it made. Another restore since has put
# that database aside under another name, with its mark: so all databases are looked at.
MARKS = """
SELECT datname, shobj_description(oid, 'pg_database') AS comment
FROM pg_database
WHERE starts_with(shobj_description(oid, 'pg_database'), 'Rei: restore ' || $1 || ' ')
ORDER BY datname
LIMIT 10
"""


async def restore_done(connection: Connection, operation: str) -> Done | None:
    """What the restore of this operation left, if it is done."""
    for row in await connection.fetch(MARKS, operation):
        mark = MARK.fullmatch(row["comment"])
        if mark is not None and mark["operation"] == operation and mark["state"] == "done":
            return Done(row["datname"], mark["kept_as"], mark["safety_backup_id"])
    return None
