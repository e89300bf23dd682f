"""Orders that overlap for certain: all of them have begun before the first one can end.

Started in parallel alone, they seldom meet: the first is done before the last has its connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from rei_core.db import Pool
from rei_core.jobs import claim_queries

from .books import ACTIVE_JOBS_MAX, Accept, Claim
from .real_books import RealBooks
from .serial import at_once, standstill

ORDERS = 8
PRICE_KOPECKS = 1_000


@pytest.fixture
def real(pool: Pool) -> RealBooks:
    return RealBooks(pool)


async def outcomes(real: RealBooks, keys: list[str]) -> Counter[str]:
    """How orders under these keys end; the books are audited afterwards."""
    orders = [Accept(1, key, "m", PRICE_KOPECKS, attempts_max=2) for key in keys]
    answers = await at_once(real.pool, [real.perform(order) for order in orders], gated=True)
    await real.read()
    return Counter(answer[0] for answer in answers if isinstance(answer, tuple))


async def test_copies_of_one_click_are_one_order_and_the_others_find_it(real: RealBooks) -> None:
    await real.open({1: PRICE_KOPECKS})  # for one only: a copy must not read "no money"
    ends = await outcomes(real, ["click"] * ORDERS)
    assert ends == {"accepted": 1, "duplicate": ORDERS - 1}


async def test_no_more_orders_than_allowed_are_accepted(real: RealBooks) -> None:
    await real.open({1: 100 * PRICE_KOPECKS})
    ends = await outcomes(real, [f"click-{n}" for n in range(ORDERS)])
    assert ends == {"accepted": ACTIVE_JOBS_MAX, "too_many_active": ORDERS - ACTIVE_JOBS_MAX}


async def test_no_ruble_is_spent_twice(real: RealBooks) -> None:
    await real.open({1: 2 * PRICE_KOPECKS})
    ends = await outcomes(real, [f"click-{n}" for n in range(ORDERS)])
    assert ends == {"accepted": 2, "insufficient_funds": ORDERS - 2}


async def test_a_claim_beside_another_counts_what_that_one_takes(real: RealBooks) -> None:
    await real.open({1: 3 * PRICE_KOPECKS})
    for number in range(3):
        await real.perform(Accept(1, f"click-{number}", "m", PRICE_KOPECKS, attempts_max=2))
    async with real.pool.acquire() as first, first.transaction():
        taken = await claim_queries.claim(
            first, worker="w", lease_seconds=60, limit=1, processing_max=1
        )
        # The claim has given itself seconds, which are not for whoever looks at it here.
        await first.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        second = asyncio.create_task(real.perform(Claim(3, processing_max=1)))
        await standstill(real.pool, [second])
    assert len(taken) == 1
    assert await second == frozenset()
