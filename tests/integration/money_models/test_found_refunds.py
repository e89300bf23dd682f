"""Refunds that the provider has carried out, booked beside a reference of our books.

Somebody made them in the merchant's profile, or they are ours and their answers were lost. They are
found in any order, over and over, some at once, while we ask for refunds and the customer spends.
Whatever comes, one that was carried out is debited once or told as not to be debited, and never more
goes back than was paid.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import Connection, Pool, create_pool
from rei_core.errors import (
    InsufficientFunds,
    OperationConflict,
    PaymentMismatch,
    PaymentOutcomeUnknown,
    PaymentRejected,
    PaymentUnknown,
)
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.payments import found_refunds, queries, service
from rei_core.payments.model import refund_id_of, refund_words
from rei_core.payments.port import RemoteRefund
from rei_core.users import queries as users

from .profiles import PROFILE, SECONDS_MAX
from .real_books import EMPTY
from .serial import at_once, explained

USER = 1
PAID_KOPECKS = {"first": 500, "second": 300}
PAYMENT_IDS = {name: UUID(int=number) for number, name in enumerate(PAID_KOPECKS, start=1)}
NUMBERS = (1, 2)
"""Of the operations that ask for refunds; each payment has its own."""
NOTHING: tuple[RemoteRefund, ...] = ()
AT_ONCE_MAX = 3
REFUSALS: dict[type[Exception], str] = {
    PaymentUnknown: "unknown payment",
    PaymentMismatch: "too much",
    PaymentRejected: "too much",
    InsufficientFunds: "spent",
    OperationConflict: "conflict",
    PaymentOutcomeUnknown: "unclear",
}
Name = tuple[str, int] | str
"""Of a row: (payment, the number of the operation that asked for it), or its id at the provider."""


@dataclass(frozen=True, slots=True)
class There:
    """A refund as the provider has carried it out; `number` is what it says of whose it is."""

    id: str
    payment: str
    kopecks: int
    number: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """Ours. One without `there` waits for its answer."""

    payment: str
    kopecks: int
    there: str | None = None


@dataclass
class Books:
    """The reference."""

    balance: int
    rows: dict[Name, Row] = field(default_factory=dict)
    spendings: dict[str, int] = field(default_factory=dict)
    """The balance that each has left."""

    def copy(self) -> Books:
        return Books(self.balance, dict(self.rows), dict(self.spendings))

    def debited(self, name: Name, row: Row) -> str | None:
        """Debit a new refund, or say why that cannot be."""
        gone = sum(one.kopecks for one in self.rows.values() if one.payment == row.payment)
        if gone + row.kopecks > PAID_KOPECKS[row.payment]:
            return "too much"
        if row.kopecks > self.balance:
            return "spent"
        self.balance -= row.kopecks
        self.rows[name] = row
        return None


@dataclass(frozen=True, slots=True)
class Book:
    """A refund of the provider's list."""

    found: There

    def apply(self, books: Books) -> object:
        found = self.found
        if found.payment not in PAID_KOPECKS:
            return "unknown payment"
        if any(row.there == found.id for row in books.rows.values()):
            return "booked"
        name: Name = found.id if found.number is None else (found.payment, found.number)
        ours = books.rows.get(name)
        if ours is not None and ours.there is None and ours.kopecks == found.kopecks:
            books.rows[name] = replace(ours, there=found.id)
            return "booked"
        waiting = [row for row in books.rows.values() if row.there is None]
        if any(row.payment == found.payment for row in waiting):
            return "unclear"
        if ours is not None:
            name = found.id
        return books.debited(name, Row(found.payment, found.kopecks, found.id)) or "booked"


@dataclass(frozen=True, slots=True)
class Ask:
    """We ask for a refund, and no answer comes."""

    number: int
    payment: str
    kopecks: int

    def apply(self, books: Books) -> object:
        name = (self.payment, self.number)
        known = books.rows.get(name)
        if known is None:
            return books.debited(name, Row(self.payment, self.kopecks)) or "unclear"
        if known.kopecks != self.kopecks:
            return "conflict"
        return "unclear" if known.there is None else "done"


@dataclass(frozen=True, slots=True)
class Spend:
    """The money goes somewhere else."""

    operation_id: str
    kopecks: int

    def apply(self, books: Books) -> object:
        if self.operation_id not in books.spendings:
            if self.kopecks > books.balance:
                return "spent"
            books.balance -= self.kopecks
            books.spendings[self.operation_id] = books.balance
        return books.spendings[self.operation_id]


class Silent:
    """The provider as it answers who asks for a refund: not at all."""

    async def refund(self, payment_id: str, **_: Any) -> RemoteRefund:
        raise PaymentOutcomeUnknown(f"no answer about {payment_id}")

    async def list_refunds(self, **_: Any) -> AsyncIterator[RemoteRefund]:
        for one in NOTHING:
            yield one


