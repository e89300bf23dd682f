"""Adjustments happen once for their operation; a user is banned while anybody bans them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import Pool, create_pool
from rei_core.errors import InsufficientFunds, OperationConflict, UserUnknown
from rei_core.jobs.model import Outcome
from rei_core.maintenance.adjustments.service import adjust
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.users import ban_queries
from rei_core.users import queries as users

from ..core.conftest import ANNA, Shop
from ..money_models.profiles import PROFILE, SECONDS_MAX
from ..money_models.real_books import EMPTY
from .conftest import LOST, books, crash_at, no_crash

SOON = datetime.now(UTC) + timedelta(days=1)
PAST = datetime.now(UTC) - timedelta(hours=1)


def adjustment(
    kopecks: int, *, operation: str = "ticket-1", user: int = 1
) -> BalanceAdjustmentSpec:
    return BalanceAdjustmentSpec(
        user_id=user, amount_kopecks=kopecks, reason="a broken picture", operation_id=operation
    )


# --- adjustments ----------------------------------------------------------------------------------


async def test_an_adjustment_is_made_once_and_told_the_same_every_time(
    shop: Shop, pool: Pool
) -> None:
    await shop.customer(balance_kopecks=1000)

    async def apply() -> tuple[int, int]:
        async with pool.acquire() as connection:
            made = await adjust(connection, adjustment(500), actor=ANNA)
        return made.balance_after_kopecks, made.result.amount_kopecks

    answers = await asyncio.gather(*(apply() for _ in range(8)))
    assert set(answers) == {(1500, 500)}
    await shop.accept(price_kopecks=700)
    assert await apply() == (1500, 500)
    assert await shop.balance() == 800
    assert await shop.transfers("adjustment") == 2


async def test_what_is_refused_moves_nothing(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    async with pool.acquire() as connection:
        await adjust(connection, adjustment(-1000, operation="all"), actor=ANNA)
        before = await books(pool)
        with pytest.raises(OperationConflict):
            await adjust(connection, adjustment(-999, operation="all"), actor=ANNA)
        with pytest.raises(InsufficientFunds):
            await adjust(connection, adjustment(-1, operation="more"), actor=ANNA)
        with pytest.raises(UserUnknown):
            await adjust(connection, adjustment(100, operation="other", user=7), actor=ANNA)
        again = await adjust(connection, adjustment(-1000, operation="all"), actor=ANNA)
    assert (again.balance_after_kopecks, again.result.amount_kopecks) == (0, -1000)
    assert await books(pool) == before


async def test_a_dry_run_says_what_would_be_and_leaves_it(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=1000)
    before = await books(pool)
    async with pool.acquire() as connection:
        tried = await adjust(connection, adjustment(500), actor=ANNA, dry_run=True)
        assert (tried.balance_after_kopecks, tried.result.amount_kopecks) == (1500, 0)
        with pytest.raises(InsufficientFunds):
            await adjust(connection, adjustment(-1001), actor=ANNA, dry_run=True)
        assert await books(pool) == before
        made = await adjust(connection, adjustment(-500), actor=ANNA)
    assert made.balance_after_kopecks == 500


@pytest.mark.parametrize("table", ["balances", "transfers", "admin_actions"])
async def test_an_adjustment_that_was_cut_is_made_by_the_repeat(
    shop: Shop, pool: Pool, table: str
) -> None:
    await shop.customer(balance_kopecks=1000)
    await crash_at(pool, table, nth=1)
    async with pool.acquire() as connection:
        with pytest.raises(LOST):
            await adjust(connection, adjustment(500), actor=ANNA)
    await no_crash(pool, table)
    assert await shop.balance() == 1000
    async with pool.acquire() as connection:
        assert (await adjust(connection, adjustment(500), actor=ANNA)).balance_after_kopecks == 1500


# --- bans -----------------------------------------------------------------------------------------


def ban(user: int = 1, *, until: datetime | None = None, reason: str = "spam") -> UserBanSpec:
    return UserBanSpec(user_id=user, reason=reason, expires_at=until)


async def put(pool: Pool, name: str, spec: UserBanSpec) -> bool:
    async with pool.acquire() as connection:
        return await bans.put(connection, spec, namespace="default", name=name, actor=ANNA)


async def lift(pool: Pool, name: str) -> int | None:
    async with pool.acquire() as connection:
        return await bans.lift(connection, namespace="default", name=name, actor=ANNA)


async def is_banned(pool: Pool, user: int = 1) -> bool:
    async with pool.acquire() as connection:
        found = await users.find(connection, user)
    assert found is not None
    return found.banned


async def test_a_ban_refuses_orders_for_as_long_as_it_is_there(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=5000)
    for _ in range(2):
        assert await put(pool, "a", ban())
        assert (await shop.accept("1")).outcome is Outcome.BANNED
    assert await lift(pool, "a") == 1
    assert await lift(pool, "a") is None
    assert (await shop.accept("1")).outcome is Outcome.ACCEPTED


async def test_the_last_of_several_bans_counts(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    async with pool.acquire() as connection:
        assert await users.ban(connection, 1, until=None, reason="by hand")
    await put(pool, "a", ban())
    await put(pool, "b", ban(until=SOON))
    async with pool.acquire() as connection:
        assert await users.unban(connection, 1)
    assert await is_banned(pool)
    await lift(pool, "a")
    row = await pool.fetchrow("SELECT banned_until, ban_reason FROM users WHERE id = 1")
    assert row is not None
    assert tuple(row) == (SOON, "spam")
    await lift(pool, "b")
    assert not await is_banned(pool)


async def test_a_ban_that_has_expired_is_not_in_force_and_hides_no_other(
    shop: Shop, pool: Pool
) -> None:
    await shop.customer()
    assert not await put(pool, "old", ban(until=PAST))
    assert not await is_banned(pool)
    assert await put(pool, "new", ban(until=SOON, reason="again"))
    assert await is_banned(pool)
    assert not await put(pool, "new", ban(until=PAST))
    assert not await is_banned(pool)


async def test_an_object_made_anew_for_another_user_frees_the_first(shop: Shop, pool: Pool) -> None:
    await shop.customer(1)
    await shop.customer(2)
    await put(pool, "a", ban(1))
    await put(pool, "a", ban(2))
    assert [await is_banned(pool, 1), await is_banned(pool, 2)] == [False, True]
    with pytest.raises(UserUnknown):
        await put(pool, "a", ban(3))
    assert [await is_banned(pool, 1), await is_banned(pool, 2)] == [False, False]


async def test_bans_of_objects_that_are_gone_are_lifted(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    for name in ("a", "b"):
        await put(pool, name, ban())
    async with pool.acquire() as connection:
        await bans.put(connection, ban(), namespace="default-2", name="a", actor=ANNA)
        await users.ban(connection, 1, until=None, reason="by hand")
        known = [one async for one in bans.of_resources(connection, namespace="default")]
        assert known == [("default", "a"), ("default", "b")]
        everywhere = [one async for one in bans.of_resources(connection)]
        assert everywhere == [("default-2", "a"), *known]
        assert await bans.lift(connection, namespace="default", name="a", actor=ANNA) == 1
    rows = await pool.fetch("SELECT source FROM user_bans ORDER BY source")
    assert [row["source"] for row in rows] == [
        "admin/1", "userban/default-2/a", "userban/default/b",
    ]  # fmt: skip


async def test_calling_again_writes_nothing(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    await put(pool, "a", ban(until=SOON))
    before = await pool.fetchval("SELECT xmin::text FROM users WHERE id = 1")
    await put(pool, "a", ban(until=SOON))
    assert await pool.fetchval("SELECT xmin::text FROM users WHERE id = 1") == before


async def test_bans_that_come_and_go_at_once_add_up(shop: Shop, pool: Pool) -> None:
    await shop.customer(1)
    await shop.customer(2)
    for _ in range(3):
        await asyncio.gather(
            *(put(pool, f"n{n}", ban(1 + n % 2)) for n in range(6)),
            *(lift(pool, f"n{n}") for n in range(3, 6)),
        )
        for user in (1, 2):
            left = await pool.fetchval("SELECT count(*) FROM user_bans WHERE user_id = $1", user)
            assert await is_banned(pool, user) == (left > 0)


@pytest.mark.parametrize("table", ["user_bans", "users"])
async def test_a_ban_that_was_cut_is_whole_or_not_there(shop: Shop, pool: Pool, table: str) -> None:
    await shop.customer()
    await crash_at(pool, table, nth=1)
    with pytest.raises(LOST):
        await put(pool, "a", ban())
    assert not await is_banned(pool)
    await no_crash(pool, table)
    assert await put(pool, "a", ban())
    assert await is_banned(pool)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "lift", "admin ban", "admin unban"]),
        st.integers(0, 2),
        st.integers(1, 2),
        st.sampled_from(["for good", "soon", "past"]),
    ),
    max_size=10,
)
UNTIL = {"for good": None, "soon": SOON, "past": PAST}


@pytest.mark.timeout(SECONDS_MAX)
def test_a_user_is_banned_while_any_ban_is_in_force(database_url: str) -> None:
    async def one(pool: Pool, steps: list[tuple[str, int, int, str]]) -> None:
        await pool.execute(EMPTY)
        for user in (1, 2):
            await Shop(pool).customer(user)
        expected: dict[str, tuple[int, str]] = {}
        for what, number, user, until in steps:
            async with pool.acquire() as connection:
                match what:
                    case "put":
                        await put(pool, f"n{number}", ban(user, until=UNTIL[until]))
                        expected[f"n{number}"] = (user, until)
                    case "lift":
                        await lift(pool, f"n{number}")
                        expected.pop(f"n{number}", None)
                    case "admin ban":
                        await users.ban(connection, user, until=UNTIL[until], reason="r")
                        expected[f"admin-{user}"] = (user, until)
                    case _:
                        await users.unban(connection, user)
                        expected.pop(f"admin-{user}", None)
            for each in (1, 2):
                in_force = [u for u, until in expected.values() if u == each and until != "past"]
                assert await is_banned(pool, each) == bool(in_force)

    assert time.time() < SOON.timestamp() - 60
    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(database_url, application="test", size_max=4))

        @PROFILE
        @given(steps=STEPS)
        def always(steps: list[tuple[str, int, int, str]]) -> None:
            runner.run(one(pool, steps))

        try:
            always()
        finally:
            runner.run(pool.close())


async def test_all_bans_of_a_namespace_are_found_page_by_page(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    for number in range(7):
        await put(pool, f"ban-{number}", ban())
    async with pool.acquire() as connection:
        pages = [page async for page in ban_queries.sources(connection, "userban/", page=3)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [one for page in pages for one in page] == [
        f"userban/default/ban-{number}" for number in range(7)
    ]


async def test_an_adjustment_says_whether_it_was_made_before(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    async with pool.acquire() as connection:
        for dry_run, repeated in ((True, False), (False, False), (False, True), (True, True)):
            adjusted = await adjust(connection, adjustment(100), actor=ANNA, dry_run=dry_run)
            assert adjusted.repeated is repeated
