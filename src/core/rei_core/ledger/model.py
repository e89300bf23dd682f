"""The ledger's words. Amounts are integer kopecks; a transfer moves one amount between two accounts."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Account(enum.StrEnum):
    """The user's account has a balance row; the house's accounts are sums over transfers."""

    USER = "user"
    PAYMENTS = "payments"
    HELD = "held"
    REVENUE = "revenue"
    ADJUSTMENTS = "adjustments"
    REFUNDS = "refunds"


class TransferKind(enum.StrEnum):
    """Why money moved; with `ref_type` and `ref_id` it names a cause that can act only once."""

    TOPUP = "topup"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    PAYMENT_REFUND = "payment_refund"
    PAYMENT_REFUND_REVERSAL = "payment_refund_reversal"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One row of the ledger, as its user sees it."""

    id: int
    kind: TransferKind
    ref_type: str
    ref_id: str
    debit_account: Account
    credit_account: Account
    amount_kopecks: int
    balance_after_kopecks: int
    note: str | None
    created_at: datetime

    @property
    def user_change_kopecks(self) -> int:
        """What the transfer did to the user's balance: positive, negative or 0 (capture)."""
        if self.credit_account is Account.USER:
            return self.amount_kopecks
        if self.debit_account is Account.USER:
            return -self.amount_kopecks
        return 0
