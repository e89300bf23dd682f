"""Payments and refunds as the shop knows them, and their JSON. Amounts in kopecks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

PaymentStatus = Literal["pending", "waiting_for_capture", "succeeded", "canceled"]

CAPTURE_WITHIN: Final = timedelta(days=7)
"""A payment that is paid but not captured is canceled after this (cards)."""

FEE_PER_MILLE: Final = 35
"""What the shop pays of each payment; `income_amount` is the rest."""


@dataclass
class Payment:
    """One payment; only the `Shop` changes it."""

    id: str
    amount_kopecks: int
    capture: bool
    return_url: str
    created_at: datetime
    expires_at: datetime
    method: str = "bank_card"
    status: PaymentStatus = "pending"
    description: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    has_receipt: bool = False
    paid_at: datetime | None = None
    captured_at: datetime | None = None
    refunded_kopecks: int = 0
    canceled_by: tuple[str, str] | None = None
    """(party, reason)"""

    @property
    def paid(self) -> bool:
        """Whether the payer's money is with the shop or held for it."""
        return self.status in ("succeeded", "waiting_for_capture")


@dataclass(frozen=True)
class Refund:
    """Money given back; succeeds at once, as with cards."""

    id: str
    payment_id: str
    amount_kopecks: int
    created_at: datetime
    description: str = ""


def payment_json(payment: Payment, *, public_url: str, shop_id: str) -> dict[str, Any]:
    """The object that the API and the notifications show."""
    answer: dict[str, Any] = {
        "id": payment.id,
        "status": payment.status,
        "amount": amount_json(payment.amount_kopecks),
        "recipient": {"account_id": shop_id, "gateway_id": f"{shop_id}0"},
        "created_at": moment(payment.created_at),
        "test": True,
        "paid": payment.paid,
        "refundable": payment.status == "succeeded"
        and payment.refunded_kopecks < payment.amount_kopecks,
        "metadata": dict(payment.metadata),
    }
    if payment.description:
        answer["description"] = payment.description
    if payment.has_receipt:
        answer["receipt_registration"] = "succeeded" if payment.paid else "pending"
    answer.update(_by_status(payment, public_url))
    return answer


def refund_json(refund: Refund) -> dict[str, Any]:
    """The object that the API and the notifications show."""
    answer: dict[str, Any] = {
        "id": refund.id,
        "payment_id": refund.payment_id,
        "status": "succeeded",
        "amount": amount_json(refund.amount_kopecks),
        "created_at": moment(refund.created_at),
    }
    if refund.description:
        answer["description"] = refund.description
    return answer


def amount_json(kopecks: int) -> dict[str, str]:
    return {"value": f"{kopecks // 100}.{kopecks % 100:02d}", "currency": "RUB"}


def moment(at: datetime) -> str:
    """`2026-11-24T10:51:18.139Z`: UTC, milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _by_status(payment: Payment, public_url: str) -> dict[str, Any]:
    if payment.status == "pending":
        url = f"{public_url}/pay/{payment.id}"
        return {"confirmation": {"type": "redirect", "confirmation_url": url}}
    if payment.status == "canceled":
        party, reason = payment.canceled_by or ("yoo_money", "general_decline")
        details = {"cancellation_details": {"party": party, "reason": reason}}
        return details if payment.paid_at is None else {**details, **_paid_with(payment)}
    if payment.status == "waiting_for_capture":
        assert payment.paid_at is not None
        return {"expires_at": moment(payment.paid_at + CAPTURE_WITHIN), **_paid_with(payment)}
    assert payment.captured_at is not None
    income = payment.amount_kopecks - payment.amount_kopecks * FEE_PER_MILLE // 1000
    return {
        "captured_at": moment(payment.captured_at),
        "income_amount": amount_json(income),
        "refunded_amount": amount_json(payment.refunded_kopecks),
        **_paid_with(payment),
    }


def _paid_with(payment: Payment) -> dict[str, Any]:
    method: dict[str, Any] = {
        "type": payment.method,
        "id": payment.id,
        "saved": False,
        "status": "inactive",
    }
    if payment.method != "bank_card":
        return {"payment_method": method}
    method["title"] = "Bank card *4477"
    method["card"] = {
        "first6": "555555",
        "last4": "4477",
        "expiry_month": "12",
        "expiry_year": "2030",
        "card_type": "MasterCard",
        "issuer_country": "RU",
    }
    details = {"rrn": "10000000000", "auth_code": "000000"}
    return {
        "payment_method": method,
        "authorization_details": {**details, "three_d_secure": {"applied": True}},
    }
