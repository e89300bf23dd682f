"""Bans, each by its source: a user is banned while any of theirs is in force.

`users.banned_at` and `banned_until`, which every order is checked against in the statement that
accepts it, are the sum of these rows: without an end if one of them has none, else until the last
of their ends. So nothing has to happen when a ban expires, and an order costs no more than before.
All changes take one lock, because a sum made from another's half-made change would be wrong; bans
are rare.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rei_core.db import Connection

ADMIN: Final = "admin/"
"""Sources of bans by the admins' commands begin so; the user's id follows."""

LOCK_KEY: Final = 0x7265695F62616E73  # "rei_bans"
LOCK: Final = "SELECT pg_advisory_xact_lock($1)"

# The row of a source that moves to another user (an object was made anew under its name) tells
# whom it banned before, so that both are summed up again.
KNOWN = """
SELECT user_id, reason, expires_at
FROM user_bans
WHERE source = $1
"""

PUT = """
INSERT INTO user_bans AS b (source, user_id, reason, expires_at)
SELECT $1, id, $3, $4
FROM users
WHERE id = $2
ON CONFLICT (source) DO UPDATE
SET user_id = excluded.user_id, reason = excluded.reason, expires_at = excluded.expires_at
RETURNING expires_at IS NULL OR expires_at > now() AS in_force
"""

REMOVE = """
DELETE FROM user_bans
WHERE source = $1
RETURNING user_id
"""

SUM_UP = """
UPDATE users
SET banned_at = bans.since, banned_until = bans.until, ban_reason = bans.reason
FROM (
    SELECT min(created_at) AS since,
           CASE WHEN bool_or(expires_at IS NULL) THEN NULL ELSE max(expires_at) END AS until,
           (array_agg(reason ORDER BY expires_at DESC NULLS FIRST, created_at, source))[1]
               AS reason
    FROM user_bans
    WHERE user_id = $1
) AS bans
WHERE id = $1
  AND (banned_at, banned_until, ban_reason) IS DISTINCT FROM (bans.since, bans.until, bans.reason)
"""


@dataclass(frozen=True, slots=True)
class Put:
    """A ban that is there now: is it in force or has it expired, and was it other before."""

    in_force: bool
    changed: bool


async def put(
    connection: Connection, source: str, *, user_id: int, reason: str, expires_at: datetime | None
) -> Put | None:
    """Let `source` ban the user; None if there is no such user."""
    async with connection.transaction():
        await connection.execute(LOCK, LOCK_KEY)
        row = await connection.fetchrow(KNOWN, source)
        known = None if row is None else tuple(row)
        before: int | None = None if row is None else row["user_id"]
        in_force: bool | None = await connection.fetchval(PUT, source, user_id, reason, expires_at)
        if in_force is None:  # whoever this source banned before, it does not mean them any more
            await connection.execute(REMOVE, source)
        for one in {user_id, before} - {None}:
            await connection.execute(SUM_UP, one)
    if in_force is None:
        return None
    return Put(in_force, changed=known != (user_id, reason, expires_at))


async def lift(connection: Connection, source: str) -> int | None:
    """Take back what `source` banned: the user's id, None if it had banned nobody."""
    async with connection.transaction():
        await connection.execute(LOCK, LOCK_KEY)
        user_id: int | None = await connection.fetchval(REMOVE, source)
        if user_id is not None:
            await connection.execute(SUM_UP, user_id)
    return user_id


async def user_of(connection: Connection, source: str) -> int | None:
    """The user whom `source` bans, expired or not; None if it bans nobody."""
    user_id: int | None = await connection.fetchval(KNOWN, source)
    return user_id


SOURCES = """
SELECT source
FROM user_bans
WHERE starts_with(source, $1) AND source > $2
ORDER BY source
LIMIT $3
"""

PAGE: Final = 10_000


async def sources(
    connection: Connection, prefix: str, *, page: int = PAGE
) -> AsyncIterator[list[str]]:
    """All sources that begin so and ban somebody, expired or not, page by page."""
    after = ""
    while rows := await connection.fetch(SOURCES, prefix, after, page):
        yield [row["source"] for row in rows]
        after = rows[-1]["source"]
