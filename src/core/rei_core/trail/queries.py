"""The trail's SQL. It is append-only; whoever does something writes its row in the same transaction."""

from __future__ import annotations

import asyncpg

from rei_core.db import Connection
from rei_core.errors import OperationConflict
from rei_core.trail.model import Action, Actor, Done, Word

RECORD = """
INSERT INTO admin_actions (operation_id, word, actor, via, user_id, subject, amount_kopecks, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT admin_actions_once DO NOTHING
RETURNING id
"""


async def record(connection: Connection, action: Action) -> bool:
    """Write the action down; False if the same was done before under its operation id.

    A twin that is at it is waited for. Raises `OperationConflict` if the id names something else.
    Who asks is no part of what is asked: two admins may answer one ticket.
    """
    written = await connection.fetchval(
        RECORD,
        action.operation_id,
        action.word,
        action.actor.name,
        action.actor.via,
        action.user_id,
        action.subject,
        action.amount_kopecks,
        action.reason,
    )
    if written is not None:
        return True
    known = await find(connection, action.operation_id)
    assert known is not None
    if _content(known.action) != _content(action):
        raise OperationConflict(action.operation_id)
    return False


def _content(action: Action) -> tuple[object, ...]:
    return action.word, action.user_id, action.subject, action.amount_kopecks, action.reason


FIND = """
SELECT *
FROM admin_actions
WHERE operation_id = $1
"""


async def find(connection: Connection, operation_id: str) -> Done | None:
    """What was done under this id."""
    row = await connection.fetchrow(FIND, operation_id)
    return None if row is None else done_of(row)


LOG = """
SELECT *
FROM admin_actions
WHERE ($1::bigint IS NULL OR user_id = $1)
ORDER BY id DESC
LIMIT $2
"""


async def log(connection: Connection, *, user_id: int | None = None, limit: int = 20) -> list[Done]:
    """What was done, the newest first; to one user, or to all."""
    return [done_of(row) for row in await connection.fetch(LOG, user_id, limit)]


def done_of(row: asyncpg.Record) -> Done:
    """A row of `admin_actions` as a value."""
    action = Action(
        operation_id=row["operation_id"],
        word=Word(row["word"]),
        actor=Actor(row["actor"], row["via"]),
        user_id=row["user_id"],
        subject=row["subject"],
        amount_kopecks=row["amount_kopecks"],
        reason=row["reason"],
    )
    return Done(row["id"], action, row["created_at"])
