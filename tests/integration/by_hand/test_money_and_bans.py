"""Money and bans by hand: once for their key, and beside what an operator does."""

from __future__ import annotations

import asyncio

import pytest

from rei_core.db import Pool
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.users import queries as users

from ..core.conftest import ANNA, Shop
from .conftest import Here, Json, manifest, whole


def adjustment(kopecks: int = 50_000, operation: str = "ticket-1", user_id: int = 1) -> Json:
    return manifest(
        "BalanceAdjustment", userID=user_id, amountKopecks=kopecks, reason="sorry",
        operationID=operation,
    )  # fmt: skip


BAN = manifest("UserBan", userID=1, reason="spam")


async def banned(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT banned_at IS NOT NULL FROM users WHERE id = 1"))


async def test_an_adjustment_moves_money_once(shop: Shop, run: Here) -> None:
    await shop.customer()
    [first] = await run([adjustment()])
    assert (first["state"], first["amount_kopecks"]) == ("done", 50_000)
    [again] = await run([adjustment()])
    assert again["state"] == "unchanged"
    assert (again["changed"], again["amount_kopecks"]) == (0, 0)
    assert again["detail"] == {"balance_after_kopecks": 50_000}
    assert "nothing has moved now" in again["lines"][0]
    assert await shop.balance() == 50_000


async def test_several_at_once_move_money_once_and_one_says_so(shop: Shop, run: Here) -> None:
    await shop.customer()
    ends = await asyncio.gather(*(run([adjustment()]) for _ in range(5)))
    assert sorted(end[0]["state"] for end in ends) == ["done", *["unchanged"] * 4]
    assert await shop.balance() == 50_000


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (adjustment(-50_001, "debit"), "are needed; nothing has moved"),
        (adjustment(1, "gift-1"), "exists with other content"),
        (adjustment(user_id=404), "no user 404"),
        (manifest("UserBan", userID=404, reason="spam"), "no user 404"),
    ],
)
async def test_a_refusal_is_told_and_the_rest_is_left(
    shop: Shop, run: Here, database_url: str, document: Json, said: str
) -> None:
    await shop.customer(balance_kopecks=50_000)
    before = await whole(database_url)
    ended = await run([document, adjustment()])
    assert [one["state"] for one in ended] == ["failed", "left"]
    assert said in ended[0]["error"]
    assert await whole(database_url) == before
    going_on = await run([document, adjustment()], keep_going=True)
    assert [one["state"] for one in going_on] == ["failed", "done"]
    assert await shop.balance() == 100_000


async def test_a_ban_stays_beside_an_operators_and_delete_lifts_it(
    shop: Shop, pool: Pool, run: Here
) -> None:
    await shop.customer()
    assert (await run([BAN]))[0]["state"] == "done"
    async with pool.acquire() as connection:
        spec = UserBanSpec(user_id=1, reason="theirs")
        await bans.put(connection, spec, namespace="default", name="one", actor=ANNA)
        # An operator that starts lifts what its cluster does not have. This one it never had.
        assert [one async for one in bans.of_resources(connection)] == [("default", "one")]
        assert await bans.lift(connection, namespace="default", name="one", actor=ANNA) == 1
        assert await banned(pool)
        await users.unban(connection, 1)
        assert await banned(pool)
    assert (await run([BAN], delete=True, dry_run=True))[0]["state"] == "previewed"
    assert await banned(pool)
    assert (await run([BAN], delete=True))[0]["state"] == "done"
    assert not await banned(pool)
    assert (await run([BAN], delete=True))[0]["state"] == "unchanged"


async def test_an_expired_ban_bans_nobody(shop: Shop, pool: Pool, run: Here) -> None:
    await shop.customer()
    past = manifest("UserBan", userID=1, reason="spam", expiresAt="2020-01-01T00:00:00Z")
    [ended] = await run([past])
    assert (ended["state"], ended["detail"]) == ("done", {"in_force": False})
    assert await pool.fetchval("SELECT banned_until < now() FROM users WHERE id = 1")
