"""What is carried over from the database that is put aside, because the backup cannot know it.

**Where numbering stands.** A job that was accepted after the backup has a number that the restored
database would give a second time, to somebody else's job. A worker that is still at the first would
then bring its picture, under a token that fits, to the wrong customer.

**Top-ups** that were begun after the backup. Their money may be at YooKassa, and without a row
nobody could ever be credited with it. Only the question is carried, never the answer: a top-up that
was credited there comes as one that waits, and whoever settles it asks YooKassa, and credits once.
Carrying again changes nothing.

The database that was put aside may be what was wrong. If its top-ups cannot be read, the restore is
over all the same, and says so: the reconciliation then reports their payments as unknown.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from rei_core.db import CUT_OFF, Connection, is_outage
from rei_core.maintenance.backups import snapshot, tools
from rei_core.maintenance.backups.errors import (
    DatabaseUnfit,
    DatabaseUnreachable,
    PaymentsLeftBehind,
)

log = structlog.get_logger(__name__)

PAGE: Final = 500
OVERLAP: Final = timedelta(hours=1)
"""A row's moment is its transaction's beginning: one that was open when the backup was taken is
older than the backup, and not in it."""

BEGUN_SINCE = """
SELECT p.id, p.user_id, p.amount_kopecks, p.currency, p.request_key, p.provider_payment_id,
       p.confirmation_url, p.cancellation_reason, p.chat_id, p.created_at,
       CASE p.status WHEN 'succeeded' THEN 'pending' ELSE p.status END AS status,
       u.username, u.first_name, u.language
FROM payments AS p
JOIN users AS u ON u.id = p.user_id
WHERE p.created_at >= $1 AND (p.created_at, p.id) > ($2::timestamptz, $3::uuid)
ORDER BY p.created_at, p.id
LIMIT $4
"""

PUT_USER = """
WITH arrived AS (
    INSERT INTO users (id, username, first_name, language)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING
)
INSERT INTO balances (user_id)
VALUES ($1)
ON CONFLICT DO NOTHING
"""

PUT_PAYMENT = """
INSERT INTO payments (id, user_id, amount_kopecks, currency, request_key, provider_payment_id,
                      confirmation_url, cancellation_reason, chat_id, created_at, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT DO NOTHING
RETURNING id
"""


async def carry_payments(*, from_url: str, to_url: str, taken_at: datetime) -> int:
    """Carry the top-ups that were begun since the backup was taken; how many there were.

    Raises `DatabaseUnreachable`, which may pass, and `PaymentsLeftBehind`.
    """
    try:
        source = await _connect(from_url)
        try:
            target = await _connect(to_url)
            try:
                carried = await _carry(source, target, since=taken_at - OVERLAP)
            finally:
                target.terminate()
        finally:
            source.terminate()
    except DatabaseUnreachable:
        raise
    except (DatabaseUnfit, asyncpg.PostgresError, *CUT_OFF) as error:
        what = type(error).__name__  # its text may hold a customer's values
        if is_outage(error):
            raise DatabaseUnreachable(
                f"the top-ups were not carried over ({what})", "Is PostgreSQL up? Then try again"
            ) from None
        raise PaymentsLeftBehind(tools.database_of(from_url), what) from None
    if carried:
        log.warning("restore.payments_carried_over", payments=carried)
    return carried


SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename) AS name, last_value
FROM pg_sequences
WHERE last_value IS NOT NULL
ORDER BY 1
"""

ADVANCE = """
SELECT setval(sequence, greatest($2::bigint, coalesce(pg_sequence_last_value(sequence), 0)))
FROM to_regclass($1) AS sequence
WHERE sequence IS NOT NULL
"""


async def carry_numbering(*, from_url: str, to_url: str) -> None:
    """Let the restored database number on from where the living one is; raises `DatabaseUnfit`."""
    source = await _connect(from_url)
    try:
        target = await _connect(to_url)
        try:
            with snapshot.naming_errors(tools.server_of(from_url)):
                for row in await source.fetch(SEQUENCES):
                    await target.execute(ADVANCE, row["name"], row["last_value"])
        finally:
            target.terminate()
    finally:
        source.terminate()


async def _connect(url: str) -> Connection:
    return await snapshot.connect(url, tools.server_of(url), application="rei restore")


async def _carry(source: Connection, target: Connection, *, since: datetime) -> int:
    carried, at, last = 0, since, UUID(int=0)
    while rows := await source.fetch(BEGUN_SINCE, since, at, last, PAGE):
        at, last = rows[-1]["created_at"], rows[-1]["id"]
        async with target.transaction():
            for row in rows:
                # The last three are the customer's; the rest is the top-up, in PUT_PAYMENT's order.
                await target.execute(PUT_USER, row["user_id"], *tuple(row)[-3:])
                carried += await target.fetchval(PUT_PAYMENT, *tuple(row)[:-3]) is not None
    return carried
