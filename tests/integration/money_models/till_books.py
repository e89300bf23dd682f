"""The reference for payments: our books and the provider's, in plain Python.

A payment is named by the customer's click, a refund by its operation: ids differ from run to run.
`fault` is what happens to the one call that an operation makes to the provider:

    ok        carried out and answered
    lost      carried out, the answer lost
    unheard   not carried out, no answer
    refused   not carried out, and said so
    revoked   our key is refused, whatever was asked for
    slow      taken, to be carried out later (refunds only)
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from .books import Answer, Posting

UNKNOWN = "unknown outcome"
REJECTED = "rejected"
SILENT = ("lost", "unheard")


@dataclass(frozen=True, slots=True)
class Payment:
    """Our row. `linked`: it knows the provider's id."""

    user_id: int
    kopecks: int
    status: str
    linked: bool


@dataclass(frozen=True, slots=True)
class Remote:
    """The provider's payment. `differs` names what it says otherwise than we asked for."""

    status: str
    differs: str | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """Our row."""

    payment: str
    kopecks: int
    status: str


@dataclass
class TillBooks:
    """Everything that may be compared with the tables and the provider."""

    balances: dict[int, int]
    payments: dict[str, Payment] = field(default_factory=dict)
    remotes: dict[str, Remote] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    remote_refunds: dict[str, str] = field(default_factory=dict)
    """The status there by operation: what left the house or will."""
    transfers: dict[tuple[str, str], Posting] = field(default_factory=dict)
    deliveries: set[tuple[str, str]] = field(default_factory=set)

    def copy(self) -> TillBooks:
        """Books of their own; what is in them is never changed in place."""
        return TillBooks(
            dict(self.balances),
            dict(self.payments),
            dict(self.remotes),
            dict(self.refunds),
            dict(self.remote_refunds),
            dict(self.transfers),
            set(self.deliveries),
        )

    def accounts(self) -> dict[str, int]:
        """The sum of each account that money ever went through."""
        sums: dict[str, int] = {}
        for posting in self.transfers.values():
            sums[posting.debit] = sums.get(posting.debit, 0) - posting.kopecks
            sums[posting.credit] = sums.get(posting.credit, 0) + posting.kopecks
        return sums

    def move(self, kind: str, ref: str, user_id: int, kopecks: int, house: str) -> None:
        """Move `kopecks` to the customer from a house account, or, negative, the other way."""
        self.balances[user_id] += kopecks
        debit, credit = (house, "user") if kopecks > 0 else ("user", house)
        assert (kind, ref) not in self.transfers
        self.transfers[kind, ref] = Posting(
            user_id, debit, credit, abs(kopecks), self.balances[user_id]
        )

    def refundable(self, name: str) -> int:
        gone = sum(
            refund.kopecks
            for refund in self.refunds.values()
            if refund.payment == name and refund.status != "failed"
        )
        return self.payments[name].kopecks - gone


@dataclass(frozen=True, slots=True)
class StartTopup:
    name: str
    user_id: int
    kopecks: int
    fault: str
    PIECES: ClassVar = 2

    def in_pieces(self, books: TillBooks) -> Generator[None, None, Answer]:
        """The row, and later what came of the question; a second click may ask in between."""
        fresh = Payment(self.user_id, self.kopecks, "created", linked=False)
        payment = books.payments.setdefault(self.name, fresh)
        if payment.status != "created":
            return payment.status, payment.kopecks
        yield
        return self._ask(books)

    def _ask(self, books: TillBooks) -> Answer:
        if self.fault == "unheard":
            return UNKNOWN
        if self.fault in {"refused", "revoked"}:
            return REJECTED
        books.remotes.setdefault(self.name, Remote("pending"))
        if self.fault == "lost":
            return UNKNOWN
        payment = books.payments[self.name]
        if payment.status == "created":
            payment = replace(payment, status="pending", linked=True)
            books.payments[self.name] = payment
        return payment.status, payment.kopecks


@dataclass(frozen=True, slots=True)
class Settle:
    """By a notification, which may name what does not exist, or by the customer's check."""

    name: str
    by: str
    fault: str

    def apply(self, books: TillBooks) -> Answer:
        payment = books.payments.get(self.name)
        if self.by == "check" and payment is None:
            return "unknown payment"
        if payment is not None and self._is_not_asked_for(payment):
            return payment.status, False
        if self.fault != "ok":
            return UNKNOWN
        remote = books.remotes.get(self.name)
        if remote is None or payment is None:
            return "not found"
        if remote.differs is not None:
            return f"mismatch of {remote.differs}"
        return self._follow(books, payment, remote)

    def _is_not_asked_for(self, payment: Payment) -> bool:
        """Nothing can change, or the customer's check does not know where to ask."""
        return payment.status == "succeeded" or (self.by == "check" and not payment.linked)

    def _follow(self, books: TillBooks, payment: Payment, remote: Remote) -> Answer:
        credited = remote.status == "succeeded"
        if credited:
            status = "succeeded"
            books.move("topup", self.name, payment.user_id, payment.kopecks, "payments")
            books.deliveries.add(("payment_credited", self.name))
        elif remote.status == "canceled":
            status = "canceled"
            if payment.status != "canceled":
                books.deliveries.add(("payment_canceled", self.name))
        else:
            status = "pending" if payment.status == "created" else payment.status
        books.payments[self.name] = replace(payment, status=status, linked=True)
        return status, credited


