"""BalanceAdjustment and UserBan on a real API server, and objects that another cluster gives back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .stage import Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("operator")]


def adjustment(user_id: int, kopecks: int, operation: str) -> dict[str, Any]:
    return {
        "userID": user_id,
        "amountKopecks": kopecks,
        "reason": "Three pictures came out black",
        "operationID": operation,
    }


async def transfers(stage: Stage, user_id: int) -> list[tuple[str, int]]:
    rows = await stage.pool.fetch(
        "SELECT ref_id, amount_kopecks FROM transfers WHERE user_id = $1 AND ref_id NOT LIKE 'gift-%'"
        " ORDER BY id",
        user_id,
    )
    return [(row["ref_id"], row["amount_kopecks"]) for row in rows]


async def test_an_adjustment_pays_once_applied_deleted_and_applied_again(shared: Stage) -> None:
    await shared.customer(1, kopecks=1000)
    for _ in range(2):
        await shared.apply("BalanceAdjustment", "once", adjustment(1, 250, "once"))
        done = await shared.condition(
            "BalanceAdjustment", "once", "Succeeded", "True", "BalanceAdjusted"
        )
        assert done["status"]["balanceAfterKopecks"] == 1250
        await shared.event("BalanceAdjustment", "once", "BalanceAdjusted")
        shown = await shared.columns("BalanceAdjustment", "once")
        assert (shown["SUCCEEDED"], shown["KOPECKS"], shown["BALANCE"]) == ("True", "250", "1250")
        await shared.delete("BalanceAdjustment", "once")
    assert await shared.balance(1) == 1250
    assert await transfers(shared, 1) == [("once", 250)]
    await shared.books_are_right()


@pytest.mark.parametrize("with_status", [False, True], ids=["status gone", "status kept"])
async def test_an_adjustment_that_a_backup_of_the_cluster_gives_back_pays_nothing(
    shared: Stage, with_status: bool
) -> None:
    user_id, name = 10 + with_status, f"given-back-{int(with_status)}"
    await shared.customer(user_id, kopecks=1000)
    await shared.apply(
        "BalanceAdjustment", name, adjustment(user_id, -400, name), annotations={"team": "support"}
    )
    saved = await shared.condition("BalanceAdjustment", name, "Succeeded", "True")
    await shared.delete("BalanceAdjustment", name)

    await shared.give_back(saved, with_status=with_status)
    again = await shared.condition("BalanceAdjustment", name, "Succeeded", "True")
    assert again["metadata"]["uid"] != saved["metadata"]["uid"]
    assert again["metadata"]["annotations"]["team"] == "support"
    assert again["status"]["balanceAfterKopecks"] == 600
    assert await shared.balance(user_id) == 600
    assert await transfers(shared, user_id) == [(name, 400)]


async def test_one_operation_with_other_content_is_a_conflict(shared: Stage) -> None:
    await shared.customer(20, kopecks=1000)
    await shared.apply("BalanceAdjustment", "first", adjustment(20, 100, "same"))
    await shared.condition("BalanceAdjustment", "first", "Succeeded", "True")
    await shared.apply("BalanceAdjustment", "second", adjustment(20, 200, "same"))
    await shared.condition("BalanceAdjustment", "second", "Succeeded", "False", "OperationConflict")
    await shared.event("BalanceAdjustment", "second", "OperationConflict")
    assert (await shared.columns("BalanceAdjustment", "second"))["REASON"] == "OperationConflict"
    assert await shared.balance(20) == 1100


async def test_a_debit_below_zero_is_refused_for_good(shared: Stage) -> None:
    await shared.customer(30, kopecks=100)
    await shared.apply("BalanceAdjustment", "too-much", adjustment(30, -101, "too-much"))
    await shared.condition(
        "BalanceAdjustment", "too-much", "Succeeded", "False", "InsufficientFunds"
    )
    assert await shared.balance(30) == 100
    # Money that comes later is not taken by it: its answer stands.
    await shared.apply("BalanceAdjustment", "later", adjustment(30, 500, "later"))
    await shared.condition("BalanceAdjustment", "later", "Succeeded", "True")
    await shared.kubectl("label", "balanceadjustment", "too-much", "looked-at=yes")
    assert await shared.balance(30) == 600
    assert await transfers(shared, 30) == [("later", 500)]


async def banned(stage: Stage, user_id: int) -> bool:
    return bool(
        await stage.pool.fetchval(
            "SELECT banned_at IS NOT NULL AND (banned_until IS NULL OR banned_until > now())"
            " FROM users WHERE id = $1",
            user_id,
        )
    )


async def test_a_ban_is_put_edited_and_lifted_with_its_resource(shared: Stage) -> None:
    await shared.customer(40)
    await shared.apply("UserBan", "fraud", {"userID": 40, "reason": "fraud"})
    raw = await shared.condition("UserBan", "fraud", "Ready", "True", "Banned")
    assert raw["status"]["banned"] is True
    await shared.event("UserBan", "fraud", "UserBanned")
    assert (await shared.columns("UserBan", "fraud"))["BANNED"] == "true"
    assert await banned(shared, 40)

    until = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await shared.apply("UserBan", "fraud", {"userID": 40, "reason": "fraud", "expiresAt": until})
    edited = await shared.condition("UserBan", "fraud", "Ready", "True", "Banned")
    assert edited["metadata"]["generation"] == 2
    assert await shared.pool.fetchval("SELECT banned_until IS NOT NULL FROM users WHERE id = 40")

    await shared.delete("UserBan", "fraud")
    await shared.until(lambda: _free(shared, 40), "UserBan", "fraud", what="it is lifted")
    assert await shared.pool.fetchval("SELECT count(*) FROM user_bans WHERE user_id = 40") == 0

    await shared.apply("UserBan", "fraud", {"userID": 40, "reason": "fraud"})
    await shared.condition("UserBan", "fraud", "Ready", "True", "Banned")
    assert await banned(shared, 40)


async def _free(stage: Stage, user_id: int) -> bool:
    return not await banned(stage, user_id)


async def test_a_ban_ends_when_it_expires(shared: Stage) -> None:
    await shared.customer(50)
    ban = {"userID": 50, "reason": "cooling"}
    await shared.apply("UserBan", "short", ban)
    await shared.condition("UserBan", "short", "Ready", "True", "Banned")
    until = (datetime.now(UTC) + timedelta(seconds=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await shared.apply("UserBan", "short", ban | {"expiresAt": until})
    raw = await shared.condition("UserBan", "short", "Ready", "True", "Expired")
    assert raw["status"]["banned"] is False
    await shared.event("UserBan", "short", "BanExpired")
    assert not await banned(shared, 50)


async def test_two_bans_of_one_customer_are_lifted_one_by_one(shared: Stage) -> None:
    await shared.customer(60)
    for name in ("spam", "fraud-too"):
        await shared.apply("UserBan", name, {"userID": 60, "reason": name})
        await shared.condition("UserBan", name, "Ready", "True", "Banned")
    await shared.delete("UserBan", "spam")

    async def one_is_left() -> bool:
        count = "SELECT count(*) FROM user_bans WHERE user_id = 60"
        return bool(await shared.pool.fetchval(count) == 1)

    await shared.until(one_is_left, "UserBan", "spam", what="its ban is lifted")
    assert await banned(shared, 60)
    await shared.delete("UserBan", "fraud-too")
    await shared.until(lambda: _free(shared, 60), "UserBan", "fraud-too", what="the last one too")


async def test_somebody_who_is_unknown_yet_is_told_as_such(shared: Stage) -> None:
    await shared.apply("UserBan", "nobody", {"userID": 9_999, "reason": "heard of them"})
    raw = await shared.condition("UserBan", "nobody", "Ready", "False", "UserUnknown")
    assert raw["status"]["banned"] is False
    await shared.event("UserBan", "nobody", "UserUnknown")
