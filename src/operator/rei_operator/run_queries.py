"""What PostgreSQL knows about a resource, for its next decision."""

from __future__ import annotations

from datetime import datetime

from rei_core.db import Connection
from rei_core.maintenance.backups.databases import marked
from rei_operator.kinds.restore import Done

NOW = "SELECT now()"


async def now(connection: Connection) -> datetime:
    """The database's clock, the only one that all processes share."""
    value: datetime = await connection.fetchval(NOW)
    return value


async def restore_done(connection: Connection, operation: str, *, database: str) -> Done | None:
    """What the restore of this operation into (or in place of) `database` has left, if it is there."""
    found = await marked(connection, database, operation)
    if found is None or found[1].state == "begun":
        return None
    name, mark = found
    return Done(name, mark.kept_as, mark.safety_backup_id, complete=mark.state == "done")
