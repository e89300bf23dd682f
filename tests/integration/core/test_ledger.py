"""The ledger defends itself, and the audit finds what got past."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from rei_core.db import Pool
from rei_core.errors import InsufficientFunds, OperationConflict, UserUnknown
from rei_core.ledger.audit import INVARIANTS, audit
from rei_core.ledger.queries import statement
from rei_core.ledger.service import adjust

from .conftest import Shop


async def change(pool: Pool, kopecks: int, operation_id: str, *, user_id: int = 1) -> int:
    async with pool.acquire() as connection, connection.transaction():
        return await adjust(
            connection,
            user_id=user_id,
            change_kopecks=kopecks,
            operation_id=operation_id,
            reason="r",
        )


async def test_an_adjustment_repeated_in_parallel_moves_money_once(shop: Shop, pool: Pool) -> None:
    await shop.customer()

    balances = await asyncio.gather(*(change(pool, 500, "op") for _ in range(20)))

    assert set(balances) == {500}
    assert await shop.transfers("adjustment") == 1


async def test_an_operation_id_with_other_content_is_a_conflict(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    await change(pool, 500, "op")
    with pytest.raises(OperationConflict):
        await change(pool, 501, "op")


async def test_a_debit_below_zero_is_refused(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=500)
    with pytest.raises(InsufficientFunds) as refused:
        await change(pool, -501, "op")
    assert (refused.value.balance_kopecks, refused.value.amount_kopecks) == (500, 501)


async def test_a_debit_of_the_last_kopeck_can_be_repeated(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=500)
    assert await change(pool, -500, "op") == 0
    assert await change(pool, -500, "op") == 0


async def test_nobody_is_adjusted_who_is_not_there(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    with pytest.raises(UserUnknown):
        await change(pool, 1, "op", user_id=99)


async def test_the_statement_is_newest_first_and_pages(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    for n in range(1, 6):
        await change(pool, n, f"op-{n}")
    async with pool.acquire() as connection:
        first = await statement(connection, 1, limit=2)
        second = await statement(connection, 1, before_id=first[-1].id, limit=2)
    changes = [transfer.user_change_kopecks for transfer in first + second]
    assert changes == [5, 4, 3, 2]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE transfers SET amount_kopecks = 1",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "UPDATE balances SET balance_kopecks = -1",
        (
            "INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,"
            " amount_kopecks, balance_after_kopecks) VALUES ('topup', 'p', '1', 1, 'user', 'user', 1, 1)"
        ),
        (
            "INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,"
            " amount_kopecks, balance_after_kopecks)"
            " VALUES ('adjustment', 'operation', 'gift-1', 1, 'adjustments', 'user', 1, 1)"
        ),
    ],
)
async def test_the_database_refuses(shop: Shop, pool: Pool, sql: str) -> None:
    await shop.customer(balance_kopecks=500)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await pool.execute(sql)


async def test_a_job_cannot_be_captured_and_released(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    job_id = (await shop.accept()).job_id
    insert = (
        "INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,"
        " amount_kopecks, balance_after_kopecks) VALUES ($1, 'job', $2, 1, 'held', $3, 1000, 0)"
    )
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(insert, "capture", str(job_id), "revenue")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(insert, "release", str(job_id), "user")
        await transaction.rollback()


TAMPERING = {
    "balance_is_sum_of_transfers": "UPDATE balances SET balance_kopecks = balance_kopecks + 1",
    "balance_after_follows": "UPDATE transfers SET balance_after_kopecks = 7 WHERE kind = 'hold'",
    "no_negative_balance": "UPDATE balances SET balance_kopecks = -1",
    "held_is_price_of_unfinished_jobs": "UPDATE jobs SET price_kopecks = 999",
    "job_held_its_price_once": "DELETE FROM transfers WHERE kind = 'hold'",
    "job_ended_with_one_transfer": (
        "UPDATE jobs SET status = 'completed', finished_at = now(), lease_until = NULL"
    ),
    "payment_succeeded_with_one_credit": (
        "INSERT INTO payments (id, user_id, amount_kopecks, status, request_key, chat_id,"
        " provider_payment_id, settled_at)"
        " VALUES (gen_random_uuid(), 1, 5, 'succeeded', 'k', 1, 'p', now())"
    ),
    "refund_debited_once": (
        "WITH p AS (INSERT INTO payments (id, user_id, amount_kopecks, request_key, chat_id)"
        " VALUES (gen_random_uuid(), 1, 5, 'k', 1) RETURNING id)"
        " INSERT INTO payment_refunds (id, payment_id, operation_id, amount_kopecks)"
        " SELECT gen_random_uuid(), id, 'o', 5 FROM p"
    ),
    "active_jobs_counted": "UPDATE balances SET active_jobs = 9",
}


@pytest.mark.parametrize("invariant", TAMPERING)
async def test_the_audit_finds_tampering(pool: Pool, invariant: str) -> None:
    shop = Shop(pool)
    await shop.customer(balance_kopecks=2000)
    await shop.accept()
    async with pool.acquire() as connection:
        # As somebody with all rights would: constraints and triggers out of the way first.
        await connection.execute("ALTER TABLE transfers DISABLE TRIGGER transfers_append_only")
        await connection.execute("ALTER TABLE balances DROP CONSTRAINT balance_not_negative")
        await connection.execute(TAMPERING[invariant])
        report = await audit(connection)
    assert not report.consistent
    assert invariant in report.violation_counts
    assert any(violation.invariant == invariant for violation in report.violations)


def test_every_invariant_has_its_tampering() -> None:
    assert set(TAMPERING) == set(INVARIANTS)
