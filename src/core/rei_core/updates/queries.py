"""Every Telegram update is handled once.

Telegram repeats an update until it is answered with 200, and order is not guaranteed, so each
`update_id` has a row. `claim` takes a short lease; `done` closes the row once everything the
update caused is committed. A pod that dies in between leaves a lease that lapses, and
Telegram's repeat is handled by another pod. Handlers key what they write by the update's
content, so that a second run after a crash changes nothing more.
"""

from __future__ import annotations

import enum

from rei_core.db import Connection


class Claim(enum.StrEnum):
    """What to do with an update that has just arrived."""

    OURS = "ours"
    """Handle it."""
    DONE = "done"
    """It was handled: answer 200."""
    BUSY = "busy"
    """Somebody is at it: answer 503, Telegram asks again."""


CLAIM = """
INSERT INTO telegram_updates AS u (update_id, lease_until)
VALUES ($1, now() + make_interval(secs => $2))
ON CONFLICT (update_id) DO UPDATE
SET attempt = u.attempt + 1, lease_until = excluded.lease_until
WHERE u.handled_at IS NULL AND u.lease_until < now()
RETURNING attempt
"""


async def claim(
    connection: Connection, update_id: int, *, lease_seconds: float
) -> tuple[Claim, int]:
    """Take an update, with the number of this attempt (1 for the first)."""
    attempt: int | None = await connection.fetchval(CLAIM, update_id, lease_seconds)
    if attempt is not None:
        return Claim.OURS, attempt
    handled: bool | None = await connection.fetchval(
        "SELECT handled_at IS NOT NULL FROM telegram_updates WHERE update_id = $1", update_id
    )
    return (Claim.DONE if handled else Claim.BUSY), 0


async def done(connection: Connection, update_id: int) -> None:
    """The update is handled: answer 200 from now on."""
    await connection.execute(
        "UPDATE telegram_updates SET handled_at = now(), lease_until = NULL WHERE update_id = $1",
        update_id,
    )


RENEW = """
UPDATE telegram_updates
SET lease_until = now() + make_interval(secs => $3)
WHERE update_id = $1 AND attempt = $2 AND handled_at IS NULL
"""


async def renew(
    connection: Connection, update_id: int, *, attempt: int, lease_seconds: float
) -> None:
    """Go on with an update that takes its time; nothing if a later attempt has begun."""
    await connection.execute(RENEW, update_id, attempt, lease_seconds)


RELEASE = """
UPDATE telegram_updates
SET lease_until = now() - interval '1 second',
    attempt = CASE WHEN $3 THEN attempt ELSE greatest(attempt - 1, 1) END
WHERE update_id = $1 AND attempt = $2 AND handled_at IS NULL
"""


async def release(
    connection: Connection, update_id: int, *, attempt: int, counts: bool = True
) -> None:
    """Handling failed: let the next repeat try at once; nothing if a later attempt has begun.

    With `counts=False` the attempt is not held against the update: something that it leans on
    was away.
    """
    await connection.execute(RELEASE, update_id, attempt, counts)


FORGET = """
DELETE FROM telegram_updates
WHERE update_id IN (
    SELECT update_id FROM telegram_updates
    WHERE received_at < now() - make_interval(secs => $1)
    ORDER BY received_at
    LIMIT $2
)
"""


async def forget(connection: Connection, *, older_than_seconds: float, limit: int) -> int:
    """Remove old rows (Telegram repeats for 24 h at the most); how many went."""
    return int((await connection.execute(FORGET, older_than_seconds, limit)).split()[-1])


REGISTRATION_LOCK_KEY = 0x7265695F686F6F6B  # "rei_hook"


async def try_lock_registration(connection: Connection) -> bool:
    """Become the one pod that tells Telegram where updates go, until the transaction ends."""
    locked: bool = await connection.fetchval(
        "SELECT pg_try_advisory_xact_lock($1)", REGISTRATION_LOCK_KEY
    )
    return locked
