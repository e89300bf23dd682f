"""Payments whose notification never came."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from rei_core.maintenance.resources.base import LIST_ATOMIC, Column, Fields, Names
from rei_core.maintenance.resources.recurring import (
    CHANGED,
    EXAMINED,
    FAILED,
    KOPECKS,
    Recurring,
    RecurringStatus,
    Schedule,
    recurring_columns,
)

UNKNOWN_PAYMENTS_MAX = 20
UNBOOKED_REFUNDS_MAX = 20


class PaymentReconciliationSpec(Schedule):
    """Which payments are asked about, and how many at a time."""

    older_than_minutes: Annotated[int, Field(ge=1, le=10_080)] = 15
    """Payments and refunds still open after so many minutes are asked about at YooKassa. Before
    that their notification is probably on its way."""
    lookback_days: Annotated[int, Field(ge=0, le=30)] = 3
    """YooKassa's lists of succeeded payments and of refunds are read for so many days back, to find
    those that we do not know. 0 leaves them out."""
    max_per_run: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many open payments and refunds one run asks about at most, the oldest first."""
    concurrency: Annotated[int, Field(ge=1, le=20)] = 4
    """How many questions to YooKassa are open at a time."""


class UnknownPayment(Fields):
    """A payment that succeeded at YooKassa and is not in our tables."""

    payment_id: Annotated[str, Field(max_length=64)]
    """The payment's id at YooKassa."""
    amount_kopecks: Annotated[int, Field(ge=0)]
    """Its amount in kopecks."""
    created_time: AwareDatetime
    """When it was made at YooKassa."""


class UnbookedRefund(Fields):
    """A refund that YooKassa carried out and that could not be taken off the customer's balance."""

    refund_id: Annotated[str, Field(max_length=64)]
    """The refund's id at YooKassa."""
    payment_id: Annotated[str, Field(max_length=64)]
    """The id of its payment at YooKassa."""
    amount_kopecks: Annotated[int, Field(ge=0)]
    """Its amount in kopecks."""
    problem: Annotated[str, Field(max_length=300)]
    """Why it could not be booked."""


class PaymentReconciliationStatus(RecurringStatus):
    """How the runs go, and what nobody can explain."""

    unknown_payments: Annotated[
        tuple[UnknownPayment, ...],
        Field(max_length=UNKNOWN_PAYMENTS_MAX, json_schema_extra=LIST_ATOMIC),
    ] = ()
    """Payments that succeeded at YooKassa and that we do not know, the newest 20. They are never
    credited by themselves: find out whose they are, then refund them or make a
    BalanceAdjustment."""
    unknown_payments_count: Annotated[int, Field(ge=0)] = 0
    """How many there are in all."""
    unbooked_refunds: Annotated[
        tuple[UnbookedRefund, ...],
        Field(max_length=UNBOOKED_REFUNDS_MAX, json_schema_extra=LIST_ATOMIC),
    ] = ()
    """Refunds of our customers' payments that were carried out at YooKassa and are not debited
    here, at most 20. The next runs try again; a customer who has spent the money meanwhile has had
    it twice."""
    unbooked_refunds_count: Annotated[int, Field(ge=0)] = 0
    """How many there are in all."""


class PaymentReconciliation(Recurring):
    """Asks YooKassa about payments whose notification never came, and settles them.

    A payment that succeeded is credited and its customer told, by the same code that serves the
    notification, so nothing is ever credited twice. One that was cancelled is closed. Payments
    that succeeded at YooKassa and are unknown here are reported, never credited. Refunds of our
    payments that are unknown here (made in the merchant's profile, or forgotten by a database that
    was restored) are taken off the balance.
    """

    kind: Literal["PaymentReconciliation"] = "PaymentReconciliation"
    spec: PaymentReconciliationSpec
    status: PaymentReconciliationStatus = PaymentReconciliationStatus()

    names: ClassVar[Names] = Names("paymentreconciliations", "paymentreconciliation", ("recon",))
    columns: ClassVar[tuple[Column, ...]] = recurring_columns(
        EXAMINED,
        CHANGED,
        FAILED,
        KOPECKS,
        Column("Unknown", ".status.unknownPaymentsCount", "integer", "Paid, but not known here"),
    )
