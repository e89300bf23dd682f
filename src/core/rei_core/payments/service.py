"""Top-ups and their refunds.

`settle` is the only way to a credit. It never believes a notification: it asks the provider,
compares id, amount and currency with our row, and credits in one statement. Callers are the
notification endpoint, the customer's "check payment" and the reconciliation; any number of
them at once credit once.

These services call the provider between statements, so unlike the rest of the core they take
the pool: no database connection or lock is held while the network is waited for. But for refunds,
which are rare: of one payment one is carried out at a time, and its connection holds the lock.
Else one try could be refused, and its debit given back, while another sends the money out.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg
import structlog

from rei_core.db import Connection, Pool
from rei_core.errors import (
    InsufficientFunds,
    OperationConflict,
    PaymentMismatch,
    PaymentOutcomeUnknown,
    PaymentRejected,
    PaymentUnknown,
)
from rei_core.ledger.queries import balance_kopecks
from rei_core.payments import queries
from rei_core.payments.model import (
    Payment,
    PaymentStatus,
    Refund,
    Settlement,
    refund_id_of,
    refund_words,
)
from rei_core.payments.port import PaymentProvider, Receipt, RemotePayment, RemoteRefund
from rei_core.trail import queries as trail
from rei_core.trail.model import Action, Actor, Word

log = structlog.get_logger(__name__)

METADATA_KEY = "rei_payment_id"
"""Our id travels in the provider's metadata, so that a payment finds its row even if the answer
to its creation was lost."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants a refund, and why: for the trail."""

    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class TopUpTerms:
    """What every top-up says to the provider; `receipt` only where 54-FZ is configured."""

    return_url: str
    description: str
    receipt: Receipt | None = None


async def start_topup(
    pool: Pool,
    provider: PaymentProvider,
    *,
    user_id: int,
    chat_id: int,
    amount_kopecks: int,
    request_key: str,
    terms: TopUpTerms,
) -> Payment:
    """Create a payment and return it with its `confirmation_url`.

    `request_key` names the customer's action: repeating it returns the same payment. Raises
    `PaymentOutcomeUnknown` (repeating is safe) and `PaymentRejected`.
    """
    payment = await _open(
        pool,
        user_id=user_id,
        chat_id=chat_id,
        amount_kopecks=amount_kopecks,
        request_key=request_key,
    )
    if payment.status is not PaymentStatus.CREATED:
        return payment
    remote = await provider.create(
        idempotence_key=str(payment.id),
        amount_kopecks=payment.amount_kopecks,
        description=terms.description,
        return_url=terms.return_url,
        metadata={METADATA_KEY: str(payment.id)},
        receipt=terms.receipt,
    )
    async with pool.acquire() as connection:
        pending = await queries.mark_pending(
            connection,
            payment.id,
            provider_payment_id=remote.id,
            confirmation_url=remote.confirmation_url,
        )
    if pending is None:
        raise PaymentMismatch(
            payment_id=str(payment.id), field="id", ours="another payment", theirs=remote.id
        )
    log.info("payment created", payment_id=str(payment.id), provider_payment_id=remote.id)
    return pending


async def settle(pool: Pool, provider: PaymentProvider, payment: Payment) -> Settlement:
    """Bring our row to where the provider's payment is; credit at most once, ever.

    Raises `PaymentProviderError` when the truth could not be fetched, `PaymentMismatch` when it
    contradicts our row. In both cases nothing has changed.
    """
    if payment.status is PaymentStatus.SUCCEEDED or payment.provider_payment_id is None:
        return Settlement(payment, credited_now=False)
    remote = await provider.get(payment.provider_payment_id)
    return await _apply(pool, payment, remote)


async def settle_by_provider_id(
    pool: Pool, provider: PaymentProvider, provider_payment_id: str
) -> Settlement | None:
    """Settle the payment a notification points at; None if it is none of ours.

    A payment whose creation was answered into the void is found by the metadata that the
    provider (not the notification) returns.
    """
    async with pool.acquire() as connection:
        payment = await queries.find_by_provider_id(connection, provider_payment_id)
    if payment is not None:
        return await settle(pool, provider, payment)
    remote = await provider.get(provider_payment_id)
    try:
        ours = UUID(remote.metadata[METADATA_KEY])
    except (KeyError, ValueError):
        return None
    async with pool.acquire() as connection:
        payment = await queries.find(connection, ours)
    return None if payment is None else await _apply(pool, payment, remote)


async def check(pool: Pool, provider: PaymentProvider, payment_id: UUID) -> Settlement:
    """Settle one of our payments because its owner asks."""
    async with pool.acquire() as connection:
        payment = await queries.find(connection, payment_id)
    if payment is None:
        raise PaymentUnknown(str(payment_id))
    return await settle(pool, provider, payment)


