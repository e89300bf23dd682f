"""The SQL about users."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from rei_core.db import Connection
from rei_core.db.text import without_nul
from rei_core.users import ban_queries
from rei_core.users.model import Language, User

# One round trip for what starts every update: register or refresh the user, open the balance,
# read both. The unchanged case writes nothing (seen_at moves once an hour at the most).
SEE = """
WITH seen AS (
    INSERT INTO users (id, username, first_name, language)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE
    SET username = excluded.username,
        first_name = excluded.first_name,
        language = CASE WHEN users.language_chosen THEN users.language
                        ELSE excluded.language END,
        seen_at = now()
    WHERE users.username IS DISTINCT FROM excluded.username
       OR users.first_name <> excluded.first_name
       OR (NOT users.language_chosen AND users.language <> excluded.language)
       OR users.seen_at < now() - interval '1 hour'
    RETURNING *
), opened AS (
    INSERT INTO balances (user_id)
    SELECT id FROM seen
    ON CONFLICT DO NOTHING
)
SELECT u.*, coalesce(b.balance_kopecks, 0) AS balance_kopecks,
       coalesce(b.active_jobs, 0) AS active_jobs,
       u.banned_at IS NOT NULL AND coalesce(u.banned_until > now(), true) AS banned
FROM (
    SELECT * FROM seen
    UNION ALL
    SELECT * FROM users WHERE id = $1 AND NOT EXISTS (SELECT FROM seen)
) AS u
LEFT JOIN balances AS b ON b.user_id = u.id
"""


async def see(
    connection: Connection,
    user_id: int,
    *,
    username: str | None = None,
    first_name: str = "",
    language: Language = "ru",
) -> User:
    """Register or refresh a user and return what we know of them."""
    name = None if username is None else without_nul(username)
    arguments = (user_id, name, without_nul(first_name), language)
    row = await connection.fetchrow(SEE, *arguments)
    if row is None:
        # Somebody else inserted the row after this statement began, and left nothing to change:
        # only a new snapshot shows it.
        row = await connection.fetchrow(SEE, *arguments)
    assert row is not None
    return user_of(row)


FIND = """
SELECT u.*, b.balance_kopecks, b.active_jobs,
       u.banned_at IS NOT NULL AND coalesce(u.banned_until > now(), true) AS banned
FROM users AS u
JOIN balances AS b ON b.user_id = u.id
WHERE u.id = $1
"""


async def find(connection: Connection, user_id: int) -> User | None:
    """The user, or None."""
    row = await connection.fetchrow(FIND, user_id)
    return None if row is None else user_of(row)


async def choose_language(connection: Connection, user_id: int, language: Language) -> None:
    """Fix the language, whatever Telegram says from now on."""
    await connection.execute(
        "UPDATE users SET language = $2, language_chosen = true WHERE id = $1", user_id, language
    )


async def choose_model(connection: Connection, user_id: int, model: str) -> None:
    """Remember the model that new orders start with."""
    await connection.execute("UPDATE users SET model = $2 WHERE id = $1", user_id, model)


async def await_answer(connection: Connection, user_id: int, question: str | None) -> None:
    """Remember what the user's next text answers; None: nothing."""
    await connection.execute("UPDATE users SET awaiting = $2 WHERE id = $1", user_id, question)


async def ban(
    connection: Connection, user_id: int, *, until: datetime | None, reason: str
) -> bool:  # fmt: skip
    """Ban until a time or for good, as an admin; False if there is no such user."""
    source = f"{ban_queries.ADMIN}{user_id}"
    put = await ban_queries.put(
        connection, source, user_id=user_id, reason=reason, expires_at=until
    )
    return put is not None


async def unban(connection: Connection, user_id: int) -> bool:
    """Lift the admins' ban; False if there is no such user. Bans of other sources stay."""
    await ban_queries.lift(connection, f"{ban_queries.ADMIN}{user_id}")
    return await find(connection, user_id) is not None


def user_of(row: asyncpg.Record) -> User:
    """A row of FIND or SEE as a value."""
    return User(
        id=row["id"],
        username=row["username"],
        first_name=row["first_name"],
        language=row["language"],
        model=row["model"],
        awaiting=row["awaiting"],
        banned=row["banned"],
        banned_until=row["banned_until"],
        ban_reason=row["ban_reason"],
        balance_kopecks=row["balance_kopecks"],
        active_jobs=row["active_jobs"],
    )
