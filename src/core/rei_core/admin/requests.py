"""What an admin has asked the bot for and has to confirm. A request changes nothing.

It is kept in the database: a button holds 64 bytes, and what is confirmed has to be what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from rei_core.db import Connection
from rei_core.trail.model import Word

FRESH_MINUTES: Final = 15
"""Later nobody remembers what the button under an old message was about."""
KEPT_DAYS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Something that is done under `operation_id` once its admin confirms it.

    `amount_kopecks` is what it changes about the user's balance; `subject` the payment of a refund.
    """

    operation_id: str
    admin_id: int
    word: Word
    user_id: int
    reason: str
    subject: str = ""
    amount_kopecks: int | None = None
    fresh: bool = True


ASK = """
INSERT INTO admin_requests (operation_id, admin_id, word, user_id, subject, amount_kopecks, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (operation_id) DO NOTHING
"""

FORGET_OLD = """
DELETE FROM admin_requests
WHERE created_at < now() - make_interval(days => $1)
"""


async def ask(connection: Connection, request: Request) -> None:
    """Remember the request; what was asked under this id before stays. Old ones go."""
    await connection.execute(FORGET_OLD, KEPT_DAYS)
    await connection.execute(
        ASK,
        request.operation_id,
        request.admin_id,
        request.word,
        request.user_id,
        request.subject,
        request.amount_kopecks,
        request.reason,
    )


FIND = """
SELECT operation_id, admin_id, word, user_id, subject, amount_kopecks, reason,
       created_at > now() - make_interval(mins => $3) AS fresh
FROM admin_requests
WHERE operation_id = $1 AND admin_id = $2
"""


async def find(connection: Connection, operation_id: str, *, admin_id: int) -> Request | None:
    """What this admin has asked under this id."""
    row = await connection.fetchrow(FIND, operation_id, admin_id, FRESH_MINUTES)
    return None if row is None else _request_of(row)


async def drop(connection: Connection, operation_id: str, *, admin_id: int) -> None:
    """The admin has thought better of it."""
    await connection.execute(
        "DELETE FROM admin_requests WHERE operation_id = $1 AND admin_id = $2",
        operation_id,
        admin_id,
    )


def _request_of(row: asyncpg.Record) -> Request:
    return Request(**dict(row) | {"word": Word(row["word"])})