class Real:
    """The product."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._provider: Any = Silent()

    async def open(self) -> Books:
        await self.pool.execute(EMPTY)
        async with self.pool.acquire() as connection:
            await users.see(connection, USER)
            for name, kopecks in PAID_KOPECKS.items():
                await queries.open_payment(
                    connection, PAYMENT_IDS[name], user_id=USER, amount_kopecks=kopecks,
                    request_key=name, chat_id=USER,
                )  # fmt: skip
                await queries.credit(
                    connection, PAYMENT_IDS[name], provider_payment_id=name,
                    amount_kopecks=kopecks, currency="RUB",
                )  # fmt: skip
        return await self.read()

    async def perform(self, operation: Book | Ask | Spend) -> object:
        try:
            match operation:
                case Book():
                    await found_refunds.book(self.pool, _remote(operation.found))
                    return "booked"
                case Ask():
                    await self._ask(operation)
                    return "done"
                case Spend():
                    return await self._spend(operation)
        except tuple(REFUSALS) as refusal:
            return REFUSALS[type(refusal)]

    async def _ask(self, operation: Ask) -> None:
        await service.refund_payment(
            self.pool,
            self._provider,
            payment_id=PAYMENT_IDS[operation.payment],
            amount_kopecks=operation.kopecks,
            operation_id=_operation_id(operation.payment, operation.number),
        )

    async def _spend(self, operation: Spend) -> int:
        async with self.pool.acquire() as connection:
            return await adjust(
                connection,
                user_id=USER,
                change_kopecks=-operation.kopecks,
                operation_id=operation.operation_id,
                reason="r",
            )

    async def read(self) -> Books:
        """The books as they are; the audit finds nothing in them."""
        async with self.pool.acquire() as connection:
            assert (await audit(connection)).consistent
            return await _read(connection)


async def _read(connection: Connection) -> Books:
    balance = await connection.fetchval("SELECT balance_kopecks FROM balances")
    books = Books(balance)
    payments = {payment_id: name for name, payment_id in PAYMENT_IDS.items()}
    for row in await connection.fetch("SELECT * FROM payment_refunds"):
        assert (row["status"] == "pending") == (row["provider_refund_id"] is None)
        name = _NAMES.get(UUID(str(row["id"])), row["provider_refund_id"])
        payment = payments[UUID(str(row["payment_id"]))]
        books.rows[name] = Row(payment, row["amount_kopecks"], row["provider_refund_id"])
    for row in await connection.fetch("SELECT * FROM transfers WHERE kind = 'adjustment'"):
        books.spendings[row["ref_id"]] = row["balance_after_kopecks"]
    return books


def _operation_id(payment: str, number: int) -> str:
    return f"{payment}-{number}"


_IDS: dict[tuple[str, int], UUID] = {
    (payment, number): refund_id_of(PAYMENT_IDS[payment], _operation_id(payment, number))
    for payment, number in itertools.product(PAID_KOPECKS, NUMBERS)
}
_NAMES = {row_id: name for name, row_id in _IDS.items()}


def _remote(found: There) -> RemoteRefund:
    ours = None if found.number is None else _IDS.get((found.payment, found.number))
    return RemoteRefund(
        id=found.id,
        payment_id=found.payment,
        status="succeeded",
        amount_kopecks=found.kopecks,
        currency="RUB",
        description="" if ours is None else refund_words(ours),
    )


OURS = [Ask(1, "first", 200), Ask(2, "first", 100), Ask(1, "second", 100)]
"""What we ask for. What comes back of it has mostly the same amount."""
KOPECKS = st.sampled_from([100, 200, 300, 400])
FOREIGN = st.tuples(st.sampled_from([*PAID_KOPECKS, "first", "another shop's"]), KOPECKS, st.none())
OF_OURS = st.sampled_from(OURS).map(lambda ask: (ask.payment, ask.kopecks, ask.number))
LIKE_OURS = st.tuples(st.sampled_from(sorted(PAID_KOPECKS)), KOPECKS, st.sampled_from(NUMBERS))
LIST = st.lists(FOREIGN | FOREIGN | OF_OURS | LIKE_OURS, min_size=2, max_size=6).map(
    lambda drawn: [There(f"there-{n}", *one) for n, one in enumerate(drawn)]
)
ASK = st.sampled_from([*OURS, *OURS, Ask(1, "first", 300)])
SPEND = st.builds(Spend, operation_id=st.sampled_from(["x", "y"]), kopecks=st.just(300))
Step = tuple[list[Book | Ask | Spend], bool]


def _steps(there: list[There]) -> st.SearchStrategy[list[Step]]:
    book = st.builds(Book, st.sampled_from(there))
    usual = st.one_of(*[book] * 8, ASK, SPEND)
    at_a_time = st.lists(usual, min_size=1, max_size=AT_ONCE_MAX)
    return st.lists(st.tuples(at_a_time, st.booleans()), min_size=4, max_size=12)


async def go_through(real: Real, steps: list[Step]) -> None:
    """Every step ends as some order of its operations does in the reference."""
    books = await real.open()
    for operations, gated in steps:
        work = [real.perform(operation) for operation in operations]
        answers = await at_once(real.pool, work, gated=gated)
        after = await real.read()
        assert explained(books, operations, answers, after), (
            f"no order explains {operations=}\n{answers=}\nbefore {books}\nafter {after}"
        )
        books = after
    of_provider = [row.there for row in books.rows.values() if row.there is not None]
    assert len(of_provider) == len(set(of_provider)), "booked twice"


@pytest.mark.timeout(SECONDS_MAX)
def test_what_the_provider_has_sent_back_is_debited_once_or_told(database_url: str) -> None:
    async def connect() -> Pool:
        return await create_pool(database_url, application="test", size_max=AT_ONCE_MAX + 2)

    with asyncio.Runner() as runner:
        pool = runner.run(connect())
        real = Real(pool)

        @PROFILE
        @given(steps=LIST.flatmap(_steps))
        def always(steps: list[Step]) -> None:
            runner.run(go_through(real, steps))

        try:
            always()
        finally:
            runner.run(pool.close())
