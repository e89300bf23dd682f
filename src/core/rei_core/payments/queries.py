"""The SQL about payments and their refunds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg

from rei_core.db import Connection, is_lost
from rei_core.errors import PaymentOutcomeUnknown
from rei_core.payments.model import Payment, PaymentStatus, Refund

OPEN = """
WITH opened AS (
    INSERT INTO payments (id, user_id, amount_kopecks, request_key, chat_id)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT ON CONSTRAINT payments_request_once DO NOTHING
    RETURNING *
)
SELECT * FROM opened
UNION ALL
SELECT * FROM payments
WHERE user_id = $2 AND request_key = $4 AND NOT EXISTS (SELECT FROM opened)
"""


async def open_payment(
    connection: Connection,
    payment_id: UUID,
    *,
    user_id: int,
    amount_kopecks: int,
    request_key: str,
    chat_id: int,
) -> Payment | None:
    """Insert the row before the provider is called; a repeated request finds the first row.

    None if that row is being inserted right now by somebody else: ask again.
    """
    row = await connection.fetchrow(
        OPEN, payment_id, user_id, amount_kopecks, request_key, chat_id
    )  # fmt: skip
    return None if row is None else payment_of(row)


MARK_PENDING = """
UPDATE payments
SET status = CASE WHEN status = 'created' THEN 'pending' ELSE status END,
    provider_payment_id = $2,
    confirmation_url = coalesce($3, confirmation_url)
WHERE id = $1 AND (provider_payment_id IS NULL OR provider_payment_id = $2)
RETURNING *
"""


async def mark_pending(
    connection: Connection,
    payment_id: UUID,
    *,
    provider_payment_id: str,
    confirmation_url: str | None,
) -> Payment | None:
    """Remember the provider's id; None if the row already has another one."""
    row = await connection.fetchrow(MARK_PENDING, payment_id, provider_payment_id, confirmation_url)
    return None if row is None else payment_of(row)


# The status is the guard (one UPDATE finds the row, all others nothing), the transfer's unique
# cause the second, the CHECK on the balance the third. All in one statement: a crash leaves
# either everything or nothing.
CREDIT = """
WITH payment AS (
    UPDATE payments
    SET status = 'succeeded', settled_at = now(), provider_payment_id = $2,
        cancellation_reason = NULL
    WHERE id = $1
      AND status <> 'succeeded'
      AND amount_kopecks = $3
      AND currency = $4
      AND (provider_payment_id IS NULL OR provider_payment_id = $2)
    RETURNING *
), account AS (
    UPDATE balances AS b
    SET balance_kopecks = b.balance_kopecks + payment.amount_kopecks
    FROM payment
    WHERE b.user_id = payment.user_id
    RETURNING b.balance_kopecks
), credited AS (
    INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                           amount_kopecks, balance_after_kopecks)
    SELECT 'topup', 'payment', payment.id::text, payment.user_id, 'payments', 'user',
           payment.amount_kopecks, account.balance_kopecks
    FROM payment, account
), announced AS (
    INSERT INTO deliveries (kind, ref_id, user_id, chat_id)
    SELECT 'payment_credited', id::text, user_id, chat_id
    FROM payment
)
SELECT payment.* FROM payment, account
"""


async def credit(
    connection: Connection,
    payment_id: UUID,
    *,
    provider_payment_id: str,
    amount_kopecks: int,
    currency: str,
) -> Payment | None:
    """Credit and mark; None if it was credited before or anything differs."""
    row = await connection.fetchrow(
        CREDIT, payment_id, provider_payment_id, amount_kopecks, currency
    )  # fmt: skip
    return None if row is None else payment_of(row)


CANCEL = """
WITH payment AS (
    UPDATE payments
    SET status = 'canceled', provider_payment_id = $2, cancellation_reason = $3
    WHERE id = $1
      AND status IN ('created', 'pending')
      AND (provider_payment_id IS NULL OR provider_payment_id = $2)
    RETURNING *
), announced AS (
    INSERT INTO deliveries (kind, ref_id, user_id, chat_id)
    SELECT 'payment_canceled', id::text, user_id, chat_id
    FROM payment
    ON CONFLICT ON CONSTRAINT deliveries_cause_once DO NOTHING
)
SELECT * FROM payment
"""


async def mark_canceled(
    connection: Connection, payment_id: UUID, *, provider_payment_id: str, reason: str | None
) -> Payment | None:
    """Close a payment that the provider cancelled; None if it was closed before."""
    row = await connection.fetchrow(CANCEL, payment_id, provider_payment_id, reason)
    return None if row is None else payment_of(row)


async def find(connection: Connection, payment_id: UUID) -> Payment | None:
    """The payment by our id."""
    row = await connection.fetchrow("SELECT * FROM payments WHERE id = $1", payment_id)
    return None if row is None else payment_of(row)


