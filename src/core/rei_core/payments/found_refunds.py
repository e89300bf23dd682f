"""Refunds that the provider has carried out and that no row of ours explains.

Somebody made them in the merchant's profile, or a database that was restored since has forgotten
them. The customer has the money back and still has it on the balance, so it is taken off the
balance, once: the refund's id at the provider is unique among our rows. What cannot be taken or is
not certain changes nothing and is raised, for a person to look at.

`close` is that person's word on a refund of ours whose outcome nobody can find out. A wrong word
costs no money: whatever the provider has carried out is found by `book` in the next reconciliation.
"""

from __future__ import annotations

from uuid import UUID, uuid5

import asyncpg
import structlog

from rei_core.db import Connection, Pool
from rei_core.errors import (
    InsufficientFunds,
    PaymentMismatch,
    PaymentOutcomeUnknown,
    PaymentRejected,
    PaymentUnknown,
)
from rei_core.ledger.queries import balance_kopecks
from rei_core.payments import queries
from rei_core.payments.model import (
    REFUND_NAMES,
    Payment,
    PaymentStatus,
    Refund,
    refund_id_in,
    refund_words,
)
from rei_core.payments.port import PaymentProvider, RemoteRefund
from rei_core.trail import queries as trail
from rei_core.trail.model import Action, Actor, Word, new_operation_id

log = structlog.get_logger(__name__)

OPERATION_PREFIX = "yookassa/"
"""What the operation of a booked refund begins with; the refund's id there follows."""


async def book(pool: Pool, remote: RemoteRefund) -> Refund:
    """Debit a refund that the provider has carried out; one that is booked already is returned.

    One that carries the id of a pending refund of ours finishes that. Raises `PaymentUnknown` if
    the payment is none of ours, `InsufficientFunds` if the customer has spent the money,
    `PaymentMismatch` if more than the payment would be refunded, and `PaymentOutcomeUnknown` while
    it may be a refund of ours that is pending.
    """
    assert remote.status == "succeeded"
    async with pool.acquire() as connection:
        payment = await queries.find_by_provider_id(connection, remote.payment_id)
        if payment is None or payment.status is not PaymentStatus.SUCCEEDED:
            raise PaymentUnknown(remote.payment_id)
        if remote.currency != payment.currency:
            raise PaymentMismatch(
                payment_id=str(payment.id),
                field="currency of a refund",
                ours=payment.currency,
                theirs=remote.currency,
            )
        async with queries.sole_refund_of(connection, payment.id):
            return await _booked(connection, payment, remote)


async def _booked(connection: Connection, payment: Payment, remote: RemoteRefund) -> Refund:
    known = await queries.find_refund_by_provider_id(connection, remote.id)
    if known is not None and known.status == "failed":
        raise PaymentMismatch(
            payment_id=str(payment.id),
            field="status of a refund",
            ours=known.status,
            theirs=remote.status,
        )
    if known is not None:
        return known
    our_id = refund_id_in(remote.description)
    ours = None if our_id is None else await queries.find_refund_by_id(connection, our_id)
    if ours is not None and ours.status == "pending" and _is_same(ours, payment, remote):
        return await queries.mark_refunded(
            connection, ours.id, provider_refund_id=remote.id, detail="found in the provider's list"
        )
    if await queries.has_unidentified_refund(connection, payment.id):
        raise PaymentOutcomeUnknown(
            "another refund of the payment is not finished, and this may be it",
            code="refund_unclear",
        )
    if our_id is None or ours is not None:
        our_id = uuid5(REFUND_NAMES, remote.id)
    refund = await _insert(connection, payment, remote, refund_id=our_id)
    log.warning(
        "refund booked",
        payment_id=str(payment.id),
        user_id=payment.user_id,
        refund_id=str(refund.id),
        provider_refund_id=remote.id,
        amount_kopecks=refund.amount_kopecks,
    )
    return refund


def _is_same(ours: Refund, payment: Payment, remote: RemoteRefund) -> bool:
    return (ours.payment_id, ours.amount_kopecks) == (payment.id, remote.amount_kopecks)


