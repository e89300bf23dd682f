"""What Rei needs of a payment provider, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

RemoteStatus = Literal["pending", "waiting_for_capture", "succeeded", "canceled"]


@dataclass(frozen=True, slots=True)
class RemotePayment:
    """A payment as the provider tells it. Amounts in kopecks."""

    id: str
    status: RemoteStatus
    amount_kopecks: int
    currency: str
    created_at: datetime
    confirmation_url: str | None = None
    cancellation_reason: str | None = None
    refunded_kopecks: int = 0
    test: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteRefund:
    """A refund as the provider tells it. Amount in kopecks."""

    id: str
    payment_id: str
    status: Literal["pending", "succeeded", "canceled"]
    amount_kopecks: int
    currency: str
    created_at: datetime | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a 54-FZ receipt needs beside the amount; sent only when configured."""

    customer_email: str
    item_description: str
    vat_code: int
    payment_subject: str = "service"
    payment_mode: str = "full_prepayment"
    tax_system_code: int | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """The claim of a notification; unsigned, so good for nothing but a hint where to look."""

    event: str
    object_id: str
    payment_id: str


class PaymentProvider(Protocol):
    """A payment provider.

    Every call is bounded in time and raises a `PaymentProviderError`: `PaymentOutcomeUnknown`
    (repeat with the same key), `PaymentRejected` or `PaymentNotFound`.
    """

    async def create(
        self,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        return_url: str,
        metadata: dict[str, str],
        receipt: Receipt | None = None,
    ) -> RemotePayment: ...

    async def get(self, payment_id: str) -> RemotePayment: ...

    async def cancel(self, payment_id: str, *, idempotence_key: str) -> RemotePayment: ...

    async def refund(
        self,
        payment_id: str,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        receipt: Receipt | None = None,
    ) -> RemoteRefund: ...

    async def get_refund(self, refund_id: str) -> RemoteRefund: ...

    def list(
        self, *, created_since: datetime, status: RemoteStatus | None = None
    ) -> AsyncIterator[RemotePayment]:
        """Every payment created since, page by page."""
        ...

    def list_refunds(
        self, *, payment_id: str | None = None, created_since: datetime | None = None
    ) -> AsyncIterator[RemoteRefund]:
        """Every refund, of one payment or created since, page by page."""
        ...

    async def check_credentials(self) -> str:
        """Return the shop's account id, or raise."""
        ...
