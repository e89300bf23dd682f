"""What admins change. Each is done once for its operation id and told in the trail, in one
transaction; a repeat changes nothing and says so.

A ban and its end have names of their own, too: a button pressed on Monday whose update comes again
after the unban on Tuesday must not ban anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rei_core.admin import queries
from rei_core.admin.asking import AskedWrongly, operation_id_of
from rei_core.admin.reports import Ban, PaymentLine
from rei_core.db import Connection, Pool
from rei_core.errors import PaymentUnknown, UserUnknown
from rei_core.maintenance.adjustments.service import adjust
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.payments.model import PaymentStatus
from rei_core.payments.port import PaymentProvider, Receipt
from rei_core.payments.service import Asked, refund_payment
from rei_core.trail import queries as trail
from rei_core.trail.model import Action, Actor, Done, Word
from rei_core.users import queries as users


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of a request. `repeated`: it had been done before, and nothing has changed now.

    `balance_after_kopecks` is the balance that the operation left; `bans_left` are those that still
    ban the user, whoever put them; `refund_status` is the refund's.
    """

    operation_id: str
    word: Word
    user_id: int
    repeated: bool
    done: Done | None = None
    amount_kopecks: int | None = None
    balance_after_kopecks: int | None = None
    bans_left: tuple[Ban, ...] = ()
    refund_status: str | None = None


async def change_balance(
    connection: Connection, spec: BalanceAdjustmentSpec, *, actor: Actor
) -> Changed:
    """Credit or debit; raises `OperationConflict`, `InsufficientFunds`, `UserUnknown`."""
    adjusted = await adjust(connection, spec, actor=actor)
    return Changed(
        operation_id=spec.operation_id,
        word=Word.CREDIT if spec.amount_kopecks > 0 else Word.DEBIT,
        user_id=spec.user_id,
        repeated=adjusted.repeated,
        done=await trail.find(connection, spec.operation_id),
        amount_kopecks=spec.amount_kopecks,
        balance_after_kopecks=adjusted.balance_after_kopecks,
    )


async def ban(
    connection: Connection, spec: UserBanSpec, *, operation_id: str, actor: Actor
) -> Changed:
    """Ban as an admin; bans of other sources stay beside it. Raises `OperationConflict`,
    `UserUnknown`."""
    return await _switch(
        connection,
        Action(
            operation_id=operation_id,
            word=Word.BAN,
            actor=actor,
            user_id=spec.user_id,
            reason=spec.reason,
        ),
        until=spec.expires_at,
    )


async def unban(
    connection: Connection, *, user_id: int, reason: str, operation_id: str, actor: Actor
) -> Changed:
    """Lift the admins' ban; `bans_left` tells of those that others have put. Raises as `ban` does."""
    return await _switch(
        connection,
        Action(
            operation_id=operation_id,
            word=Word.UNBAN,
            actor=actor,
            user_id=user_id,
            reason=reason,
        ),
        until=None,
    )


async def _switch(connection: Connection, action: Action, *, until: datetime | None) -> Changed:
    user_id = action.user_id
    async with connection.transaction():
        if await users.find(connection, user_id) is None:
            raise UserUnknown(user_id)
        new = await trail.record(connection, action)
        if new and action.word is Word.BAN:
            await users.ban(connection, user_id, until=until, reason=action.reason)
        elif new:
            await users.unban(connection, user_id)
        return Changed(
            operation_id=action.operation_id,
            word=action.word,
            user_id=user_id,
            repeated=not new,
            done=await trail.find(connection, action.operation_id),
            bans_left=tuple(await queries.bans_of(connection, user_id)),
        )


@dataclass(frozen=True, slots=True)
class RefundWanted:
    """A refund that may be asked for; a repeat wants the same amount as the first time."""

    payment: PaymentLine
    amount_kopecks: int
    operation_id: str
    known: bool


async def refund_wanted(
    pool: Pool, name: str, *, amount_kopecks: int | None, reason: str, operation_id: str | None
) -> RefundWanted:
    """The refund of the payment that `name` names, ours or YooKassa's; all that is left by default.

    Raises `PaymentUnknown`, and `AskedWrongly` if nothing is left.
    """
    async with pool.acquire() as connection:
        payment = await queries.find_payment(connection, name)
        if payment is None:
            raise PaymentUnknown(name)
        operation_id = operation_id or operation_id_of(
            Word.REFUND, payment.id, amount_kopecks or "all", reason
        )
        known = await trail.find(connection, operation_id)
    if amount_kopecks is None and known is not None:
        amount_kopecks = -(known.action.amount_kopecks or 0)
    left_kopecks = payment.amount_kopecks - payment.refunded_kopecks
    amount_kopecks = amount_kopecks or left_kopecks
    if amount_kopecks == 0 or payment.status is not PaymentStatus.SUCCEEDED:
        raise AskedWrongly("payment", f"is {payment.status}, with nothing left to refund")
    return RefundWanted(payment, amount_kopecks, operation_id, known is not None)


async def refund(
    pool: Pool,
    provider: PaymentProvider,
    wanted: RefundWanted,
    *,
    asked: Asked,
    receipt: Receipt | None,
) -> Changed:
    """Send money of a payment back to where it came from; raises as `refund_payment` does.

    `PaymentOutcomeUnknown` leaves it debited and open: a repeat under the same id goes on with it,
    and so does the next PaymentReconciliation.
    """
    payment, operation_id = wanted.payment, wanted.operation_id
    made = await refund_payment(
        pool,
        provider,
        payment_id=payment.id,
        amount_kopecks=wanted.amount_kopecks,
        operation_id=operation_id,
        receipt=receipt,
        asked=asked,
    )
    async with pool.acquire() as connection:
        done = await trail.find(connection, operation_id)
    return Changed(
        operation_id=operation_id,
        word=Word.REFUND,
        user_id=payment.user_id,
        repeated=wanted.known,
        done=done,
        amount_kopecks=-wanted.amount_kopecks,
        refund_status=made.status,
    )