async def _insert(
    connection: Connection, payment: Payment, remote: RemoteRefund, *, refund_id: UUID
) -> Refund:
    try:
        async with connection.transaction():
            left = await queries.lock_refundable_kopecks(connection, payment.id)
            if left is None or remote.amount_kopecks > left:
                raise PaymentMismatch(
                    payment_id=str(payment.id),
                    field="amount of a refund",
                    ours=f"at most {left or 0}",
                    theirs=str(remote.amount_kopecks),
                )
            await queries.open_refund(
                connection,
                refund_id,
                payment_id=payment.id,
                operation_id=f"{OPERATION_PREFIX}{remote.id}",
                amount_kopecks=remote.amount_kopecks,
            )
            return await queries.mark_refunded(
                connection,
                refund_id,
                provider_refund_id=remote.id,
                detail="found in the provider's list",
            )
    except asyncpg.CheckViolationError as error:
        raise InsufficientFunds(
            user_id=payment.user_id,
            balance_kopecks=await balance_kopecks(connection, payment.user_id),
            amount_kopecks=remote.amount_kopecks,
        ) from error


async def close(
    pool: Pool,
    provider: PaymentProvider,
    refund_id: UUID,
    *,
    provider_refund_id: str | None,
    reason: str,
    actor: Actor,
) -> Refund:
    """End a pending refund by a person's word; the words stay in the refund's row
    and in the trail.

    With `provider_refund_id` it was carried out as that, which the provider must confirm; without,
    it never was: the customer gets the debit back. Raises `PaymentUnknown` if there is no such
    refund, `PaymentRejected` if it has ended or the provider says otherwise.
    """
    async with pool.acquire() as connection:
        refund = await queries.find_refund_by_id(connection, refund_id)
        if refund is None:
            raise PaymentUnknown(str(refund_id))
        async with queries.sole_refund_of(connection, refund.payment_id):
            return await _closed(
                connection,
                provider,
                refund_id,
                provider_refund_id=provider_refund_id,
                reason=reason,
                actor=actor,
            )


async def _closed(
    connection: Connection,
    provider: PaymentProvider,
    refund_id: UUID,
    *,
    provider_refund_id: str | None,
    reason: str,
    actor: Actor,
) -> Refund:
    refund = await queries.find_refund_by_id(connection, refund_id)
    assert refund is not None
    if refund.status != "pending":
        raise PaymentRejected(f"the refund {refund_id} has ended: it is {refund.status}")
    payment = await queries.find(connection, refund.payment_id)
    assert payment is not None
    assert payment.provider_payment_id is not None
    remote: RemoteRefund | None = None
    if provider_refund_id is not None:
        remote = await provider.get_refund(provider_refund_id)
        _require_carried_out(refund, payment.provider_payment_id, remote)
        detail = f"closed by hand as carried out: {reason}"
    else:
        await _require_not_there(provider, refund, payment.provider_payment_id)
        detail = f"closed by hand as never carried out: {reason}"
    async with connection.transaction():
        if remote is not None:
            await queries.mark_refunded(
                connection, refund_id, provider_refund_id=remote.id, detail=detail[:500]
            )
        else:
            await queries.fail_refund(connection, refund_id, error_detail=detail)
        await trail.record(
            connection,
            Action(
                operation_id=new_operation_id(Word.REFUND_CLOSE),
                word=Word.REFUND_CLOSE,
                actor=actor,
                user_id=payment.user_id,
                reason=detail[:500],
                subject=str(refund_id),
            ),
        )
    done = await queries.find_refund_by_id(connection, refund_id)
    assert done is not None
    log.warning("refund closed by hand", refund_id=str(refund_id), status=done.status)
    return done


def _require_carried_out(refund: Refund, provider_payment_id: str, remote: RemoteRefund) -> None:
    told = (remote.payment_id, remote.amount_kopecks, remote.status)
    if told != (provider_payment_id, refund.amount_kopecks, "succeeded"):
        raise PaymentRejected(
            f"the provider's refund {remote.id} is {remote.status}, of {remote.amount_kopecks}"
            f" kopecks of the payment {remote.payment_id}: not this one"
        )


async def _require_not_there(
    provider: PaymentProvider, refund: Refund, provider_payment_id: str
) -> None:
    if refund.provider_refund_id is not None:
        remote = await provider.get_refund(refund.provider_refund_id)
        if remote.status != "canceled":
            raise PaymentRejected(f"the provider has it as {remote.id}, and it is {remote.status}")
    async for remote in provider.list_refunds(payment_id=provider_payment_id):
        if remote.description == refund_words(refund.id) and remote.status != "canceled":
            raise PaymentRejected(f"the provider has it as {remote.id}, and it is {remote.status}")
