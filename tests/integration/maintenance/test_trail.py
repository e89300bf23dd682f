"""Whatever is done by hand leaves one row of the trail, in the transaction that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import Connection, Pool, create_pool
from rei_core.errors import InsufficientFunds, OperationConflict, UserUnknown
from rei_core.maintenance.adjustments.service import adjust
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.trail import queries as trail
from rei_core.trail.model import Action, Actor, Word

from ..core.conftest import ANNA, Shop
from ..money_models.profiles import PROFILE, SECONDS_MAX
from ..money_models.real_books import EMPTY
from .conftest import LOST, crash_at, no_crash

BORIS = Actor("kubernetes:boris", "BalanceAdjustment rei/ticket-1")


async def rows(pool: Pool) -> list[tuple[str, str, int | None, str]]:
    """The trail, the oldest first: word, who, kopecks, why."""
    async with pool.acquire() as connection:
        found = [done.action for done in await trail.log(connection, limit=100)]
    return [(a.word, a.actor.name, a.amount_kopecks, a.reason) for a in reversed(found)]


def spec(kopecks: int, operation: str = "ticket-1", *, user: int = 1) -> BalanceAdjustmentSpec:
    return BalanceAdjustmentSpec(
        user_id=user, amount_kopecks=kopecks, reason="a broken picture", operation_id=operation
    )


async def test_an_adjustment_is_told_once_with_who_made_it(shop: Shop, pool: Pool) -> None:
    await shop.customer()

    async def apply(actor: Actor) -> None:
        async with pool.acquire() as connection:
            await adjust(connection, spec(500), actor=actor)

    await apply(ANNA)
    await asyncio.gather(*(apply(BORIS) for _ in range(8)))
    async with pool.acquire() as connection:
        await adjust(connection, spec(-200, "ticket-2"), actor=BORIS)
    assert await rows(pool) == [
        ("credit", "anna@laptop", 500, "a broken picture"),
        ("debit", "kubernetes:boris", -200, "a broken picture"),
    ]


async def test_what_moved_nothing_is_not_told(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=100)
    async with pool.acquire() as connection:
        await adjust(connection, spec(500), actor=ANNA, dry_run=True)
        with pytest.raises(InsufficientFunds):
            await adjust(connection, spec(-101), actor=ANNA)
        with pytest.raises(UserUnknown):
            await adjust(connection, spec(1, user=7), actor=ANNA)
    assert await rows(pool) == []


async def test_a_name_that_something_else_has_had_moves_no_money(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    async with pool.acquire() as connection:
        done = Action(
            operation_id="ticket-1", word=Word.UNBAN, actor=ANNA, user_id=1, reason="sorry"
        )
        assert await trail.record(connection, done)
        with pytest.raises(OperationConflict):
            await adjust(connection, spec(500), actor=ANNA)
    assert await shop.balance() == 0


def ban(reason: str = "spam", *, until: datetime | None = None) -> UserBanSpec:
    return UserBanSpec(user_id=1, reason=reason, expires_at=until)


async def test_a_ban_is_told_when_something_changes(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    soon = datetime.now(UTC) + timedelta(hours=1)
    async with pool.acquire() as connection:
        for one in (ban(), ban(), ban("fraud"), ban("fraud", until=soon)):
            await bans.put(connection, one, namespace="rei", name="a", actor=ANNA)
        for _ in range(2):
            await bans.lift(connection, namespace="rei", name="a", actor=BORIS)
        await bans.put(connection, ban(), namespace="rei", name="a", actor=ANNA, dry_run=True)
    assert [(word, who, why) for word, who, _, why in await rows(pool)] == [
        ("ban", "anna@laptop", "spam"),
        ("ban", "anna@laptop", "fraud"),
        ("ban", "anna@laptop", "fraud"),
        ("unban", "kubernetes:boris", ""),
    ]


async def _put(connection: Connection) -> object:
    return await bans.put(connection, ban(), namespace="rei", name="new", actor=ANNA)


async def _lift(connection: Connection) -> object:
    return await bans.lift(connection, namespace="rei", name="old", actor=ANNA)


@pytest.mark.parametrize("act", [_put, _lift])
@pytest.mark.parametrize("table", ["user_bans", "users", "admin_actions"])
async def test_a_ban_that_was_cut_is_neither_there_nor_told(
    shop: Shop, pool: Pool, act: Callable[[Connection], Awaitable[object]], table: str
) -> None:
    await shop.customer()
    async with pool.acquire() as connection:
        await bans.put(connection, ban("old"), namespace="rei", name="old", actor=ANNA)
    if act is _put:  # else the sum of the bans does not change, and nothing is written there
        async with pool.acquire() as connection:
            await bans.lift(connection, namespace="rei", name="old", actor=ANNA)
    told = await rows(pool)
    sources = await pool.fetch("SELECT source FROM user_bans")
    await crash_at(pool, table, nth=1)
    async with pool.acquire() as connection:
        with pytest.raises(LOST):
            await act(connection)
    await no_crash(pool, table)
    assert await rows(pool) == told
    assert await pool.fetch("SELECT source FROM user_bans") == sources
    async with pool.acquire() as connection:
        await act(connection)
    assert len(await rows(pool)) == len(told) + 1


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE admin_actions SET actor = 'nobody'",
        "DELETE FROM admin_actions",
        "TRUNCATE admin_actions",
        (
            "INSERT INTO admin_actions (operation_id, word, actor, via, user_id, reason)"
            " VALUES ('x', 'credit', 'a', 'b', 1, 'no amount')"
        ),
        (
            "INSERT INTO admin_actions (operation_id, word, actor, via, user_id, amount_kopecks,"
            " reason) VALUES ('x', 'debit', 'a', 'b', 1, 5, 'the wrong way')"
        ),
        (
            "INSERT INTO admin_actions (operation_id, word, actor, via, user_id, amount_kopecks,"
            " reason) VALUES ('ticket-1', 'credit', 'a', 'b', 1, 5, 'once more')"
        ),
    ],
)
async def test_the_database_refuses(shop: Shop, pool: Pool, sql: str) -> None:
    await shop.customer()
    async with pool.acquire() as connection:
        await adjust(connection, spec(500), actor=ANNA)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await pool.execute(sql)


TOLD = "SELECT operation_id, user_id, amount_kopecks FROM admin_actions ORDER BY 1"
MOVED = """
SELECT ref_id AS operation_id, user_id,
       CASE WHEN credit_account = 'user' THEN amount_kopecks ELSE -amount_kopecks END
           AS amount_kopecks
