"""Restore beside and in place: real Jobs, and Deployments whose pods the test lets go and come.

Each test has a namespace, a database and an operator of its own: a restore in place replaces the
database under everything else.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from rei_core.maintenance.backups.tools import named

from .stage import Stage
from .stories import TOPUP_KOPECKS, a_payment_nobody_told_us_of

VOLUME = {"volume": {"claimName": "rei-backups"}}
REPLICAS = {"rei-bot": 2, "rei-worker": 5}


async def taken(stage: Stage, name: str = "monday") -> str:
    """A backup; its id."""
    await stage.apply("Backup", name, {"storage": VOLUME, "verification": "Checksum"})
    raw = await stage.condition("Backup", name, "Succeeded", "True", "BackupVerified")
    return str(raw["status"]["backupID"])


async def balance_in(stage: Stage, database: str) -> int:
    connection = await asyncpg.connect(named(stage.database_url, database))
    try:
        value: int = await connection.fetchval("SELECT sum(balance_kopecks)::int FROM balances")
        return value
    finally:
        await connection.close()


async def test_a_restore_beside_leaves_the_bot_alone_and_happens_once(stage: Stage) -> None:
    await stage.customer(1, kopecks=1000)
    target = f"{stage.database}_monday"
    spec = {"backupRef": {"name": "monday"}, "targetDatabase": target}
    async with stage.operator() as operator:
        await operator.ready()
        await stage.apply("Restore", "early", spec)
        await stage.condition("Restore", "early", "Succeeded", "Unknown", "BackupNotFound")
        await stage.delete("Restore", "early")

        backup_id = await taken(stage)
        await stage.customer(2, kopecks=500)
        await stage.apply("Restore", "look", spec, annotations={"team": "support"})
        saved = await stage.condition("Restore", "look", "Succeeded", "True", "Restored")
        await stage.event("Restore", "look", "Restored")
        assert (saved["status"]["backupID"], saved["status"]["database"]) == (backup_id, target)
        assert saved["status"]["consistent"] is True
        shown = await stage.columns("Restore", "look")
        assert (shown["SUCCEEDED"], shown["DATABASE"]) == ("True", target)
        assert await balance_in(stage, target) == 1000
        assert await stage.balance(2) == 500
        saved_backup = await stage.get("Backup", "monday")
        for kind, name in (("Restore", "look"), ("Backup", "monday")):
            await stage.delete(kind, name)

    # A new cluster gets its objects back before anybody looks at them.
    await stage.give_back(saved_backup, with_status=True)
    await stage.give_back(saved, with_status=False)
    async with stage.operator() as operator:
        await operator.ready()
        again = await stage.condition("Restore", "look", "Succeeded", "True", "Restored")
        assert again["metadata"]["uid"] != saved["metadata"]["uid"]
        # Not taken again, not restored again: each of them had one pod, ever.
        assert stage.kubelet.exit_codes == {"backup-monday": [0], "restore-look": [0]}
        kept = await stage.get("Backup", "monday")
        assert kept["status"] == saved_backup["status"]


async def let_go(stage: Stage) -> None:
    """The Deployments are scaled to 0; their pods end, as their controller would tell."""
    for name in REPLICAS:

        async def stopped(name: str = name) -> bool:
            return await stage.replicas(name) == 0

        await stage.until(stopped, "Restore", "back", what=f"{name} is scaled to 0")
    # As long as one pod is there nothing is replaced.
    assert "restore-back" not in stage.kubelet.exit_codes
    for name in REPLICAS:
        await stage.pods_of(name, 0)


async def test_a_restore_in_place_stops_what_writes_and_starts_it_again(stage: Stage) -> None:
    for name, replicas in REPLICAS.items():
        await stage.deployment(name, replicas=replicas)
    # Paid, and nobody told us: what the backup has is a payment that waits.
    await a_payment_nobody_told_us_of(stage, 1)
    spec: dict[str, Any] = {
        "backupRef": {"name": "monday"},
        "inPlace": {"confirmDatabase": stage.database},
    }
    async with stage.operator() as operator:
        await operator.ready()
        await taken(stage)
        await stage.customer(2, kopecks=500)
        await stage.apply("Restore", "back", spec)
        await let_go(stage)
        saved = await stage.condition("Restore", "back", "Succeeded", "True", "Restored")
        status = saved["status"]
        assert status["stoppedDeployments"] == REPLICAS
        assert {name: await stage.replicas(name) for name in REPLICAS} == REPLICAS
        for reason in ("StoppingDeployments", "Restored"):
            await stage.event("Restore", "back", reason)
        # What came after the backup is gone, and lies in the database that was put aside.
        assert await stage.pool.fetchval("SELECT count(*) FROM users WHERE id = 2") == 0
        assert await balance_in(stage, status["previousDatabase"]) == 500
        # The payment that the backup did not know the end of was asked about, and credited.
        assert status["paymentsSettled"] == 1
        assert await stage.balance(1) == TOPUP_KOPECKS
        await stage.books_are_right()

        await stage.delete("Restore", "back")
        await stage.customer(3, kopecks=700)
        for name, replicas in REPLICAS.items():
            await stage.pods_of(name, replicas)
        await stage.apply("Restore", "back", spec)
        again = await stage.condition("Restore", "back", "Succeeded", "True", "Restored")
        assert again["status"]["database"] == stage.database
        assert await stage.balance(3) == 700
        assert {name: await stage.replicas(name) for name in REPLICAS} == REPLICAS
        assert stage.kubelet.exit_codes["restore-back"] == [0]


async def test_a_restore_in_place_of_another_database_touches_nothing(stage: Stage) -> None:
    for name, replicas in REPLICAS.items():
        await stage.deployment(name, replicas=replicas)
    stored = {"storage": VOLUME, "id": "20260101t000000z-00000000"}
    wrong = {"stored": stored, "inPlace": {"confirmDatabase": "another"}}
    missing = {"stored": stored, "inPlace": {"confirmDatabase": stage.database}}
    async with stage.operator() as operator:
        await operator.ready()
        await stage.apply("Restore", "wrong", wrong)
        await stage.condition("Restore", "wrong", "Succeeded", "False", "NotConfirmed")
        assert {name: await stage.replicas(name) for name in REPLICAS} == REPLICAS
        assert await stage.api.every("Job") == []

        # A backup that is not there: the bot was stopped for it, and comes back all the same.
        await stage.apply("Restore", "back", missing)
        await let_go(stage)
        await stage.condition("Restore", "back", "Succeeded", "False", "RestoreFailed")
        assert {name: await stage.replicas(name) for name in REPLICAS} == REPLICAS
