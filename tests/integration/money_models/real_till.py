"""The real payments beside their reference, with a provider in memory.

The provider keeps its promise on idempotence keys: what it has taken under a key it answers again,
as it was. What happens to a call is the fault of the operation that makes it, whatever runs beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from rei_core.db import Connection, Pool
from rei_core.errors import (
    InsufficientFunds,
    OperationConflict,
    PaymentMismatch,
    PaymentNotFound,
    PaymentOutcomeUnknown,
    PaymentRejected,
    PaymentUnknown,
)
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.payments import service
from rei_core.payments.model import Settlement
from rei_core.payments.port import Receipt, RemotePayment, RemoteRefund, RemoteStatus
from rei_core.users import queries as users

from . import till_books as till
from .books import Posting
from .real_books import EMPTY
from .till_books import TillBooks

TERMS = service.TopUpTerms(return_url="https://t.me/rei", description="Top-up")
FAULT: ContextVar[str] = ContextVar("FAULT")
REFUSALS: dict[type[Exception], str] = {
    PaymentOutcomeUnknown: till.UNKNOWN,
    PaymentRejected: till.REJECTED,
    PaymentNotFound: "not found",
    PaymentUnknown: "unknown payment",
    InsufficientFunds: "insufficient funds",
    OperationConflict: "conflict",
}
LIES: dict[str, dict[str, object]] = {
    "amount": {"amount_kopecks": 1},
    "currency": {"currency": "USD"},
    "id": {"id": "somebody-elses"},
}


def remote_id(payment_id: str) -> str:
    """The provider's id of the payment that was created under this key, ours."""
    return f"remote-{payment_id}"


@dataclass
class Kept:
    """A payment as the provider has it."""

    kopecks: int
    metadata: dict[str, str]
    status: RemoteStatus = "pending"
    differs: str | None = None


@dataclass
class Provider:
    """All by idempotence key, which is our id of the payment or the refund."""

    payments: dict[str, Kept] = field(default_factory=dict)
    refunds: dict[str, RemoteRefund] = field(default_factory=dict)
    """As they were answered first."""
    refund_statuses: dict[str, str] = field(default_factory=dict)

    async def create(
        self,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        return_url: str,
        metadata: dict[str, str],
        receipt: Receipt | None = None,
    ) -> RemotePayment:
        await self._travel()
        if FAULT.get() == "refused":
            raise PaymentRejected("refused", http_status=400)
        self.payments.setdefault(idempotence_key, Kept(amount_kopecks, metadata))
        self._answer()
        return self._told(idempotence_key, lies=False)

    async def get(self, payment_id: str) -> RemotePayment:
        await self._travel()
        key = payment_id.removeprefix("remote-")
        if key not in self.payments:
            raise PaymentNotFound("no such payment", http_status=404)
        self._answer()
        return self._told(key, lies=True)

    async def refund(
        self,
        payment_id: str,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        receipt: Receipt | None = None,
    ) -> RemoteRefund:
        await self._travel()
        if idempotence_key not in self.refunds:
            if FAULT.get() == "refused":
                raise PaymentRejected("refused", http_status=400)
            self._keep_refund(payment_id, idempotence_key, amount_kopecks)
        self._answer()
        FAULT.set("ok")  # it has happened; to a question after this one it does not
        return self.refunds[idempotence_key]

    async def get_refund(self, refund_id: str) -> RemoteRefund:
        await self._travel()
        self._answer()
        key = refund_id.removeprefix("refund-")
        first = self.refunds[key]
        return RemoteRefund(
            id=first.id,
            payment_id=first.payment_id,
            status=self.refund_statuses[key],  # type: ignore[arg-type]
            amount_kopecks=first.amount_kopecks,
            currency=first.currency,
        )

    async def cancel(self, payment_id: str, *, idempotence_key: str) -> RemotePayment:
        raise NotImplementedError

    async def list(
        self, *, created_since: datetime, status: RemoteStatus | None = None
    ) -> AsyncIterator[RemotePayment]:
        for key in list(self.payments):
            yield self._told(key, lies=True)

    async def list_refunds(
        self, *, payment_id: str | None = None, created_since: datetime | None = None
    ) -> AsyncIterator[RemoteRefund]:
        """Without a word of whose they are."""
        for refund in list(self.refunds.values()):
            yield refund

    async def check_credentials(self) -> str:
        return "shop"

    def _keep_refund(self, payment_id: str, key: str, kopecks: int) -> None:
        status = "pending" if FAULT.get() == "slow" else "succeeded"
        self.refund_statuses[key] = status
        self.refunds[key] = RemoteRefund(
            id=f"refund-{key}",
            payment_id=payment_id,
            status=status,  # type: ignore[arg-type]
            amount_kopecks=kopecks,
            currency="RUB",
        )

    def _told(self, key: str, *, lies: bool) -> RemotePayment:
        kept = self.payments[key]
        told: dict[str, object] = {
            "id": remote_id(key),
            "status": kept.status,
            "amount_kopecks": kept.kopecks,
            "currency": "RUB",
            "created_at": datetime.now(UTC),
            "confirmation_url": f"https://pay/{key}",
            "refunded_kopecks": sum(
                refund.amount_kopecks
                for refund_key, refund in self.refunds.items()
                if refund.payment_id == remote_id(key)
                and self.refund_statuses[refund_key] != "canceled"
            ),
            "metadata": kept.metadata,
        }
        if lies and kept.differs is not None:
            told |= LIES[kept.differs]
        return RemotePayment(**told)  # type: ignore[arg-type]

    async def _travel(self) -> None:
        """The way there: others have their turn."""
        await asyncio.sleep(0)
        if FAULT.get() == "unheard":
            raise PaymentOutcomeUnknown("no answer")
        if FAULT.get() == "revoked":
            raise PaymentRejected("not you", http_status=401)

    def _answer(self) -> None:
        if FAULT.get() == "lost":
            raise PaymentOutcomeUnknown("no answer")


