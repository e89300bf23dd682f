"""What is pending in numbers; each statement reads an index that holds nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rei_core.db import Connection


@dataclass(frozen=True, slots=True)
class PendingPayments:
    """Payments without an end, by age. A payer has an hour; then YooKassa cancels.

    `unanswered` are those that YooKassa has not been heard to know: nobody can be paying them.
    """

    payments: Mapping[str, int]
    kopecks: Mapping[str, int]
    oldest_seconds: float
    unanswered: int


AGES = ("under_10m", "10m_to_1h", "1h_to_1d", "over_1d")

PENDING_PAYMENTS = """
SELECT CASE WHEN status = 'created' THEN 'unanswered'
            WHEN created_at > now() - interval '10 minutes' THEN 'under_10m'
            WHEN created_at > now() - interval '1 hour' THEN '10m_to_1h'
            WHEN created_at > now() - interval '1 day' THEN '1h_to_1d'
            ELSE 'over_1d' END AS age,
       count(*) AS payments, sum(amount_kopecks)::bigint AS kopecks,
       extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds
FROM payments
WHERE status IN ('created', 'pending')
GROUP BY 1
"""


async def pending_payments(connection: Connection) -> PendingPayments:
    """Every age has its number, 0 too."""
    rows = {row["age"]: row for row in await connection.fetch(PENDING_PAYMENTS)}
    return PendingPayments(
        {age: rows[age]["payments"] if age in rows else 0 for age in AGES},
        {age: rows[age]["kopecks"] if age in rows else 0 for age in AGES},
        max((rows[age]["oldest_seconds"] for age in AGES if age in rows), default=0.0),
        rows["unanswered"]["payments"] if "unanswered" in rows else 0,
    )


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many wait, and for how many seconds the first of them has."""

    waiting: int
    oldest_seconds: float


PENDING_REFUNDS = """
SELECT count(*) AS waiting,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
FROM payment_refunds
WHERE status = 'pending'
"""


async def pending_refunds(connection: Connection) -> Backlog:
    """Refunds that are debited here and not known to have been carried out."""
    row = await connection.fetchrow(PENDING_REFUNDS)
    assert row is not None
    return Backlog(row["waiting"], row["oldest_seconds"])
