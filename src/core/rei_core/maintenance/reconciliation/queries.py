"""Which payments and refunds still wait for their end, and which of the provider's we know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rei_core.db import Connection
from rei_core.payments.model import Payment
from rei_core.payments.queries import payment_of

NOW = "SELECT now()"


async def now(connection: Connection) -> datetime:
    """The database's clock, the only one that all processes share."""
    value: datetime = await connection.fetchval(NOW)
    return value


OPEN = """
SELECT *
FROM payments
WHERE status IN ('created', 'pending') AND provider_payment_id IS NOT NULL
  AND created_at < $1
  AND (created_at, id) > (coalesce($2::timestamptz, '-infinity'), $3)
ORDER BY created_at, id
LIMIT $4
"""
NO_ID = UUID(int=0)


async def open_payments(
    connection: Connection, *, created_before: datetime, after: Payment | None, limit: int
) -> list[Payment]:
    """The next payments that the provider knows and that have not ended here, oldest first."""
    rows = await connection.fetch(
        OPEN,
        created_before,
        None if after is None else after.created_at,
        NO_ID if after is None else after.id,
        limit,
    )
    return [payment_of(row) for row in rows]


UNANSWERED = """
SELECT *
FROM payments
WHERE status = 'created' AND provider_payment_id IS NULL
  AND created_at < $1 AND created_at >= $2
ORDER BY created_at, id
LIMIT $3
"""


async def unanswered(
    connection: Connection, *, created_before: datetime, created_since: datetime, limit: int
) -> list[Payment]:
    """Payments whose creation the provider never answered, oldest first."""
    rows = await connection.fetch(UNANSWERED, created_before, created_since, limit)
    return [payment_of(row) for row in rows]


# A customer who asks again meanwhile, and pays, is credited all the same: only what has succeeded
# is closed to a credit. Nobody is told, since nobody was ever shown a way to pay.
CLOSE = """
UPDATE payments
SET status = 'canceled', cancellation_reason = 'never_created'
WHERE id = ANY($1::uuid[]) AND status = 'created' AND provider_payment_id IS NULL
RETURNING id
"""


async def close_never_created(connection: Connection, payment_ids: Sequence[UUID]) -> int:
    """Close payments that the provider has never heard of; how many."""
    return len(await connection.fetch(CLOSE, payment_ids))


@dataclass(frozen=True, slots=True)
class PendingRefund:
    """A refund that is debited here and not finished."""

    id: UUID
    payment_id: UUID
    operation_id: str
    amount_kopecks: int
    created_at: datetime


PENDING_REFUNDS = """
SELECT id, payment_id, operation_id, amount_kopecks, created_at
FROM payment_refunds
WHERE status = 'pending' AND created_at < $1
ORDER BY created_at, id
LIMIT $2
"""


async def pending_refunds(
    connection: Connection, *, created_before: datetime, limit: int
) -> list[PendingRefund]:
    """Refunds that still wait for their end, oldest first."""
    rows = await connection.fetch(PENDING_REFUNDS, created_before, limit)
    return [
        PendingRefund(
            id=UUID(str(row["id"])),
            payment_id=UUID(str(row["payment_id"])),
            operation_id=row["operation_id"],
            amount_kopecks=row["amount_kopecks"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


# By the provider's id, or by ours if the row does not know the provider's.
KNOWN = """
SELECT *
FROM payments
WHERE provider_payment_id = ANY($1)
UNION ALL
SELECT *
FROM payments
WHERE id = ANY($2::uuid[]) AND provider_payment_id IS NULL
"""


async def known(
    connection: Connection, *, provider_ids: Sequence[str], our_ids: Sequence[UUID]
) -> list[Payment]:
    """Our rows of these payments of the provider's."""
    rows = await connection.fetch(KNOWN, provider_ids, our_ids)
    return [payment_of(row) for row in rows]


# Of payments that are credited here; a refund of another shop's, or of one that is lost, is none
# of this ledger's.
UNBOOKED = """
SELECT told.refund_id
FROM unnest($1::text[], $2::text[]) AS told (refund_id, payment_id)
JOIN payments AS p
  ON p.provider_payment_id = told.payment_id AND p.status = 'succeeded'
WHERE NOT EXISTS (
    SELECT FROM payment_refunds AS r
    WHERE r.provider_refund_id = told.refund_id AND r.status <> 'failed'
)
"""


async def unbooked(
    connection: Connection, *, refund_ids: Sequence[str], payment_ids: Sequence[str]
) -> set[str]:
    """Which of these refunds of the provider's (by id, and of which payment) no row explains."""
    return {row["refund_id"] for row in await connection.fetch(UNBOOKED, refund_ids, payment_ids)}
