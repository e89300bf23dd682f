"""What a reconciliation found. Amounts are integer kopecks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from rei_core.maintenance.model import Json, RunResult

UNKNOWN_MAX: Final = 20
"""How many unknown payments are told one by one; the rest is only counted. So with refunds."""


@dataclass(frozen=True, slots=True)
class UnknownPayment:
    """Money that arrived at the provider and that no row of ours explains."""

    provider_payment_id: str
    amount_kopecks: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UnbookedRefund:
    """Money of a customer's payment that went back, and that the ledger could not debit."""

    provider_refund_id: str
    payment_id: str
    amount_kopecks: int
    problem: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a run did; the unknown payments and the unbooked refunds: some, and how many in all."""

    result: RunResult
    unknown: tuple[UnknownPayment, ...] = ()
    unknown_count: int = 0
    unbooked: tuple[UnbookedRefund, ...] = ()
    unbooked_count: int = 0

    def detail(self) -> Json:
        """As `maintenance_runs.detail` keeps it."""
        return {
            "unknown_count": self.unknown_count,
            "unknown": [
                {
                    "provider_payment_id": one.provider_payment_id,
                    "amount_kopecks": one.amount_kopecks,
                    "created_at": one.created_at.isoformat(),
                }
                for one in self.unknown
            ],
            "unbooked_count": self.unbooked_count,
            "unbooked": [asdict(one) for one in self.unbooked],
        }

    @classmethod
    def of(cls, result: RunResult, detail: Json) -> Reconciliation:
        """From what `detail` gave."""
        return cls(
            result,
            tuple(
                UnknownPayment(
                    one["provider_payment_id"],
                    one["amount_kopecks"],
                    datetime.fromisoformat(one["created_at"]),
                )
                for one in detail.get("unknown", ())
            ),
            detail.get("unknown_count", 0),
            tuple(UnbookedRefund(**one) for one in detail.get("unbooked", ())),
            detail.get("unbooked_count", 0),
        )