async def find_by_provider_id(connection: Connection, provider_payment_id: str) -> Payment | None:
    """The payment by the provider's id."""
    row = await connection.fetchrow(
        "SELECT * FROM payments WHERE provider_payment_id = $1", provider_payment_id
    )
    return None if row is None else payment_of(row)


UNSETTLED = """
SELECT *
FROM payments
WHERE status IN ('created', 'pending') AND created_at < $1
ORDER BY created_at
LIMIT $2
"""


async def unsettled(
    connection: Connection, *, created_before: datetime, limit: int
) -> list[Payment]:  # fmt: skip
    """Payments that still wait for their end, oldest first."""
    return [payment_of(row) for row in await connection.fetch(UNSETTLED, created_before, limit)]


# What may still be refunded is decided under a lock on the payment's row; the debit takes the
# money from the customer before the provider is asked, so that it cannot be spent meanwhile.
OPEN_REFUND = """
WITH payment AS MATERIALIZED (
    SELECT id, user_id, amount_kopecks
    FROM payments
    WHERE id = $2 AND status = 'succeeded'
    FOR UPDATE
), refund AS (
    INSERT INTO payment_refunds (id, payment_id, operation_id, amount_kopecks)
    SELECT $1, payment.id, $3, $4
    FROM payment
    RETURNING *
), account AS (
    UPDATE balances AS b
    SET balance_kopecks = b.balance_kopecks - refund.amount_kopecks
    FROM refund, payment
    WHERE b.user_id = payment.user_id
    RETURNING b.user_id, b.balance_kopecks
), debited AS (
    INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                           amount_kopecks, balance_after_kopecks)
    SELECT 'payment_refund', 'refund', refund.id::text, account.user_id, 'user', 'refunds',
           refund.amount_kopecks, account.balance_kopecks
    FROM refund, account
)
SELECT refund.* FROM refund, account
"""


async def open_refund(
    connection: Connection,
    refund_id: UUID,
    *,
    payment_id: UUID,
    operation_id: str,
    amount_kopecks: int,
) -> Refund | None:
    """Debit the customer and record the refund; None if the payment has not succeeded.

    Raises asyncpg's UniqueViolationError for a known operation, CheckViolationError if the
    customer has spent the money.
    """
    row = await connection.fetchrow(
        OPEN_REFUND, refund_id, payment_id, operation_id, amount_kopecks
    )  # fmt: skip
    return None if row is None else refund_of(row)


REFUNDABLE = """
SELECT p.amount_kopecks - coalesce((
    SELECT sum(amount_kopecks) FROM payment_refunds
    WHERE payment_id = p.id AND status <> 'failed'
), 0)::bigint
FROM payments AS p
WHERE p.id = $1 AND p.status = 'succeeded'
"""

LOCK_PAYMENT = "SELECT FROM payments WHERE id = $1 FOR UPDATE"


async def lock_refundable_kopecks(connection: Connection, payment_id: UUID) -> int | None:
    """Lock the payment and tell what is left to refund; None if it has not succeeded."""
    # Two statements on purpose: the second one's snapshot is taken once the lock is ours.
    await connection.execute(LOCK_PAYMENT, payment_id)
    value: int | None = await connection.fetchval(REFUNDABLE, payment_id)
    return value


# The provider keeps keys for a day, from the first try that reached it: not before the row was made.
_REFUNDS = """
SELECT *, created_at < now() - interval '20 hours' AS key_may_be_forgotten
FROM payment_refunds
"""
FIND_REFUND = f"{_REFUNDS} WHERE operation_id = $1"


async def find_refund(connection: Connection, operation_id: str) -> Refund | None:
    """The refund made under this operation id."""
    row = await connection.fetchrow(FIND_REFUND, operation_id)
    return None if row is None else refund_of(row)


FIND_REFUND_BY_ID = f"{_REFUNDS} WHERE id = $1"


async def find_refund_by_id(connection: Connection, refund_id: UUID) -> Refund | None:
    """The refund of this id of ours."""
    row = await connection.fetchrow(FIND_REFUND_BY_ID, refund_id)
    return None if row is None else refund_of(row)


FIND_REFUND_BY_PROVIDER_ID = """
SELECT *
FROM payment_refunds
WHERE provider_refund_id = $1
"""


async def find_refund_by_provider_id(
    connection: Connection, provider_refund_id: str
) -> Refund | None:
    """The refund that the provider knows by this id."""
    row = await connection.fetchrow(FIND_REFUND_BY_PROVIDER_ID, provider_refund_id)
    return None if row is None else refund_of(row)


PENDING_REFUND_OF = """
SELECT EXISTS (
    SELECT FROM payment_refunds
    WHERE payment_id = $1 AND status = 'pending' AND provider_refund_id IS NULL
)
"""


async def has_unidentified_refund(connection: Connection, payment_id: UUID) -> bool:
    """Whether there is a pending refund of which it is not known what it is at the provider."""
    value: bool = await connection.fetchval(PENDING_REFUND_OF, payment_id)
    return value


