"""What is pending, in numbers for people on call."""

from __future__ import annotations

from uuid import uuid4

import pytest

from rei_core.db import Pool
from rei_core.deliveries.backlog_queries import backlog
from rei_core.payments.pending_queries import pending_payments, pending_refunds

PAYMENT = """
INSERT INTO payments (id, user_id, amount_kopecks, status, request_key, chat_id, created_at,
                      provider_payment_id, settled_at)
VALUES ($1, 1, $2, $3, ($1::uuid)::text, 1, now() - make_interval(secs => $4),
        ($1::uuid)::text,
        CASE WHEN ($3::text) = 'succeeded' THEN now() END)
"""
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@pytest.fixture(autouse=True)
async def _customer(pool: Pool) -> None:
    await pool.execute("INSERT INTO users (id, first_name) VALUES (1, 'A')")


async def test_payments_by_age(pool: Pool) -> None:
    for kopecks, status, age in (
        (100, "pending", MINUTE),
        (9000, "created", 26 * HOUR),
        (200, "pending", 11 * MINUTE),
        (300, "pending", 59 * MINUTE),
        (400, "pending", 61 * MINUTE),
        (500, "pending", 25 * HOUR),
        (9000, "succeeded", 2 * DAY),
        (9000, "canceled", 2 * DAY),
    ):
        await pool.execute(PAYMENT, uuid4(), kopecks, status, age)
    async with pool.acquire() as connection:
        pending = await pending_payments(connection)
    assert pending.payments == {"under_10m": 1, "10m_to_1h": 2, "1h_to_1d": 1, "over_1d": 1}
    assert pending.kopecks == {"under_10m": 100, "10m_to_1h": 500, "1h_to_1d": 400, "over_1d": 500}
    assert pending.unanswered == 1
    assert pending.oldest_seconds == pytest.approx(25 * HOUR, abs=60)


async def test_nothing_pending_is_zero_of_each_age(pool: Pool) -> None:
    async with pool.acquire() as connection:
        pending = await pending_payments(connection)
        refunds = await pending_refunds(connection)
        messages = await backlog(connection)
    assert set(pending.payments.values()) == set(pending.kopecks.values()) == {0}
    assert (pending.oldest_seconds, refunds.oldest_seconds, messages.overdue_seconds) == (0, 0, 0)
    assert (pending.unanswered, refunds.waiting, messages.pending) == (0, 0, 0)


async def test_a_refund_is_pending_until_it_has_an_end(pool: Pool) -> None:
    payment = uuid4()
    await pool.execute(PAYMENT, payment, 100, "succeeded", DAY)
    for status in ("pending", "succeeded", "failed"):
        await pool.execute(
            """
            INSERT INTO payment_refunds (id, payment_id, operation_id, amount_kopecks, status,
                                         created_at)
            VALUES ($1, $2, $3, 100, $3, now() - interval '2 hours')
            """,
            uuid4(), payment, status,
        )  # fmt: skip
    async with pool.acquire() as connection:
        refunds = await pending_refunds(connection)
    assert refunds.waiting == 1
    assert refunds.oldest_seconds == pytest.approx(2 * HOUR, abs=60)


async def test_a_message_that_is_due_later_is_not_overdue(pool: Pool) -> None:
    async def deliver(ref: str, due_in_seconds: float) -> None:
        await pool.execute(
            """
            INSERT INTO deliveries (kind, ref_id, user_id, chat_id, due_at)
            VALUES ('result', $1, 1, 1, now() + make_interval(secs => $2))
            """,
            ref, due_in_seconds,
        )  # fmt: skip

    await deliver("later", HOUR)
    async with pool.acquire() as connection:
        one = await backlog(connection)
    assert (one.pending, one.overdue_seconds) == (1, 0)
    await deliver("overdue", -HOUR)
    async with pool.acquire() as connection:
        two = await backlog(connection)
    assert two.pending == 2
    assert two.overdue_seconds == pytest.approx(HOUR, abs=60)
