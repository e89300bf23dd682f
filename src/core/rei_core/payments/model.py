"""A top-up's words. Amounts are integer kopecks."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


class PaymentStatus(enum.StrEnum):
    """`created`: our row exists, the provider may not know it yet; `pending`: it does."""

    CREATED = "created"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Payment:
    """A top-up; its id is also the idempotence key of its creation at the provider."""

    id: UUID
    user_id: int
    amount_kopecks: int
    currency: str
    status: PaymentStatus
    provider_payment_id: str | None
    confirmation_url: str | None
    cancellation_reason: str | None
    chat_id: int
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What `settle` found. `credited_now` is True for exactly one caller of one payment."""

    payment: Payment
    credited_now: bool


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of a payment; its id is also the idempotence key."""

    id: UUID
    payment_id: UUID
    amount_kopecks: int
    status: str
    provider_refund_id: str | None = None
    key_may_be_forgotten: bool = False
    """It was asked for so long ago that the provider may not know its key any more."""