REMEMBER_REFUND = """
UPDATE payment_refunds
SET provider_refund_id = $2
WHERE id = $1 AND status = 'pending'
"""


async def remember_refund(
    connection: Connection, refund_id: UUID, *, provider_refund_id: str
) -> None:
    """The provider is at the refund, under this id: from now on it is asked about by that."""
    await connection.execute(REMEMBER_REFUND, refund_id, provider_refund_id)


MARK_REFUNDED = """
UPDATE payment_refunds
SET status = 'succeeded', provider_refund_id = $2, error_detail = $3, finished_at = now()
WHERE id = $1 AND status = 'pending'
RETURNING *
"""


async def mark_refunded(
    connection: Connection, refund_id: UUID, *, provider_refund_id: str, detail: str | None = None
) -> Refund:
    """The provider has carried the pending refund out; `detail`: how that is known, if not by
    the provider's own answer to it."""
    row = await connection.fetchrow(MARK_REFUNDED, refund_id, provider_refund_id, detail)
    assert row is not None, f"refund {refund_id} was carried out, and is not pending here"
    return refund_of(row)


REFUNDED = """
SELECT coalesce(sum(amount_kopecks), 0)::bigint
FROM payment_refunds
WHERE payment_id = $1 AND status = 'succeeded'
"""


async def refunded_kopecks(connection: Connection, payment_id: UUID) -> int:
    """What of the payment has gone back for certain."""
    value: int = await connection.fetchval(REFUNDED, payment_id)
    return value


REFUND_LOCK_CLASS = 0x726669  # "rfi": the first half of an advisory lock's name
REFUND_LOCK_SECONDS_MAX = 60.0
"""Longer than a try at the provider takes."""


@asynccontextmanager
async def sole_refund_of(connection: Connection, payment_id: UUID) -> AsyncIterator[None]:
    """Be the only one who carries out a refund of this payment, without an open transaction.

    A connection that is lost loses the lock, but then nothing can be written with it either.
    Raises `PaymentOutcomeUnknown` when somebody else takes too long.
    """
    name = (REFUND_LOCK_CLASS, payment_id.int % 2**31)
    try:
        await connection.execute(
            "SELECT pg_advisory_lock($1, $2)", *name, timeout=REFUND_LOCK_SECONDS_MAX
        )
    except TimeoutError as error:
        connection.terminate()  # it may have got the lock at the last moment
        raise PaymentOutcomeUnknown("another refund of this payment is on its way") from error
    except BaseException:
        connection.terminate()
        raise
    try:
        yield
    finally:
        if not is_lost(connection):
            try:
                await connection.execute("SELECT pg_advisory_unlock($1, $2)", *name)
            except BaseException:
                # No connection goes back to the pool with the lock: nobody could refund any more.
                connection.terminate()
                raise


FAIL_REFUND = """
WITH refund AS (
    UPDATE payment_refunds
    SET status = 'failed', error_detail = $2, finished_at = now()
    WHERE id = $1 AND status = 'pending'
    RETURNING id, payment_id, amount_kopecks
), account AS (
    UPDATE balances AS b
    SET balance_kopecks = b.balance_kopecks + refund.amount_kopecks
    FROM refund
    JOIN payments AS p ON p.id = refund.payment_id
    WHERE b.user_id = p.user_id
    RETURNING b.user_id, b.balance_kopecks
)
INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks)
SELECT 'payment_refund_reversal', 'refund', refund.id::text, account.user_id, 'refunds', 'user',
       refund.amount_kopecks, account.balance_kopecks
FROM refund, account
"""


async def fail_refund(connection: Connection, refund_id: UUID, *, error_detail: str) -> None:
    """The provider refused: the customer gets back what was debited."""
    await connection.execute(FAIL_REFUND, refund_id, error_detail[:500])


def payment_of(row: asyncpg.Record) -> Payment:
    """A row of `payments` as a value."""
    return Payment(
        id=UUID(str(row["id"])),
        user_id=row["user_id"],
        amount_kopecks=row["amount_kopecks"],
        currency=row["currency"],
        status=PaymentStatus(row["status"]),
        provider_payment_id=row["provider_payment_id"],
        confirmation_url=row["confirmation_url"],
        cancellation_reason=row["cancellation_reason"],
        chat_id=row["chat_id"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
    )


def refund_of(row: asyncpg.Record) -> Refund:
    """A row of `payment_refunds` as a value."""
    return Refund(
        id=UUID(str(row["id"])),
        payment_id=UUID(str(row["payment_id"])),
        operation_id=row["operation_id"],
        amount_kopecks=row["amount_kopecks"],
        status=row["status"],
        provider_refund_id=row["provider_refund_id"],
        key_may_be_forgotten=row.get("key_may_be_forgotten", False),
    )
