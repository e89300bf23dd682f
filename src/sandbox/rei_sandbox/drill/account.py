"""The kopecks that are missing after a drill: from the books, from what was paid, from what came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rei_core.db import Connection
from rei_core.ledger.audit import audit
from rei_core.payments.port import PaymentProvider

CREDITED: Final = """
SELECT p.provider_payment_id, t.amount_kopecks
FROM transfers AS t
JOIN payments AS p ON p.id::text = t.ref_id
WHERE t.kind = 'topup'
"""
NOT_DELIVERED: Final = """
SELECT coalesce(sum(j.price_kopecks), 0)::bigint
FROM jobs AS j
WHERE j.status = 'completed'
  AND NOT EXISTS (
      SELECT FROM deliveries AS d
      WHERE d.ref_id = j.id::text AND d.kind = 'result' AND d.status = 'delivered'
  )
"""
HELD: Final = """
SELECT coalesce(sum(price_kopecks), 0)::bigint
FROM jobs
WHERE status IN ('queued', 'processing')
"""


@dataclass(frozen=True, slots=True)
class Account:
    """What somebody has lost; nothing, if all is well."""

    not_credited_kopecks: int
    """Paid at YooKassa and not credited, or credited and not paid."""
    not_delivered_kopecks: int
    """Charged for pictures that have not arrived."""
    held_kopecks: int
    """Held for orders that have not come to an end."""
    violations: tuple[str, ...]
    """Of the ledger's invariants."""

    @property
    def lost_kopecks(self) -> int:
        return self.not_credited_kopecks + self.not_delivered_kopecks + self.held_kopecks

    @property
    def clean(self) -> bool:
        return self.lost_kopecks == 0 and not self.violations


async def account(connection: Connection, payments: PaymentProvider, *, since: datetime) -> Account:
    """Compare the ledger with itself, with YooKassa and with the chats."""
    credited = {
        row["provider_payment_id"]: row["amount_kopecks"]
        for row in await connection.fetch(CREDITED)
    }
    paid = {
        payment.id: payment.amount_kopecks
        async for payment in payments.list(created_since=since, status="succeeded")
    }
    report = await audit(connection)
    return Account(
        not_credited_kopecks=sum(
            abs(paid.get(payment, 0) - credited.get(payment, 0))
            for payment in paid.keys() | credited.keys()
        ),
        not_delivered_kopecks=await connection.fetchval(NOT_DELIVERED),
        held_kopecks=await connection.fetchval(HELD),
        violations=tuple(
            f"{violation.invariant}: {violation.subject} ({violation.detail})"
            for violation in report.violations
        ),
    )