@dataclass(frozen=True, slots=True)
class Payer:
    """What the payer or the provider does with a payment that is still open there."""

    name: str
    status: str

    def apply(self, books: TillBooks) -> Answer:
        remote = books.remotes.get(self.name)
        if remote is not None and remote.status == "pending":
            books.remotes[self.name] = replace(remote, status=self.status)
        return None


@dataclass(frozen=True, slots=True)
class Lie:
    """The provider begins, or ceases, to tell something else than we asked for."""

    name: str
    differs: str | None

    def apply(self, books: TillBooks) -> Answer:
        if self.name in books.remotes:
            books.remotes[self.name] = replace(books.remotes[self.name], differs=self.differs)
        return None


@dataclass(frozen=True, slots=True)
class RefundPayment:
    operation_id: str
    name: str
    kopecks: int
    fault: str
    PIECES: ClassVar = 2

    def in_pieces(self, books: TillBooks) -> Generator[None, None, Answer]:
        """The debit, and later what came of the question."""
        payment = books.payments.get(self.name)
        if payment is None or not payment.linked:
            return "unknown payment"
        refund = books.refunds.get(self.operation_id)
        repeated = refund is not None
        if refund is None:
            if payment.status != "succeeded" or self.kopecks > books.refundable(self.name):
                return REJECTED
            if books.balances[payment.user_id] < self.kopecks:
                return "insufficient funds"
            refund = Refund(self.name, self.kopecks, "pending")
            books.move(
                "payment_refund", self.operation_id, payment.user_id, -self.kopecks, "refunds"
            )
            books.refunds[self.operation_id] = refund
        if (refund.payment, refund.kopecks) != (self.name, self.kopecks):
            return "conflict"
        if refund.status != "pending":
            return refund.status
        yield
        return self._ask(books, payment.user_id, repeated=repeated)

    def _ask(self, books: TillBooks, user_id: int, *, repeated: bool) -> Answer:
        refund = books.refunds[self.operation_id]
        if refund.status != "pending":  # somebody else's question was answered meanwhile
            return refund.status
        if self.fault == "revoked":
            return REJECTED
        if self.fault == "refused" and self.operation_id not in books.remote_refunds:
            unclear = repeated and self._more_is_gone_than_we_know(books)
            return UNKNOWN if unclear else self._fail(books, user_id)
        if self.fault != "unheard":
            status = "pending" if self.fault == "slow" else "succeeded"
            books.remote_refunds.setdefault(self.operation_id, status)
        there = books.remote_refunds.get(self.operation_id)
        if self.fault in SILENT or there == "pending":
            return UNKNOWN
        if there == "canceled":
            return self._fail(books, user_id)
        books.refunds[self.operation_id] = replace(refund, status="succeeded")
        return "succeeded"

    def _more_is_gone_than_we_know(self, books: TillBooks) -> bool:
        of_payment = {
            operation_id: one
            for operation_id, one in books.refunds.items()
            if one.payment == self.name
        }
        there = [
            one.kopecks
            for operation_id, one in of_payment.items()
            if books.remote_refunds.get(operation_id) in {"pending", "succeeded"}
        ]
        here = [one.kopecks for one in of_payment.values() if one.status == "succeeded"]
        return sum(there) > sum(here)

    def _fail(self, books: TillBooks, user_id: int) -> Answer:
        refund = books.refunds[self.operation_id]
        books.refunds[self.operation_id] = replace(refund, status="failed")
        books.move("payment_refund_reversal", self.operation_id, user_id, refund.kopecks, "refunds")
        return REJECTED


@dataclass(frozen=True, slots=True)
class RefundEnds:
    """A refund that the provider took its time for ends there."""

    operation_id: str
    status: str

    def apply(self, books: TillBooks) -> Answer:
        if books.remote_refunds.get(self.operation_id) == "pending":
            books.remote_refunds[self.operation_id] = self.status
        return None


@dataclass(frozen=True, slots=True)
class Spend:
    """The customer's money goes somewhere else meanwhile."""

    operation_id: str
    user_id: int
    kopecks: int

    def apply(self, books: TillBooks) -> Answer:
        known = books.transfers.get(("adjustment", self.operation_id))
        if known is not None:
            return known.balance_after
        if books.balances[self.user_id] < self.kopecks:
            return "insufficient funds"
        books.move("adjustment", self.operation_id, self.user_id, -self.kopecks, "adjustments")
        return books.balances[self.user_id]


TillOperation = StartTopup | Settle | Payer | Lie | RefundPayment | RefundEnds | Spend
