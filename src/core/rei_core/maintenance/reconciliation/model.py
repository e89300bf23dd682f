"""What a reconciliation found. Amounts are integer kopecks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rei_core.maintenance.model import Json, RunResult

UNKNOWN_MAX: Final = 20
"""How many unknown payments are told one by one; the rest is only counted."""


@dataclass(frozen=True, slots=True)
class UnknownPayment:
    """Money that arrived at the provider and that no row of ours explains."""

    provider_payment_id: str
    amount_kopecks: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a run did, and the unknown payments: the newest, and how many in all."""

    result: RunResult
    unknown: tuple[UnknownPayment, ...] = ()
    unknown_count: int = 0

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
        )
