"""The messages that customers wait for, in numbers; read from an index that holds nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from rei_core.db import Connection


@dataclass(frozen=True, slots=True)
class DeliveryBacklog:
    """How many are not delivered, and for how many seconds the first of them has been due.

    One that is being sent is due at the end of its lease, one that failed at its next attempt.
    """

    pending: int
    overdue_seconds: float


BACKLOG = """
SELECT count(*) AS pending,
       greatest(coalesce(extract(epoch FROM now() - min(due_at)), 0), 0)::float8 AS overdue_seconds
FROM deliveries
WHERE status = 'pending'
"""


async def backlog(connection: Connection) -> DeliveryBacklog:
    """The backlog now."""
    row = await connection.fetchrow(BACKLOG)
    assert row is not None
    return DeliveryBacklog(row["pending"], row["overdue_seconds"])
