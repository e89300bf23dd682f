"""A top-up's words. Amounts are integer kopecks."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

REFUND_NAMES: Final = UUID("6d0f3a52-5b0e-4c39-9d57-0f6d7c1c2b11")
"""The namespace of refunds' ids."""
_REFUND_WORDS: Final = re.compile(r"Refund ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


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
    operation_id: str
    amount_kopecks: int
    status: str
    provider_refund_id: str | None = None
    key_may_be_forgotten: bool = False
    """It was asked for so long ago that the provider may not know its key any more."""


def refund_id_of(payment_id: UUID, operation_id: str) -> UUID:
    """The id of the refund that this operation makes of this payment: always the same.

    A database that was restored has forgotten the row; whoever repeats the operation then asks
    under the same idempotence key and in the same words, and finds what was done.
    """
    return uuid5(REFUND_NAMES, f"{payment_id}/{operation_id}")


def refund_words(refund_id: UUID) -> str:
    """What a refund of ours says at the provider: by it the refund is known again in its list."""
    return f"Refund {refund_id}"


def refund_id_in(words: str) -> UUID | None:
    """The id of ours that these words carry; None if nobody of us wrote them."""
    match = _REFUND_WORDS.fullmatch(words)
    return None if match is None else UUID(match[1])
