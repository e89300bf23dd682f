"""The operator killed between every two side effects of every kind, and begun again.

The end (rows, objects, statuses, Events) must equal that of an operator that lived. Each kind has a
story: what happens outside, and between that the operator works until nothing is left to do. Every
failpoint that is listed has to be reached by its kind's story, or the story fails.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from rei_core.db import Pool
from rei_core.jobs import accept_queries, claim_queries
from rei_core.jobs.model import Order
from rei_core.maintenance.backups.databases import Mark, set_mark
from rei_core.maintenance.model import RunResult
from rei_core.maintenance.runs import queries as runs
from rei_core.maintenance.runs.model import RunKey
from rei_operator.failpoints import FAILPOINTS
from rei_operator.kinds.backup_schedule import PRUNE_KIND
from rei_operator.reconciler import Key

from .ends import events_of, rows_of, statuses_of

NAMESPACE = "rei"
LONG: dict[str, Any] = {"periodSeconds": 2_678_400}
VOLUME = {"volume": {"claimName": "backups"}}
BACKUP_ID = "20260101t000000z-00000000"
ORDER = Order(
    user_id=7, idempotency_key="o-1", model="m", prompt="a cat", aspect_ratio="1:1",
    image_size="1K", price_kopecks=300, chat_id=7,
)  # fmt: skip


@dataclass
class World:
    """What is outside of the operator."""

    pool: Pool
    cluster: Any
    database: str

    async def end_run(self, key: RunKey, **detail: Any) -> None:
        """A Job has written down that it is done."""
        async with self.pool.acquire() as connection, runs.only_one(connection, key):
            run = await runs.begin(connection, key, owner="job", lease_seconds=60)
            if run is not None:
                await runs.finish(connection, run, result=RunResult(changed=1), detail=detail)

    def set_status(self, key: Key, status: dict[str, Any]) -> None:
        raw = copy.deepcopy(self.cluster.objects[key])
        raw["status"] = status
        self.cluster.objects[key] = raw

    def made(self, kind: str) -> list[Key]:
        return sorted(key for key in self.cluster.objects if key.kind == kind)

    def add_job(self, name: str) -> None:
        """A Job of an object that had the same name before."""
        metadata = {"name": name, "namespace": NAMESPACE, "uid": "old", "resourceVersion": "1"}
        owner = {"uid": "uid-of-another"}
        self.cluster.objects[Key("Job", NAMESPACE, name)] = {
            "kind": "Job",
            "metadata": metadata | {"ownerReferences": [owner]},
        }

    def add_deployment(self, name: str, replicas: int) -> None:
        self.cluster.objects[Key("Deployment", NAMESPACE, name)] = {
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": "1",
                         "generation": 1, "uid": name},
            "spec": {"replicas": replicas},
            "status": {"replicas": replicas},
        }  # fmt: skip


Outside = Callable[[World], Awaitable[None]]
Story = list[Outside | Key]
"""What happens, in order: something outside, or the operator works on a resource."""


def recurring(kind: str, before: Outside | None = None, **spec: Any) -> Story:
    async def apply(world: World) -> None:
        world.cluster.apply(kind, "one", {**LONG, **spec})

    key = Key(kind, NAMESPACE, "one")
    return [*([before] if before else []), apply, key, key]


async def a_stuck_job(world: World) -> None:
    async with world.pool.acquire() as connection, connection.transaction():
        await accept_queries.accept(
            connection, ORDER, active_jobs_max=9, attempts_max=2, deadline_seconds=600
        )
        await claim_queries.claim(
            connection, worker="w", lease_seconds=30, limit=1, processing_max=9
        )
        await connection.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")


async def something_old(world: World) -> None:
    await world.pool.execute(
        "INSERT INTO telegram_updates (update_id, received_at) VALUES (1, now() - interval '99 d')"
    )


async def apply_adjustment(world: World) -> None:
    spec = {"userID": 7, "amountKopecks": 250, "reason": "sorry", "operationID": "ticket-1"}
    world.cluster.apply("BalanceAdjustment", "one", spec)


async def apply_ban(world: World) -> None:
    world.cluster.apply("UserBan", "one", {"userID": 7, "reason": "fraud"})


async def delete_ban(world: World) -> None:
    world.cluster.objects.pop(Key("UserBan", NAMESPACE, "one"), None)


async def apply_backup(world: World) -> None:
    world.add_job("backup-one")
    world.cluster.apply("Backup", "one", {"storage": VOLUME})


async def backup_is_done(world: World) -> None:
    created = datetime(2026, 1, 1, tzinfo=UTC)
    await world.end_run(
        RunKey("Backup", NAMESPACE, "one", created), backup_id=BACKUP_ID, size_bytes=5
    )


async def apply_schedule(world: World) -> None:
    world.cluster.apply("BackupSchedule", "one", {**LONG, "storage": VOLUME})


async def there_is_an_older_backup_and_the_new_one_is_done(world: World) -> None:
    (new,) = world.made("Backup")
    older = copy.deepcopy(world.cluster.objects[new])
    older["metadata"] |= {"name": "one-20260101000000", "uid": "older"}
    world.cluster.objects[Key("Backup", NAMESPACE, "one-20260101000000")] = older
    for number, key in enumerate(world.made("Backup")):
        condition = {
            "type": "Succeeded",
            "status": "True",
            "reason": "BackupVerified",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {"conditions": [condition], "backupID": f"20260101t000000z-0000000{number}"}
        world.set_status(key, status)


async def the_retention_is_done(world: World) -> None:
    stamp = world.made("Backup")[-1].name[-14:]
    moment = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    key = RunKey(PRUNE_KIND, NAMESPACE, "one", moment)
    await world.end_run(key, deleted=[BACKUP_ID], verified_backups=1)


async def apply_restore(world: World) -> None:
    world.add_job("restore-one")
    world.add_deployment("rei-bot", 2)
    world.add_deployment("rei-worker", 5)
    spec = {
        "stored": {"storage": VOLUME, "id": BACKUP_ID},
        "inPlace": {"confirmDatabase": world.database},
    }
    world.cluster.apply("Restore", "one", spec)


async def pods_are_gone(world: World) -> None:
    for key in world.made("Deployment"):
        assert world.cluster.objects[key]["spec"]["replicas"] == 0
        world.set_status(key, {"replicas": 0})


async def the_database_is_replaced(world: World) -> None:
    (key,) = world.made("Job")
    assert key.name == "restore-one"
    async with world.pool.acquire() as connection:
        await set_mark(
            connection,
            world.database,
            Mark(
                operation="rei.one",
                state="done",
                kept_as=f"{world.database}_before_20261124t030000z",
                safety_backup_id=BACKUP_ID,
            ),
        )


BAN, BACKUP = Key("UserBan", NAMESPACE, "one"), Key("Backup", NAMESPACE, "one")
SCHEDULE, RESTORE = Key("BackupSchedule", NAMESPACE, "one"), Key("Restore", NAMESPACE, "one")

STORIES: dict[str, Story] = {
    "LedgerAudit": recurring("LedgerAudit"),
    "StuckJobPolicy": recurring("StuckJobPolicy", a_stuck_job),
    "JobRetentionPolicy": recurring("JobRetentionPolicy", something_old, pauseMilliseconds=0),
    "PaymentReconciliation": recurring("PaymentReconciliation"),
    "BalanceAdjustment": [apply_adjustment, Key("BalanceAdjustment", NAMESPACE, "one")],
    "UserBan": [apply_ban, BAN, delete_ban, BAN],
    "Backup": [apply_backup, BACKUP, BACKUP, backup_is_done, BACKUP],
    "BackupSchedule": [
        apply_schedule,
        SCHEDULE,
        SCHEDULE,
        there_is_an_older_backup_and_the_new_one_is_done,
        SCHEDULE,
        the_retention_is_done,
        SCHEDULE,
    ],
    "Restore": [
        apply_restore,
        RESTORE,
        RESTORE,
        RESTORE,
        pods_are_gone,
        RESTORE,
        the_database_is_replaced,
        RESTORE,
    ],
}


async def tell(
    story: Story, world: World, setting: Any, *, fatal: str | None
) -> tuple[list[str], bool]:
    """Let it happen; the failpoints that were reached, and whether the operator was killed."""
    one = setting.operator(fatal=fatal, database=world.database)
    reached: list[str] = one.reached
    died = False
    for step in story:
        if not isinstance(step, Key):
            await step(world)
            continue
        try:
            await one.settle(step)
        except setting.killed:
            died = True
            # A minute goes by: the lease of the run that was cut off is over.
            await world.pool.execute(
                "UPDATE maintenance_runs SET lease_until = now() - interval '1 s'"
                " WHERE status = 'running'"
            )
            one = setting.operator(database=world.database)
            for key, raw in world.cluster.objects.items():
                if key.kind not in ("Job", "Event", "Deployment"):
                    one.index.put(copy.deepcopy(raw))
            await one.settle(step)
    return reached, died


async def end_of(world: World) -> dict[str, Any]:
    """All that the story leaves behind, without the times at which it happened."""
    objects = [copy.deepcopy(raw) for raw in world.cluster.objects.values()]
    async with world.pool.acquire() as connection:
        rows = await rows_of(connection, database=world.database)
    return {
        "rows": rows,
        "statuses": statuses_of(objects, database=world.database),
        "events": events_of(objects),
        "replicas": {
            key.name: world.cluster.objects[key]["spec"] for key in world.made("Deployment")
        },
    }


async def world_of(pool: Pool, cluster: Any) -> World:
    return World(pool, cluster, await pool.fetchval("SELECT current_database()"))


@pytest.mark.parametrize("kind", sorted(STORIES))
async def test_every_failpoint_of_a_kind_is_reached_by_its_story(setting: Any, kind: str) -> None:
    world = await world_of(setting.pool, setting.cluster)
    reached, died = await tell(STORIES[kind], world, setting, fatal=None)
    assert not died
    assert set(reached) == {name for name in FAILPOINTS if name.startswith(f"{kind}:")}


_ends: dict[str, dict[str, Any]] = {}
"""How each story ends when nobody is killed: told once."""


@pytest.mark.parametrize("fatal", sorted(FAILPOINTS))
async def test_killed_there_and_begun_again_it_ends_the_same(
    setting: Any, undisturbed: Any, fatal: str
) -> None:
    kind = fatal.partition(":")[0]
    if kind not in _ends:
        async with undisturbed() as other:
            calm = await world_of(other.pool, other.cluster)
            await tell(STORIES[kind], calm, other, fatal=None)
            _ends[kind] = await end_of(calm)
    world = await world_of(setting.pool, setting.cluster)
    _, died = await tell(STORIES[kind], world, setting, fatal=fatal)
    assert died
    assert await end_of(world) == _ends[kind]
