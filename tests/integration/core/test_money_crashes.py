"""The crash test: each statement that moves money is cut by a dying server process at every point
where it writes, and has either happened entirely or not at all.

Random lives of customers, jobs and payments are in `money_models`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from rei_core.db import Pool
from rei_core.jobs import end_queries
from rei_core.jobs.accept_queries import accept
from rei_core.jobs.model import Output
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.payments import found_refunds, service
from rei_core.payments import queries as payments
from rei_core.payments.model import refund_words
from rei_core.payments.port import RemoteRefund

from .conftest import ANNA, ORDER, Shop

PICTURE = Output(mime_type="image/png", width=1, height=1, data=b"png")

Act = Callable[[Any], Coroutine[Any, Any, object]]


async def _complete(connection: Any) -> object:
    return await end_queries.complete(connection, 1, attempt=1, output=PICTURE)


async def _fail(connection: Any) -> object:
    return await end_queries.fail(connection, 1, attempt=1, error_code="x", error_detail="")


async def _cancel(connection: Any) -> object:
    return await end_queries.cancel(connection, 2, user_id=1)


async def _credit(connection: Any) -> object:
    return await payments.credit(
        connection, UUID(int=1), provider_payment_id="p", amount_kopecks=5, currency="RUB"
    )


async def _open_refund(connection: Any) -> object:
    return await payments.open_refund(
        connection, UUID(int=3), payment_id=UUID(int=2), operation_id="new", amount_kopecks=5
    )


async def _fail_refund(connection: Any) -> object:
    await payments.fail_refund(connection, UUID(int=4), error_detail="refused")
    refund = await payments.find_refund(connection, "old")
    return refund is not None and refund.status == "failed"


class OnlyConnection:
    """A pool that has this one."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        yield self._connection


def _found(number: int, payment: str, words: str = "") -> RemoteRefund:
    """A refund of 5 kopecks in the provider's list."""
    return RemoteRefund(
        id=f"there-{number}",
        payment_id=payment,
        status="succeeded",
        amount_kopecks=5,
        currency="RUB",
        description=words,
    )


async def _book_refund(connection: Any) -> object:
    pool: Any = OnlyConnection(connection)
    return await found_refunds.book(pool, _found(1, "found"))


async def _book_refund_of_ours(connection: Any) -> object:
    pool: Any = OnlyConnection(connection)
    booked = await found_refunds.book(pool, _found(2, "paid", refund_words(UUID(int=4))))
    return booked.id == UUID(int=4)


async def _ask_for_refund(connection: Any) -> object:
    return await service._open_refund(
        connection,
        payment_id=UUID(int=2),
        amount_kopecks=5,
        operation_id="asked",
        asked=service.Asked(ANNA, "a broken picture"),
    )


class KnowsNothing:
    """A provider that has carried out no refund."""

    async def list_refunds(self, *, payment_id: str) -> AsyncIterator[RemoteRefund]:
        del payment_id
        nothing: list[RemoteRefund] = []
        for remote in nothing:
            yield remote


async def _close_refund(connection: Any) -> object:
    pool: Any = OnlyConnection(connection)
    provider: Any = KnowsNothing()
    closed = await found_refunds.close(
        pool, provider, UUID(int=4), provider_refund_id=None, reason="not there", actor=ANNA
    )
    return closed.status == "failed"


async def _adjust(connection: Any) -> object:
    return await adjust(connection, user_id=1, change_kopecks=5, operation_id="op", reason="r")


async def _accept(connection: Any) -> object:
    return await accept(connection, ORDER, active_jobs_max=9, attempts_max=2, deadline_seconds=60)


ACTS: dict[str, tuple[Act, list[str]]] = {
    "accept": (_accept, ["jobs", "balances", "transfers"]),
    "complete": (_complete, ["jobs", "balances", "transfers", "job_outputs", "deliveries"]),
    "fail": (_fail, ["jobs", "balances", "transfers", "deliveries"]),
    "cancel": (_cancel, ["jobs", "balances", "transfers"]),
    "credit": (_credit, ["payments", "balances", "transfers", "deliveries"]),
    "open refund": (_open_refund, ["payment_refunds", "balances", "transfers"]),
    "ask for refund": (
        _ask_for_refund,
        ["payment_refunds", "balances", "transfers", "admin_actions"],
    ),
    "close refund": (_close_refund, ["payment_refunds", "balances", "transfers", "admin_actions"]),
    "fail refund": (_fail_refund, ["payment_refunds", "balances", "transfers"]),
    "book refund": (
        _book_refund,
        ["payment_refunds", "balances", "transfers", "UPDATE payment_refunds"],
    ),
    "book refund of ours": (_book_refund_of_ours, ["payment_refunds"]),
    "adjust": (_adjust, ["balances", "transfers"]),
}

LOST = (
    asyncpg.AdminShutdownError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
)

# The server process that runs the statement is killed right before its write to the table, after
# its writes to the tables before: BEFORE triggers run in the middle of the statement.
CRASH = """
CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(1);
    RETURN NEW;
END $$;
CREATE TRIGGER crash BEFORE {event} ON {table}
    FOR EACH ROW EXECUTE FUNCTION crash();
"""


async def open_payments(pool: Pool) -> None:
    """One that is not paid yet, and two that are, one of them with a refund on its way."""
    async with pool.acquire() as connection:
        for number, remote in ((1, "p"), (2, "paid"), (3, "found")):
            payment_id = UUID(int=number)
            await payments.open_payment(
                connection, payment_id, user_id=1, amount_kopecks=5 * number, request_key=remote,
                chat_id=1,
            )  # fmt: skip
            if number > 1:
                await payments.credit(
                    connection, payment_id, provider_payment_id=remote,
                    amount_kopecks=5 * number, currency="RUB",
                )  # fmt: skip
        await payments.open_refund(
            connection, UUID(int=4), payment_id=UUID(int=2), operation_id="old", amount_kopecks=5
        )


@pytest.mark.parametrize(
    ("act", "write"), [(act, write) for act, (_, writes) in ACTS.items() for write in writes]
)
async def test_a_crash_at_any_write_leaves_all_or_nothing(
    shop: Shop, pool: Pool, act: str, write: str
) -> None:
    event, _, table = write.rpartition(" ")
    await shop.customer(balance_kopecks=5000)
    await shop.accept("first")
    await shop.claim()
    await shop.accept("second")
    await open_payments(pool)
    before = await shop.balance()
    work, _ = ACTS[act]
    await pool.execute(CRASH.format(event=event or "INSERT OR UPDATE", table=table))

    async with pool.acquire() as connection:
        with pytest.raises(LOST):
            await work(connection)

    assert await shop.balance() == before
    async with pool.acquire() as connection:
        assert (await audit(connection)).consistent
        await connection.execute(f"DROP TRIGGER crash ON {table}")
        assert await work(connection)  # the retry after the crash does it, once
        assert (await audit(connection)).consistent