async def refund_payment(
    pool: Pool,
    provider: PaymentProvider,
    *,
    payment_id: UUID,
    amount_kopecks: int,
    operation_id: str,
    receipt: Receipt | None = None,
    asked: Asked | None = None,
) -> Refund:
    """Send money of a settled payment back; repeat with the same `operation_id` until it returns.

    The ledger is debited first; with it the trail says who asked (None: whoever goes on with one
    that is open). Raises `InsufficientFunds` when the customer has spent it,
    `PaymentRejected` when the provider refuses (the debit is then reversed),
    `PaymentOutcomeUnknown` when a repeat has to find out.
    """
    async with pool.acquire() as connection, queries.sole_refund_of(connection, payment_id):
        opened = await _open_refund(
            connection,
            payment_id=payment_id,
            amount_kopecks=amount_kopecks,
            operation_id=operation_id,
            asked=asked,
        )
        if opened.refund.status != "pending":
            return opened.refund
        return await _carry_out(connection, provider, opened, receipt)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A refund that is debited; `asked_before`: the provider may know it already."""

    refund: Refund
    provider_payment_id: str
    asked_before: bool


async def _carry_out(
    connection: Connection, provider: PaymentProvider, opened: _Opened, receipt: Receipt | None
) -> Refund:
    refund = opened.refund
    if refund.provider_refund_id is not None:
        remote = await provider.get_refund(refund.provider_refund_id)
    else:
        made = await _made_before(provider, opened)
        remote = made or await _ask_for_refund(connection, provider, opened, receipt)
    if remote.status == "canceled":
        await queries.fail_refund(connection, refund.id, error_detail="the provider canceled it")
        raise PaymentRejected("the provider canceled the refund", code="refund_canceled")
    if remote.status == "pending":
        await queries.remember_refund(connection, refund.id, provider_refund_id=remote.id)
        raise PaymentOutcomeUnknown("the refund is still on its way", code="refund_pending")
    done = await queries.mark_refunded(connection, refund.id, provider_refund_id=remote.id)
    log.info(
        "payment refunded",
        payment_id=str(done.payment_id),
        refund_id=str(done.id),
        transfer=f"payment_refund/refund/{done.id}",
    )
    return done


async def _made_before(provider: PaymentProvider, opened: _Opened) -> RemoteRefund | None:
    """The refund in the provider's list that carries our id.

    An earlier try made it and had no answer, or a database that was restored since has forgotten
    it: then neither the row nor the key's memory would keep it from being sent a second time.
    """
    refund, made = opened.refund, None
    async for remote in provider.list_refunds(payment_id=opened.provider_payment_id):
        if (
            remote.description == refund_words(refund.id)
            and remote.amount_kopecks == refund.amount_kopecks
            and remote.status != "canceled"
        ):
            made = remote
    return made


async def _ask_for_refund(
    connection: Connection, provider: PaymentProvider, opened: _Opened, receipt: Receipt | None
) -> RemoteRefund:
    refund = opened.refund
    if refund.key_may_be_forgotten:
        # Without its memory of the key the provider would send the money a second time.
        await _require_nothing_unexplained(connection, provider, opened)
    try:
        remote = await provider.refund(
            opened.provider_payment_id,
            idempotence_key=str(refund.id),
            amount_kopecks=refund.amount_kopecks,
            description=refund_words(refund.id),
            receipt=receipt,
        )
    except PaymentRejected as error:
        await _refused(connection, provider, opened, error)
        raise
    if remote.status == "pending":
        # The answer kept under the key stays as it was: ask for the refund itself.
        await queries.remember_refund(connection, refund.id, provider_refund_id=remote.id)
        remote = await provider.get_refund(remote.id)
    return remote


async def _refused(
    connection: Connection, provider: PaymentProvider, opened: _Opened, error: PaymentRejected
) -> None:
    """Give the debit back, unless an earlier try may have been carried out after all."""
    if error.http_status in (401, 403):
        return  # it is us who were refused, not the refund
    if opened.asked_before:
        # The provider forgets idempotence keys after a day: then it refuses what it has done.
        await _require_nothing_unexplained(connection, provider, opened, refusal=error)
    await queries.fail_refund(connection, opened.refund.id, error_detail=str(error))


async def _require_nothing_unexplained(
    connection: Connection,
    provider: PaymentProvider,
    opened: _Opened,
    *,
    refusal: PaymentRejected | None = None,
) -> None:
    """Raise `PaymentOutcomeUnknown` if more of the payment is refunded there than we know of."""
    remote = await provider.get(opened.provider_payment_id)
    known = await queries.refunded_kopecks(connection, opened.refund.payment_id)
    if remote.refunded_kopecks > known:
        log.error("refund unclear", refund_id=str(opened.refund.id), detail=str(refusal or ""))
        raise PaymentOutcomeUnknown(
            f"{remote.refunded_kopecks} kopecks of the payment are refunded there, {known} here:"
            " an earlier try may have been carried out. Look there, then `rei refund close`",
            code="refund_unclear",
        ) from refusal


async def _open(
    pool: Pool, *, user_id: int, chat_id: int, amount_kopecks: int, request_key: str
) -> Payment:
    async with pool.acquire() as connection:
        for _ in range(2):  # the second look finds the row that a twin of this call was inserting
            payment = await queries.open_payment(
                connection,
                uuid4(),
                user_id=user_id,
                amount_kopecks=amount_kopecks,
                request_key=request_key,
                chat_id=chat_id,
            )
            if payment is not None:
                return payment
    raise PaymentUnknown(request_key)


async def _apply(pool: Pool, payment: Payment, remote: RemotePayment) -> Settlement:
    _compare(payment, remote)
    async with pool.acquire() as connection:
        if remote.status == "succeeded":
            credited = await queries.credit(
                connection,
                payment.id,
                provider_payment_id=remote.id,
                amount_kopecks=remote.amount_kopecks,
                currency=remote.currency,
            )
            if credited is not None:
                log.info(
                    "payment credited",
                    payment_id=str(payment.id),
                    provider_payment_id=remote.id,
                    user_id=payment.user_id,
                    amount_kopecks=payment.amount_kopecks,
                    transfer=f"topup/payment/{payment.id}",
                )
                return Settlement(credited, credited_now=True)
        elif remote.status == "canceled":
            canceled = await queries.mark_canceled(
                connection,
                payment.id,
                provider_payment_id=remote.id,
                reason=remote.cancellation_reason,
            )
            if canceled is not None:
                log.info(
                    "payment canceled",
                    payment_id=str(payment.id),
                    provider_payment_id=remote.id,
                    user_id=payment.user_id,
                    reason=remote.cancellation_reason,
                )
        else:
            await queries.mark_pending(
                connection,
                payment.id,
                provider_payment_id=remote.id,
                confirmation_url=remote.confirmation_url,
            )
        now = await queries.find(connection, payment.id)
    assert now is not None
    return Settlement(now, credited_now=False)


def _compare(payment: Payment, remote: RemotePayment) -> None:
    """Refuse to go on if the provider's payment is not the one we asked for."""
    ours = str(payment.id)
    pairs = [
        ("amount", str(payment.amount_kopecks), str(remote.amount_kopecks)),
        ("currency", payment.currency, remote.currency),
        (METADATA_KEY, ours, remote.metadata.get(METADATA_KEY, ours)),
    ]
    if payment.provider_payment_id is not None:
        pairs.append(("id", payment.provider_payment_id, remote.id))
    for field, ours, theirs in pairs:
        if ours != theirs:
            raise PaymentMismatch(payment_id=str(payment.id), field=field, ours=ours, theirs=theirs)


