"""Apply → look → database, status, Events, for each kind that works in the operator itself."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from rei_core.db import Pool
from rei_core.maintenance.resources import REQUESTED_AT
from rei_operator import janitor
from rei_operator.facts import FactFinder
from rei_operator.reconcile import DATABASE_TROUBLE

PERIOD: dict[str, Any] = {"periodSeconds": 2_678_400}  # long: nothing falls due during a test
ADJUSTMENT = {"userID": 7, "amountKopecks": -400, "reason": "mistake", "operationID": "ticket-1"}


async def balance(pool: Pool) -> int:
    value: int = await pool.fetchval("SELECT balance_kopecks FROM balances WHERE user_id = 7")
    return value


async def runs(pool: Pool, kind: str) -> list[str]:
    rows = await pool.fetch("SELECT status FROM maintenance_runs WHERE kind = $1", kind)
    return [row["status"] for row in rows]


async def banned(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT banned_at IS NOT NULL FROM users WHERE id = 7"))


@pytest.mark.parametrize("kind", ["LedgerAudit", "StuckJobPolicy", "JobRetentionPolicy"])
async def test_a_recurring_kind_runs_once_and_tells(
    pool: Pool, cluster: Any, operator: Any, customer: int, kind: str
) -> None:
    one = operator()
    key = cluster.apply(kind, "nightly", PERIOD)
    delay = await one.settle(key)
    assert await runs(pool, kind) == ["succeeded"]
    assert cluster.condition(key, "Ready") == ("True", "RunSucceeded")
    status = cluster.status(key)
    assert status["observedGeneration"] == 1
    next_run = datetime.fromisoformat(status["nextRunTime"])
    assert timedelta(seconds=delay) <= next_run - datetime.now(UTC) + timedelta(seconds=5)
    assert await one.settle(key) is not None
    assert await runs(pool, kind) == ["succeeded"]


async def test_what_does_not_change_is_not_written(
    cluster: Any, operator: Any, customer: int
) -> None:
    one = operator()
    key = cluster.apply("LedgerAudit", "nightly", PERIOD)
    await one.settle(key)
    version = cluster.objects[key]["metadata"]["resourceVersion"]
    await one.settle(key)
    await operator().settle(key)
    assert cluster.objects[key]["metadata"]["resourceVersion"] == version


async def test_an_audit_tells_what_is_wrong_and_when_it_is_right_again(
    pool: Pool, cluster: Any, operator: Any, customer: int
) -> None:
    one = operator()
    await pool.execute("UPDATE balances SET balance_kopecks = 1001 WHERE user_id = 7")
    key = cluster.apply("LedgerAudit", "nightly", PERIOD)
    await one.settle(key)
    assert cluster.condition(key, "Ready") == ("True", "RunSucceeded")
    assert cluster.condition(key, "Consistent") == ("False", "ViolationsFound")
    status = cluster.status(key)
    assert status["violationCounts"] == {"balance_is_sum_of_transfers": 1}
    assert status["violations"][0]["subject"] == "user 7"
    assert status["accountsKopecks"]["user"] == 1000
    assert "LedgerInconsistent" in cluster.events(key)
    await pool.execute("UPDATE balances SET balance_kopecks = 1000 WHERE user_id = 7")
    cluster.apply(
        "LedgerAudit", "nightly", PERIOD, annotations={REQUESTED_AT: "2026-11-24T12:00:00Z"}
    )
    await one.settle(key)
    assert cluster.condition(key, "Consistent") == ("True", "InvariantsHold")
    status = cluster.status(key)
    assert status["violationCounts"] == {}
    assert status["violations"] == []
    assert status["lastRequestedTime"] == "2026-11-24T12:00:00Z"


async def test_a_provider_that_is_away_is_told_and_not_fatal(
    pool: Pool, cluster: Any, operator: Any, customer: int
) -> None:
    one = operator()
    key = cluster.apply("PaymentReconciliation", "often", PERIOD)
    await one.settle(key)
    assert cluster.condition(key, "Ready") == ("False", "RunPartlyFailed")
    assert "RunPartlyFailed" in cluster.events(key)


async def test_an_adjustment_moves_money_once_whatever_happens_to_its_object(
    pool: Pool, cluster: Any, operator: Any, customer: int
) -> None:
    key = cluster.apply("BalanceAdjustment", "ticket", ADJUSTMENT)
    one = operator()
    assert await one.settle(key) is None
    assert await balance(pool) == 600
    assert cluster.condition(key, "Succeeded") == ("True", "BalanceAdjusted")
    assert cluster.status(key)["balanceAfterKopecks"] == 600
    # Deleted and applied again: another uid, no status.
    del cluster.objects[key]
    cluster.apply("BalanceAdjustment", "ticket", ADJUSTMENT)
    await operator().settle(key)
    assert await balance(pool) == 600
    assert cluster.condition(key, "Succeeded") == ("True", "BalanceAdjusted")
    assert cluster.status(key)["balanceAfterKopecks"] == 600


async def test_an_adjustment_that_a_restored_ledger_has_forgotten_is_made_again_and_once(
    pool: Pool, cluster: Any, operator: Any, customer: int
) -> None:
    key = cluster.apply("BalanceAdjustment", "ticket", ADJUSTMENT)
    await operator().settle(key)
    # It was told long ago: a restore takes longer than the second that a status tells.
    cluster.objects[key]["status"]["completionTime"] = "2026-01-01T00:00:00Z"
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM transfers WHERE ref_id = 'ticket-1'")
        await connection.execute("UPDATE balances SET balance_kopecks = 1000 WHERE user_id = 7")
    for _ in range(3):
        await operator().settle(key)
    assert await balance(pool) == 600
    assert cluster.condition(key, "Succeeded") == ("True", "BalanceAdjusted")
    assert cluster.events(key) == ["BalanceAdjusted", "AdjustedAgain"]
    assert await pool.fetchval("SELECT count(*) FROM transfers WHERE ref_id = 'ticket-1'") == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amountKopecks": -1001}, "InsufficientFunds"),
        ({"userID": 8}, "UserUnknown"),
        ({"operationID": "gift"}, "OperationConflict"),
    ],
)
async def test_a_refused_adjustment_moves_nothing(
    *, pool: Pool, cluster: Any, operator: Any, customer: int, changes: Any, reason: str
) -> None:
    key = cluster.apply("BalanceAdjustment", "ticket", ADJUSTMENT | changes)
    await operator().settle(key)
    assert await balance(pool) == 1000
    assert cluster.condition(key, "Succeeded") == ("False", reason)
    assert cluster.events(key) == [reason]


async def test_two_operators_at_once_do_no_harm(
    pool: Pool, cluster: Any, operator: Any, customer: int
) -> None:
    keys = [
        cluster.apply("BalanceAdjustment", "ticket", ADJUSTMENT),
        cluster.apply("LedgerAudit", "nightly", PERIOD),
        cluster.apply("UserBan", "fraud", {"userID": 7, "reason": "fraud"}),
    ]
    both = [operator(), operator()]
    for key in keys:
        await asyncio.gather(*(one.look(key) for one in both))
    for one in both:
        for key in keys:
            await one.settle(key)
    assert await balance(pool) == 600
    assert await runs(pool, "LedgerAudit") == ["succeeded"]
    assert cluster.events(keys[0]) == ["BalanceAdjusted"]
    assert await banned(pool)


class TestUserBan:
    spec: dict[str, Any] = {"userID": 7, "reason": "fraud"}  # noqa: RUF012 - never changed

    async def test_it_bans_while_it_is_there(
        self, pool: Pool, cluster: Any, operator: Any, customer: int
    ) -> None:
        one = operator()
        key = cluster.apply("UserBan", "fraud", self.spec)
        await one.settle(key)
        assert await banned(pool)
        assert cluster.status(key)["banned"] is True
        one.index.drop(cluster.objects.pop(key))
        await one.settle(key)
        assert not await banned(pool)

    async def test_one_deleted_while_nobody_looked_is_found_by_a_full_listing(
        self, pool: Pool, cluster: Any, operator: Any, customer: int
    ) -> None:
        key = cluster.apply("UserBan", "fraud", self.spec)
        await operator().settle(key)
        del cluster.objects[key]
        later = operator()
        running = asyncio.create_task(later.reconciler.run())
        await later.janitor.sweep()
        async with asyncio.timeout(30):
            while await banned(pool):  # noqa: ASYNC110 - a row of the database has no event
                await asyncio.sleep(0.01)
        later.reconciler.stop()
        await running

    async def test_one_deleted_before_the_watches_began_is_found_soon(
        self, pool: Pool, cluster: Any, operator: Any, customer: int, monkeypatch: Any
    ) -> None:
        """The first listing still has it, the watches never saw it."""
        monkeypatch.setattr(janitor, "SETTLED_SECONDS", 0.2)
        key = cluster.apply("UserBan", "fraud", self.spec)
        one = operator()
        sweep, deleted = one.janitor.sweep, asyncio.Event()

        async def second_after_the_deletion() -> None:
            if one.janitor.swept.is_set():
                await deleted.wait()  # however long the ban has taken
            await sweep()

        monkeypatch.setattr(one.janitor, "sweep", second_after_the_deletion)
        running = asyncio.create_task(one.reconciler.run())
        sweeping = asyncio.create_task(one.janitor.run(period_seconds=300))
        async with asyncio.timeout(30):
            await one.janitor.swept.wait()
            while not await banned(pool):  # noqa: ASYNC110 - a row of the database has no event
                await asyncio.sleep(0.01)
            del cluster.objects[key]
            deleted.set()
            while await banned(pool):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        sweeping.cancel()
        one.reconciler.stop()
        await running

    async def test_a_listing_that_fails_lifts_nothing(
        self, pool: Pool, cluster: Any, operator: Any, customer: int
    ) -> None:
        key = cluster.apply("UserBan", "fraud", self.spec)
        await operator().settle(key)
        later = operator()
        cluster.down = ConnectionError("the API server is away")
        with pytest.raises(ConnectionError):
            await later.janitor.sweep()
        assert later.reconciler.known == 0
        with pytest.raises(ConnectionError):
            await later.look(key)
        assert await banned(pool)

    async def test_one_that_was_made_after_the_listing_stays(
        self, pool: Pool, cluster: Any, operator: Any, customer: int
    ) -> None:
        # The janitor wakes it as an orphan; the look asks the API server and finds it.
        key = cluster.apply("UserBan", "fraud", self.spec)
        await operator().settle(key)
        later = operator()
        await later.look(key)
        assert await banned(pool)

    async def test_two_of_one_user_and_the_last_one_counts(
        self, pool: Pool, cluster: Any, operator: Any, customer: int
    ) -> None:
        one = operator()
        keys = [cluster.apply("UserBan", name, self.spec) for name in ("a", "b")]
        for key in keys:
            await one.settle(key)
        for key, still in zip(keys, (True, False), strict=True):
            one.index.drop(cluster.objects.pop(key))
            await one.settle(key)
            assert await banned(pool) is still


async def test_a_spec_that_the_api_server_let_pass_and_makes_no_sense_says_so(
    pool: Pool, cluster: Any, operator: Any
) -> None:
    one = operator()
    spec = {"schedule": "0 3 * * *", "timeZone": "Europe/Moskow"}
    key = cluster.apply("LedgerAudit", "nightly", spec)
    assert await one.settle(key) is None
    assert cluster.condition(key, "Ready") == ("False", "InvalidSpec")
    (condition,) = cluster.status(key)["conditions"]
    assert "did you mean Europe/Moscow?" in condition["message"]
    assert await runs(pool, "LedgerAudit") == []
    cluster.apply("LedgerAudit", "nightly", PERIOD)
    await one.settle(key)
    assert cluster.condition(key, "Ready") == ("True", "RunSucceeded")


async def test_a_status_written_by_an_old_state_is_refused_and_read_again(
    pool: Pool, cluster: Any, operator: Any, customer: int
) -> None:
    key = cluster.apply("LedgerAudit", "nightly", PERIOD)
    one = operator()
    one.index.put(copy.deepcopy(cluster.objects[key]))
    cluster.apply("LedgerAudit", "nightly", PERIOD | {"suspend": True})
    # Its index still has the old one: the look is by the old spec, and nothing of it is written.
    assert await one.look(key) == 0.0
    assert cluster.status(key) == {}
    await one.look(key)
    assert cluster.condition(key, "Ready") == ("True", "Suspended")
    assert cluster.status(key)["observedGeneration"] == 2


async def test_a_lost_status_is_told_again_from_the_runs(
    pool: Pool, cluster: Any, operator: Any, customer: int
) -> None:
    one = operator()
    key = cluster.apply("LedgerAudit", "nightly", PERIOD)
    await one.settle(key)
    told = cluster.status(key)
    cluster.objects[key]["status"] = {}
    await operator().settle(key)
    again = cluster.status(key)
    assert again["lastRunTime"] == told["lastRunTime"]
    assert again["accountsKopecks"] == told["accountsKopecks"]
    assert await runs(pool, "LedgerAudit") == ["succeeded"]


async def test_metrics_tell_runs_and_how_resources_stand(
    cluster: Any, operator: Any, customer: int, pool: Pool
) -> None:
    one = operator()
    key = cluster.apply("LedgerAudit", "nightly", {"periodSeconds": 3600})
    await one.settle(key)
    text = one.metrics.exposition(pool).decode()
    assert 'rei_maintenance_runs_total{kind="LedgerAudit",result="succeeded"} 1.0' in text
    labels = '{kind="LedgerAudit",name="nightly",namespace="rei"}'
    assert f"rei_maintenance_expected_interval_seconds{labels} 3600.0" in text
    assert f"rei_maintenance_healthy{labels} 1.0" in text
    assert f"rei_maintenance_last_success_timestamp_seconds{labels}" in text
    one.index.drop(cluster.objects.pop(key))
    await one.settle(key)
    assert labels not in one.metrics.exposition(pool).decode()


async def test_a_database_that_refuses_is_told_and_tried_again(
    pool: Pool, database_url: str, cluster: Any, operator: Any, customer: int
) -> None:
    one = operator()
    key = cluster.apply("LedgerAudit", "nightly", PERIOD)
    await one.settle(key)
    cluster.apply("LedgerAudit", "nightly", PERIOD | {"suspend": True})
    name = database_url.rpartition("/")[2].partition("?")[0]
    server = await asyncpg.connect(database_url, database="postgres")
    try:
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        for _ in range(21):  # each connection of the pool may be lent once more, and be found cut
            with pytest.raises(DATABASE_TROUBLE):
                await one.settle(key)
            if cluster.condition(key, "Ready") == ("Unknown", "DatabaseError"):
                break
            assert cluster.condition(key, "Ready") == ("Unknown", "DatabaseUnreachable")
        assert cluster.condition(key, "Ready") == ("Unknown", "DatabaseError")
        assert cluster.condition(key, "Consistent")[0] == "True"  # what was found stays told
        with pytest.raises(DATABASE_TROUBLE):
            await one.settle(key)
    finally:
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await server.close()
    await one.settle(key)
    assert cluster.condition(key, "Ready") == ("True", "Suspended")


async def test_a_connection_that_is_cut_off_is_told_as_that(
    cluster: Any, operator: Any, customer: int
) -> None:
    one = operator()
    key = cluster.apply("LedgerAudit", "nightly", PERIOD)

    async def away(*_: object) -> Any:
        raise ConnectionRefusedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FactFinder, "recurring", away)
        with pytest.raises(ConnectionRefusedError):
            await one.settle(key)
    assert cluster.condition(key, "Ready") == ("Unknown", "DatabaseUnreachable")
    await one.settle(key)
    assert cluster.condition(key, "Ready") == ("True", "RunSucceeded")
