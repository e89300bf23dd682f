"""Accepting orders: exactly one job and one charge, whatever comes at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from rei_core.db import Pool
from rei_core.errors import FailureClass, ImageProviderError
from rei_core.images import circuits
from rei_core.jobs import read_queries
from rei_core.jobs.model import InputRef, Outcome
from rei_core.users import queries as users

from .conftest import Shop


async def test_a_hundred_parallel_orders_with_money_for_three_make_three_jobs(shop: Shop) -> None:
    await shop.customer(balance_kopecks=3000)

    answers = await asyncio.gather(*(shop.accept(f"order-{n}") for n in range(100)))

    outcomes = Counter(answer.outcome for answer in answers)
    assert outcomes == {Outcome.ACCEPTED: 3, Outcome.INSUFFICIENT_FUNDS: 97}
    assert await shop.balance() == 0
    assert await shop.transfers("hold") == 3


async def test_the_same_key_a_hundred_times_in_parallel_is_one_order(shop: Shop) -> None:
    await shop.customer(balance_kopecks=1000)  # for one only: a twin must not read "no money"

    answers = await asyncio.gather(*(shop.accept("click") for _ in range(100)))

    assert Counter(answer.outcome for answer in answers) == {
        Outcome.ACCEPTED: 1,
        Outcome.DUPLICATE: 99,
    }
    assert len({answer.job_id for answer in answers}) == 1
    assert await shop.transfers("hold") == 1


async def test_the_limit_of_active_jobs_is_exact_under_concurrency(shop: Shop) -> None:
    await shop.customer(balance_kopecks=100_000)

    answers = await asyncio.gather(
        *(shop.accept(f"order-{n}", active_jobs_max=5) for n in range(50))
    )

    assert Counter(answer.outcome for answer in answers) == {
        Outcome.ACCEPTED: 5,
        Outcome.TOO_MANY_ACTIVE: 45,
    }


async def test_the_place_in_the_queue_counts_those_in_front(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=3000)

    accepted = [await shop.accept(f"order-{n}") for n in range(3)]
    async with pool.acquire() as connection:
        places = [await read_queries.place(connection, answer.job_id or 0) for answer in accepted]

    assert places == [1, 2, 3]


async def test_a_banned_customer_is_refused_and_not_charged(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    async with pool.acquire() as connection:
        await users.ban(connection, 1, until=None, reason="spam")
        assert (await shop.accept()).outcome is Outcome.BANNED
        await users.unban(connection, 1)
    assert (await shop.accept()).outcome is Outcome.ACCEPTED


async def test_a_ban_that_ran_out_is_no_ban(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    await pool.execute(
        "UPDATE users SET banned_at = now(), banned_until = now() - interval '1 s' WHERE id = 1"
    )
    assert (await shop.accept()).outcome is Outcome.ACCEPTED


async def test_an_open_circuit_refuses_before_charging(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=2000)
    gone = ImageProviderError(FailureClass.OUR_FAULT, "model_gone")
    async with pool.acquire() as connection:
        opened = await circuits.record_failure(
            connection, model="m", error=gone, failures_max=5, probe_seconds=60
        )
        assert opened
        assert (await shop.accept("a")).outcome is Outcome.PROVIDER_PAUSED
        assert (await shop.accept("b", model="other")).outcome is Outcome.ACCEPTED
        await circuits.close(connection, "model:m")
    assert (await shop.accept("a")).outcome is Outcome.ACCEPTED


async def test_somebody_unknown_gets_nothing(shop: Shop) -> None:
    assert (await shop.accept()).outcome is Outcome.USER_UNKNOWN


async def test_inputs_come_back_as_they_went_in(shop: Shop) -> None:
    await shop.customer(balance_kopecks=1000)
    photo = InputRef(file_id="AgAC", mime_type="image/jpeg", size_bytes=12)

    await shop.accept(inputs=(photo,))

    assert (await shop.claim())[0].inputs == (photo,)
