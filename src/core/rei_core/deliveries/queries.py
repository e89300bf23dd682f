"""The SQL of deliveries: claimed like jobs, ended once, remembered by message id.

`attempt` is the token that fences; `failures` is what is held against a delivery. A claim counts
as a failure until somebody says otherwise, so that one that kills its process is given up in
the end; waiting for Telegram itself is not held against it.
"""

from __future__ import annotations

import asyncpg

from rei_core.db import Connection
from rei_core.db.text import storable
from rei_core.deliveries.model import Delivery, DeliveryKind

CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id
    FROM deliveries
    WHERE status = 'pending' AND due_at <= now()
    ORDER BY due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE deliveries AS d
SET attempt = d.attempt + 1,
    failures = d.failures + 1,
    due_at = now() + make_interval(secs => $2)
FROM due, users AS u
WHERE d.id = due.id AND u.id = d.user_id
RETURNING d.id, d.kind, d.ref_id, d.user_id, d.chat_id, d.attempt, d.failures, u.language,
          extract(epoch FROM now() - d.created_at)::float8 AS age_seconds
"""


async def claim(connection: Connection, *, limit: int, lease_seconds: float) -> list[Delivery]:
    """Claim up to `limit` due deliveries; unless ended, they are due again after the lease."""
    rows = await connection.fetch(CLAIM, limit, lease_seconds)
    return sorted((delivery_of(row) for row in rows), key=lambda delivery: delivery.id)


# Never sooner than it was: a delivery that was just postponed may still be in the list.
RENEW = """
UPDATE deliveries
SET due_at = greatest(due_at, now() + make_interval(secs => $3))
FROM unnest($1::bigint[], $2::integer[]) AS mine (id, attempt)
WHERE deliveries.id = mine.id AND deliveries.attempt = mine.attempt
  AND deliveries.status = 'pending'
"""


async def renew(
    connection: Connection, deliveries: list[Delivery], *, lease_seconds: float
) -> None:
    """Prolong the leases of what is being sent; those of other attempts stay as they are."""
    ids = [delivery.id for delivery in deliveries]
    attempts = [delivery.attempt for delivery in deliveries]
    await connection.execute(RENEW, ids, attempts, lease_seconds)


DELIVERED = """
UPDATE deliveries
SET status = 'delivered', message_id = $3, finished_at = now(), error_detail = NULL
WHERE id = $1 AND attempt = $2 AND status = 'pending'
RETURNING id
"""


async def delivered(connection: Connection, delivery: Delivery, *, message_id: int) -> bool:
    """Telegram has it; False if another attempt has begun meanwhile."""
    row = await connection.fetchrow(DELIVERED, delivery.id, delivery.attempt, message_id)
    return row is not None


PHOTO_DELIVERED = """
WITH done AS (
    UPDATE deliveries
    SET status = 'delivered', message_id = $3, finished_at = now(), error_detail = NULL
    WHERE id = $1 AND attempt = $2 AND status = 'pending'
    RETURNING ref_id, user_id, chat_id
), remembered AS (
    UPDATE job_outputs
    SET photo_file_id = $4
    FROM done
    WHERE job_id = done.ref_id::bigint
)
INSERT INTO deliveries (kind, ref_id, user_id, chat_id)
SELECT 'original', ref_id, user_id, chat_id
FROM done
ON CONFLICT ON CONSTRAINT deliveries_cause_once DO NOTHING
RETURNING id
"""


async def photo_delivered(
    connection: Connection, delivery: Delivery, *, message_id: int, file_id: str | None
) -> bool:
    """The picture is shown: remember it, and queue the original as a file."""
    row = await connection.fetchrow(
        PHOTO_DELIVERED, delivery.id, delivery.attempt, message_id, file_id
    )  # fmt: skip
    return row is not None


ORIGINAL_DELIVERED = """
WITH done AS (
    UPDATE deliveries
    SET status = 'delivered', message_id = $3, finished_at = now(), error_detail = NULL
    WHERE id = $1 AND attempt = $2 AND status = 'pending'
    RETURNING ref_id
)
UPDATE job_outputs
SET document_file_id = $4, data = NULL
FROM done
WHERE job_id = done.ref_id::bigint
RETURNING job_id
"""


async def original_delivered(
    connection: Connection, delivery: Delivery, *, message_id: int, file_id: str
) -> bool:
    """Telegram holds the original now: keep its file id and let the bytes go."""
    row = await connection.fetchrow(
        ORIGINAL_DELIVERED, delivery.id, delivery.attempt, message_id, file_id
    )  # fmt: skip
    return row is not None


POSTPONE = """
UPDATE deliveries
SET due_at = now() + make_interval(secs => $3),
    error_detail = $4,
    failures = failures - CASE WHEN $5 THEN 0 ELSE 1 END
WHERE id = $1 AND attempt = $2 AND status = 'pending'
"""


async def postpone(
    connection: Connection,
    delivery: Delivery,
    *,
    delay_seconds: float,
    error_detail: str,
    counts: bool = True,
) -> None:
    """Try again after a delay; with `counts=False` the attempt is not held against the delivery."""
    await connection.execute(
        POSTPONE, delivery.id, delivery.attempt, delay_seconds, storable(error_detail), counts
    )


UNDELIVERABLE = """
UPDATE deliveries
SET status = 'undeliverable', finished_at = now(), error_detail = $3
WHERE id = $1 AND attempt = $2 AND status = 'pending'
"""


async def undeliverable(connection: Connection, delivery: Delivery, *, error_detail: str) -> None:
    """Give up: the customer blocked the bot, or every attempt failed. The result stays stored."""
    await connection.execute(UNDELIVERABLE, delivery.id, delivery.attempt, storable(error_detail))


def delivery_of(row: asyncpg.Record) -> Delivery:
    """A row of CLAIM as a value."""
    return Delivery(
        id=row["id"],
        kind=DeliveryKind(row["kind"]),
        ref_id=row["ref_id"],
        user_id=row["user_id"],
        chat_id=row["chat_id"],
        attempt=row["attempt"],
        failures=row["failures"],
        age_seconds=row["age_seconds"],
        language=row["language"],
    )