class RealTill:
    """`ids` finds a row by its name; a name without a row gets an id that nothing has."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.provider = Provider()
        self.ids: dict[str, UUID] = {}

    async def open(self, user_ids: tuple[int, ...]) -> TillBooks:
        """Empty tables, a new provider, customers without money; their books."""
        await self.pool.execute(EMPTY)
        self.provider = Provider()
        for user_id in user_ids:
            async with self.pool.acquire() as connection:
                await users.see(connection, user_id)
        return await self.read()

    async def perform(self, operation: object) -> object:
        """Carry out one operation as the product does."""
        FAULT.set(getattr(operation, "fault", "ok"))
        try:
            return await self._perform(operation)
        except PaymentMismatch as error:
            return f"mismatch of {error.field}"
        except tuple(REFUSALS) as error:
            return REFUSALS[type(error)]

    async def read(self) -> TillBooks:
        """The tables and the provider as books; every invariant of the audit holds."""
        async with self.pool.acquire() as connection:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                found = await self._read(connection)
            report = await audit(connection)
        assert report.violations == ()
        assert sum(report.accounts.values()) == 0
        assert report.accounts == found.accounts()
        return found

    async def _perform(self, operation: object) -> object:
        match operation:
            case till.StartTopup():
                return await self._start_topup(operation)
            case till.Settle():
                return await self._settle(operation)
            case till.RefundPayment():
                return await self._refund(operation)
            case till.Spend():
                return await self._spend(operation)
            case _:
                self._change_there(operation)
        return None

    def _change_there(self, operation: object) -> None:
        """What the payer and the provider do by themselves."""
        match operation:
            case till.Payer(name, status):
                kept = self.provider.payments.get(str(self._id(name)))
                if kept is not None and kept.status == "pending":
                    kept.status = status  # type: ignore[assignment]
            case till.Lie(name, differs):
                kept = self.provider.payments.get(str(self._id(name)))
                if kept is not None:
                    kept.differs = differs
            case till.RefundEnds(operation_id, status):
                key = str(self._id(operation_id))
                if self.provider.refund_statuses.get(key) == "pending":
                    self.provider.refund_statuses[key] = status
            case _:
                raise AssertionError(operation)

    async def _start_topup(self, operation: till.StartTopup) -> object:
        payment = await service.start_topup(
            self.pool,
            self.provider,
            user_id=operation.user_id,
            chat_id=operation.user_id,
            amount_kopecks=operation.kopecks,
            request_key=operation.name,
            terms=TERMS,
        )
        return payment.status.value, payment.amount_kopecks

    async def _settle(self, operation: till.Settle) -> object:
        payment_id = self._id(operation.name)
        settled: Settlement | None
        if operation.by == "check":
            settled = await service.check(self.pool, self.provider, payment_id)
        else:
            settled = await service.settle_by_provider_id(
                self.pool, self.provider, remote_id(str(payment_id))
            )
        assert settled is not None
        return settled.payment.status.value, settled.credited_now

    async def _refund(self, operation: till.RefundPayment) -> object:
        refund = await service.refund_payment(
            self.pool,
            self.provider,
            payment_id=self._id(operation.name),
            amount_kopecks=operation.kopecks,
            operation_id=operation.operation_id,
        )
        return refund.status

    async def _spend(self, operation: till.Spend) -> object:
        async with self.pool.acquire() as connection, connection.transaction():
            return await adjust(
                connection,
                user_id=operation.user_id,
                change_kopecks=-operation.kopecks,
                operation_id=operation.operation_id,
                reason="r",
            )

    def _id(self, name: str) -> UUID:
        return self.ids.get(name) or uuid4()

    async def _read(self, connection: Connection) -> TillBooks:
        payments = await connection.fetch("SELECT * FROM payments")
        refunds = await connection.fetch("SELECT * FROM payment_refunds")
        self.ids = {row["request_key"]: UUID(str(row["id"])) for row in payments}
        self.ids |= {row["operation_id"]: UUID(str(row["id"])) for row in refunds}
        names = {str(row_id): name for name, row_id in self.ids.items()}
        balances = await connection.fetch("SELECT user_id, balance_kopecks FROM balances")
        found = TillBooks({row["user_id"]: row["balance_kopecks"] for row in balances})
        for row in payments:
            linked = row["provider_payment_id"] is not None
            assert not linked or row["provider_payment_id"] == remote_id(str(row["id"]))
            found.payments[row["request_key"]] = till.Payment(
                row["user_id"], row["amount_kopecks"], row["status"], linked
            )
        for row in refunds:
            found.refunds[row["operation_id"]] = till.Refund(
                names[str(row["payment_id"])], row["amount_kopecks"], row["status"]
            )
        for row in await connection.fetch("SELECT * FROM transfers"):
            found.transfers[row["kind"], names.get(row["ref_id"], row["ref_id"])] = Posting(
                row["user_id"],
                row["debit_account"],
                row["credit_account"],
                row["amount_kopecks"],
                row["balance_after_kopecks"],
            )
        found.deliveries = {
            (row["kind"], names[row["ref_id"]])
            for row in await connection.fetch("SELECT kind, ref_id FROM deliveries")
        }
        self._read_provider(found, names)
        return found

    def _read_provider(self, found: TillBooks, names: dict[str, str]) -> None:
        for key, kept in self.provider.payments.items():
            found.remotes[names[key]] = till.Remote(kept.status, kept.differs)
        for key, status in self.provider.refund_statuses.items():
            found.remote_refunds[names[key]] = status