FROM transfers
WHERE kind = 'adjustment'
ORDER BY 1
"""
STEPS = st.lists(
    st.tuples(
        st.integers(1, 3),  # the user
        st.sampled_from([-700, -300, 200, 500]),
        st.sampled_from(["a", "b", "c", "d"]),  # the operation
        st.sampled_from([None, "balances", "transfers", "admin_actions"]),  # where it is cut
    ),
    max_size=12,
)


@pytest.mark.timeout(SECONDS_MAX)
def test_each_adjustment_has_its_row_whatever_happens(database_url: str) -> None:
    """Repeats, conflicts, refusals and cuts in any order: ledger and trail tell the same."""

    async def life(pool: Pool, steps: list[tuple[int, int, str, str | None]]) -> None:
        await pool.execute(EMPTY)
        for user in (1, 2):
            await Shop(pool).customer(user)
        for user, kopecks, operation, cut in steps:
            if cut is not None:
                await crash_at(pool, cut, nth=1)
            try:
                async with pool.acquire() as connection:
                    await adjust(connection, spec(kopecks, operation, user=user), actor=ANNA)
            except (OperationConflict, InsufficientFunds, UserUnknown, *LOST):
                pass
            if cut is not None:
                await no_crash(pool, cut)
        assert await pool.fetch(TOLD) == await pool.fetch(MOVED)

    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(database_url, application="test", size_max=2))

        @PROFILE
        @given(steps=STEPS)
        def always(steps: list[tuple[int, int, str, str | None]]) -> None:
            runner.run(life(pool, steps))

        try:
            always()
        finally:
            runner.run(pool.close())
