"""`rei ban|unban`, and what others have banned."""

from __future__ import annotations

import pytest

from rei_core.admin import service
from rei_core.admin.asking import ban as ban_spec
from rei_core.db import Pool
from rei_core.errors import OperationConflict, UserUnknown
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.resources.users import UserBanSpec

from ..core.conftest import ANNA, Shop
from ..maintenance.conftest import LOST, crash_at, no_crash
from .conftest import Rei


async def banned(pool: Pool) -> bool:
    value: bool = await pool.fetchval("SELECT banned_at IS NOT NULL FROM users WHERE id = 1")
    return value


async def test_a_ban_and_its_end_are_told_and_those_of_others_stay(
    shop: Shop, pool: Pool, rei: Rei
) -> None:
    await shop.customer()
    assert "user 1 is banned." in (await rei("ban", "1", "--reason", "spam", "--days", "3")).out
    async with pool.acquire() as connection:
        spec = UserBanSpec(user_id=1, reason="theirs")
        await bans.put(connection, spec, namespace="rei", name="one", actor=ANNA)
    lifted = await rei("unban", "1")
    assert "Still banned by userban/rei/one: theirs" in lifted.out
    assert await banned(pool)
    assert (await rei("ban", "2", "--reason", "spam")).code == 1
    told = [one["action"]["word"] for one in (await rei("log", "-o", "json")).json]
    assert told == ["unban", "ban", "ban"]
    report = (await rei("user", "1", "-o", "json")).json
    assert [one["source"] for one in report["bans"]] == ["userban/rei/one"]


async def test_a_ban_that_comes_again_after_its_end_bans_nobody(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    spec = ban_spec(user_id=1, reason="spam")
    async with pool.acquire() as connection:
        assert not (await service.ban(connection, spec, operation_id="b", actor=ANNA)).repeated
        await service.unban(connection, user_id=1, reason="", operation_id="u", actor=ANNA)
        late = await service.ban(connection, spec, operation_id="b", actor=ANNA)
        assert late.repeated
        assert not await banned(pool)
        with pytest.raises(OperationConflict):
            await service.unban(connection, user_id=1, reason="", operation_id="b", actor=ANNA)
        with pytest.raises(UserUnknown):
            await service.unban(connection, user_id=7, reason="", operation_id="c", actor=ANNA)


@pytest.mark.parametrize("table", ["admin_actions", "user_bans", "users"])
async def test_a_ban_that_was_cut_is_put_by_the_repeat(shop: Shop, pool: Pool, table: str) -> None:
    await shop.customer()
    spec = ban_spec(user_id=1, reason="spam")
    await crash_at(pool, table, nth=1)
    async with pool.acquire() as connection:
        with pytest.raises(LOST):
            await service.ban(connection, spec, operation_id="b", actor=ANNA)
    await no_crash(pool, table)
    assert not await banned(pool)
    async with pool.acquire() as connection:
        assert not (await service.ban(connection, spec, operation_id="b", actor=ANNA)).repeated
    assert await banned(pool)