async def _open_refund(
    connection: Connection,
    *,
    payment_id: UUID,
    amount_kopecks: int,
    operation_id: str,
    asked: Asked | None,
) -> _Opened:
    payment = await queries.find(connection, payment_id)
    if payment is None or payment.provider_payment_id is None:
        raise PaymentUnknown(str(payment_id))
    known = await queries.find_refund(connection, operation_id)
    # One that was booked from the provider's list carries our id, and not the operation's name.
    known = known or await queries.find_refund_by_id(
        connection, refund_id_of(payment_id, operation_id)
    )
    refund = known or await _insert_refund(
        connection, payment, amount_kopecks=amount_kopecks, operation_id=operation_id, asked=asked
    )
    if (refund.payment_id, refund.amount_kopecks) != (payment_id, amount_kopecks):
        raise OperationConflict(operation_id)
    return _Opened(refund, payment.provider_payment_id, asked_before=known is not None)


async def _insert_refund(
    connection: Connection,
    payment: Payment,
    *,
    amount_kopecks: int,
    operation_id: str,
    asked: Asked | None,
) -> Refund:
    try:
        async with connection.transaction():
            left = await queries.lock_refundable_kopecks(connection, payment.id)
            if left is None or amount_kopecks > left:
                raise PaymentRejected(f"only {left or 0} kopecks of this payment can be refunded")
            refund = await queries.open_refund(
                connection,
                refund_id_of(payment.id, operation_id),
                payment_id=payment.id,
                operation_id=operation_id,
                amount_kopecks=amount_kopecks,
            )
            if asked is not None:
                await trail.record(
                    connection,
                    Action(
                        operation_id=operation_id,
                        word=Word.REFUND,
                        actor=asked.actor,
                        user_id=payment.user_id,
                        reason=asked.reason,
                        subject=str(payment.id),
                        amount_kopecks=-amount_kopecks,
                    ),
                )
    except asyncpg.CheckViolationError as error:
        raise InsufficientFunds(
            user_id=payment.user_id,
            balance_kopecks=await balance_kopecks(connection, payment.user_id),
            amount_kopecks=amount_kopecks,
        ) from error
    except asyncpg.UniqueViolationError:  # the same operation, about another payment
        raise OperationConflict(operation_id) from None
    assert refund is not None
    return refund
