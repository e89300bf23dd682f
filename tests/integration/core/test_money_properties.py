"""Random lives of customers, jobs and payments: every invariant after every step.

And the crash test: each statement that moves money is cut by a dying server process at every
point where it writes, and has either happened entirely or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rei_core.db import Pool, create_pool
from rei_core.errors import InsufficientFunds
from rei_core.jobs import claim_queries, end_queries
from rei_core.jobs.accept_queries import accept
from rei_core.jobs.model import Output
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.payments import queries as payments

from .conftest import ORDER, Shop

PICTURE = Output(mime_type="image/png", width=1, height=1, data=b"png")

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "accept",
                "claim",
                "complete",
                "fail",
                "cancel",
                "lapse",
                "hopeless",
                "credit",
                "debit",
            ]
        ),
        st.integers(1, 2),  # the customer
        st.integers(0, 5),  # the key or job meant
    ),
    min_size=5,
    max_size=40,
)


async def step(shop: Shop, what: str, user_id: int, number: int) -> None:
    async with shop.pool.acquire() as connection:
        match what:
            case "accept":
                await shop.accept(f"order-{number}", user_id=user_id, active_jobs_max=3)
            case "claim":
                await shop.claim(limit=number)
            case "complete":
                await end_queries.complete(
                    connection, number, attempt=1 + number % 2, output=PICTURE
                )
            case "fail":
                await end_queries.fail(
                    connection, number, attempt=1, error_code="blocked", error_detail=""
                )
            case "cancel":
                await end_queries.cancel(connection, number, user_id=user_id)
            case "lapse":
                await shop.expire_leases()
                await claim_queries.lapse(connection, limit=number)
            case "hopeless":
                await shop.expire_leases()
                await end_queries.fail_lapsed(connection, limit=number)
            case "credit" | "debit":
                sign = 1 if what == "credit" else -1
                with contextlib.suppress(InsufficientFunds):
                    await adjust(
                        connection,
                        user_id=user_id,
                        change_kopecks=sign * 1500,
                        operation_id=f"{what}-{user_id}-{number}",
                        reason="r",
                    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(steps=STEPS)
def test_any_sequence_of_steps_keeps_every_invariant(
    steps: list[tuple[str, int, int]], database_url: str
) -> None:
    async def live() -> None:
        pool = await create_pool(database_url, application="test", size_max=4)
        shop = Shop(pool)
        try:
            # Hypothesis runs many examples in one test: each starts from empty tables.
            await pool.execute("ALTER TABLE transfers DISABLE TRIGGER transfers_append_only")
            await pool.execute("TRUNCATE users, jobs, transfers RESTART IDENTITY CASCADE")
            await pool.execute("ALTER TABLE transfers ENABLE TRIGGER transfers_append_only")
            for user_id in (1, 2):
                await shop.customer(user_id, balance_kopecks=2500)
            for what, user_id, number in steps:
                await step(shop, what, user_id, number)
                async with pool.acquire() as connection:
                    report = await audit(connection)
                assert report.violations == (), (what, user_id, number)
        finally:
            await pool.close()

    asyncio.run(live())


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
CREATE TRIGGER crash BEFORE INSERT OR UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION crash();
"""


@pytest.mark.parametrize(
    ("act", "table"), [(act, table) for act, (_, tables) in ACTS.items() for table in tables]
)
async def test_a_crash_at_any_write_leaves_all_or_nothing(
    shop: Shop, pool: Pool, act: str, table: str
) -> None:
    await shop.customer(balance_kopecks=5000)
    await shop.accept("first")
    await shop.claim()
    await shop.accept("second")
    await pool.execute(
        "INSERT INTO payments (id, user_id, amount_kopecks, request_key, chat_id)"
        " VALUES ($1, 1, 5, 'k', 1)",
        UUID(int=1),
    )
    before = await shop.balance()
    work, _ = ACTS[act]
    await pool.execute(CRASH.format(table=table))

    async with pool.acquire() as connection:
        with pytest.raises(LOST):
            await work(connection)

    assert await shop.balance() == before
    async with pool.acquire() as connection:
        assert (await audit(connection)).consistent
        await connection.execute(f"DROP TRIGGER crash ON {table}")
        assert await work(connection)  # the retry after the crash does it, once
        assert (await audit(connection)).consistent
