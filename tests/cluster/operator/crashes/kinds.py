"""What the operator is killed in: a story of each of its nine kinds, and how it ends.

A story is prepared while no operator lives, and told while one does, or is begun again: the telling
returns when it sees the end in the status, which is written last.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rei_core.maintenance.resources import GROUP, KINDS, REQUESTED_AT
from rei_operator.manifests import MANAGED_BY, MANAGER, OWNER_KIND, OWNER_NAME

from ....integration.backups.conftest import databases_like
from ....integration.operator.ends import alike, events_of, statuses_of
from .. import stories
from ..stage import RARELY, Json, Stage, manifest_of
from ..waiting import LOOK_SECONDS
from .contents import ledger_problems, rows_in
from .volumes import add_older, backups_in, storage_in, take

NAME = "one"
CLAIM = "rei-backups"
VOLUME: Json = {"volume": {"claimName": CLAIM}}
REPLICAS = {"rei-bot": 2, "rei-worker": 5}
OLD_STAMP = "20260101000000"
OLD_BACKUP = "20260101t000000z-bbbbbbbb"
CUSTOMER = 1
Step = Callable[[Stage], Coroutine[Any, Any, None]]


@dataclass(frozen=True, kw_only=True)
class Story:
    """A kind's. `prepare` before any operator lives; `tell` while one does; `right` looks at the
    end of one in which nobody died: what is compared with must itself be right."""

    kind: str
    prepare: Step
    tell: Step
    right: Step
    asks_again: bool = False
    """Whether a run that was cut off asks YooKassa again, and counts as examined what it was told
    twice."""


async def create(stage: Stage, kind: str, spec: Json) -> None:
    """Make the object that the story is about; what recurs is asked to run now."""
    asked = {REQUESTED_AT: datetime.now(UTC).isoformat()} if "periodSeconds" in spec else None
    await stage.api.create(kind, manifest_of(kind, NAME, spec, annotations=asked))


# --- what recurs --------------------------------------------------------------------------------


def _recurring(story: stories.Story) -> Story:
    async def prepare(stage: Stage) -> None:
        await story.before(stage, CUSTOMER)

    async def tell(stage: Stage) -> None:
        await create(stage, story.kind, story.spec)
        await stage.condition(story.kind, NAME, "Ready", "True", "RunSucceeded")

    async def right(stage: Stage) -> None:
        await story.after(stage, CUSTOMER)
        assert await stage.events(story.kind, NAME) == sorted(story.events)

    return Story(
        kind=story.kind,
        prepare=prepare,
        tell=tell,
        right=right,
        asks_again=story.kind == "PaymentReconciliation",
    )


# --- money and bans -----------------------------------------------------------------------------


async def _a_customer(stage: Stage) -> None:
    await stage.customer(CUSTOMER, kopecks=1000)


async def _adjust(stage: Stage) -> None:
    spec = {
        "userID": CUSTOMER, "amountKopecks": 250, "reason": "sorry", "operationID": "ticket-1",
    }  # fmt: skip
    await create(stage, "BalanceAdjustment", spec)
    await stage.condition("BalanceAdjustment", NAME, "Succeeded", "True", "BalanceAdjusted")


async def _adjusted_once(stage: Stage) -> None:
    assert await stage.balance(CUSTOMER) == 1250
    assert await stage.events("BalanceAdjustment", NAME) == ["BalanceAdjusted"]


async def _ban_and_forgive(stage: Stage) -> None:
    await create(stage, "UserBan", {"userID": CUSTOMER, "reason": "fraud"})
    await stage.condition("UserBan", NAME, "Ready", "True", "Banned")
    assert await _bans(stage) == 1
    await stage.delete("UserBan", NAME)

    async def lifted() -> bool:
        return await _bans(stage) == 0

    await stage.wait(lifted, what="the ban is lifted")


async def _banned_once(stage: Stage) -> None:
    assert await stage.events("UserBan", NAME) == ["UserBanned"]


async def _bans(stage: Stage) -> int:
    count: int = await stage.pool.fetchval("SELECT count(*) FROM user_bans")
    return count


# --- backups ------------------------------------------------------------------------------------


def _source(stage: Stage) -> str:
    """A backup that is there before. The database that it is restored into on its way has a name of
    this, on a server that all stories share."""
    return f"20261101t000000z-{stage.namespace[-8:]}"


async def _a_job_of_an_object_before(stage: Stage, kind: str) -> None:
    """The Job of an object that had the same name; it has not ended."""
    name = f"{kind.lower()}-{NAME}"
    labels = {MANAGED_BY: MANAGER, OWNER_KIND: kind, OWNER_NAME: NAME}
    container = {"name": "main", "image": "rei", "command": ["rei"]}
    pod = {"metadata": {"labels": labels},
           "spec": {"containers": [container], "restartPolicy": "Never"}}  # fmt: skip
    spec = {"suspend": True, "template": pod}
    await stage.api.create("Job", {"metadata": {"name": name, "labels": labels}, "spec": spec})


async def _before_a_backup(stage: Stage) -> None:
    await _a_customer(stage)
    await _a_job_of_an_object_before(stage, "Backup")
    stage.kubelet.hold()


async def _back_up(stage: Stage) -> None:
    await create(stage, "Backup", {"storage": VOLUME, "verification": "Checksum"})
    await stage.condition("Backup", NAME, "Succeeded", "Unknown", "InProgress")

    async def has_a_pod() -> bool:
        job = await stage.api.get("Job", f"backup-{NAME}")
        return job is not None and bool(job.get("status", {}).get("active"))

    await stage.until(has_a_pod, "Backup", NAME, what="its Job has a pod")
    stage.kubelet.go_on()
    await stage.condition("Backup", NAME, "Succeeded", "True", "BackupVerified")


async def _taken_once(stage: Stage) -> None:
    assert stage.kubelet.exit_codes == {f"backup-{NAME}": [0]}
    assert await stage.events("Backup", NAME) == ["BackupVerified"]


async def _before_a_schedule(stage: Stage) -> None:
    """A Backup of long ago, which the retention will let go."""
    await _a_customer(stage)
    folder = stage.kubelet.claim(CLAIM)
    await take(folder, _source(stage), database_url=stage.database_url)
    await add_older(folder, OLD_BACKUP, like=_source(stage), verified=True)
    condition = {
        "type": "Succeeded", "status": "True", "reason": "BackupVerified",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
    old = manifest_of("Backup", f"{NAME}-{OLD_STAMP}", {"storage": VOLUME})
    old["metadata"]["labels"] = {OWNER_KIND: "BackupSchedule", OWNER_NAME: NAME}
    status = {"conditions": [condition], "observedGeneration": 1, "backupID": OLD_BACKUP}
    await stage.give_back({**old, "status": status}, with_status=True)


async def _let_it_back_up_and_forget(stage: Stage) -> None:
    retention = {"maxAgeDays": 30, "minVerified": 1}
    spec = {**RARELY, "storage": VOLUME, "verification": "Checksum", "retention": retention}
    await create(stage, "BackupSchedule", spec)

    async def forgotten() -> bool:
        raw = await stage.api.get("BackupSchedule", NAME)
        return raw is not None and raw.get("status", {}).get("verifiedBackups") == 2

    await stage.until(forgotten, "BackupSchedule", NAME, what="the retention has counted")


async def _the_old_one_is_forgotten(stage: Stage) -> None:
    left = {one["metadata"]["name"] for one in await stage.api.every("Backup")}
    assert len(left) == 1
    assert f"{NAME}-{OLD_STAMP}" not in left
    assert not (stage.kubelet.claim(CLAIM) / OLD_BACKUP).exists()
    assert await stage.events("BackupSchedule", NAME) == ["BackupMade"]


# --- restores -----------------------------------------------------------------------------------


async def _before_a_restore(stage: Stage) -> None:
    """A payment whose end the backup does not know, and a customer who came after it."""
    for name, replicas in REPLICAS.items():
        await stage.deployment(name, replicas=replicas)
    await stories.a_payment_nobody_told_us_of(stage, CUSTOMER)
    await take(stage.kubelet.claim(CLAIM), _source(stage), database_url=stage.database_url)
    await stage.customer(2, kopecks=500)
    await _a_job_of_an_object_before(stage, "Restore")


async def _restore_in_place(stage: Stage) -> None:
    spec = {
        "stored": {"storage": VOLUME, "id": _source(stage)},
        "inPlace": {"confirmDatabase": stage.database},
    }
    async with _deployments_follow(stage):
        await create(stage, "Restore", spec)
        await stage.condition("Restore", NAME, "Succeeded", "True", "Restored")


@asynccontextmanager
async def _deployments_follow(stage: Stage) -> AsyncIterator[None]:
    """Somebody who lets pods go and come, as the Deployments say."""

    async def follow() -> None:
        while True:
            for name in REPLICAS:
                await stage.pods_of(name, await stage.replicas(name))
            await asyncio.sleep(LOOK_SECONDS)

    following = asyncio.create_task(follow(), name=f"deployments of {stage.namespace}")
    try:
        yield
        assert not following.done(), following.result()
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def _restored_once(stage: Stage) -> None:
    status = await stage.status("Restore", NAME)
    assert status["stoppedDeployments"] == REPLICAS
    assert {name: await stage.replicas(name) for name in REPLICAS} == REPLICAS
    assert status["paymentsSettled"] == 1
    assert await stage.balance(CUSTOMER) == stories.TOPUP_KOPECKS
    assert await stage.events("Restore", NAME) == ["Restored", "StoppingDeployments"]
    assert stage.kubelet.exit_codes == {f"restore-{NAME}": [0]}


STORIES = (
    Story(
        kind="Restore",
        prepare=_before_a_restore,
        tell=_restore_in_place,
        right=_restored_once,
        asks_again=True,
    ),
    Story(
        kind="BackupSchedule",
        prepare=_before_a_schedule,
        tell=_let_it_back_up_and_forget,
        right=_the_old_one_is_forgotten,
    ),
    Story(kind="Backup", prepare=_before_a_backup, tell=_back_up, right=_taken_once),
    Story(kind="BalanceAdjustment", prepare=_a_customer, tell=_adjust, right=_adjusted_once),
    Story(kind="UserBan", prepare=_a_customer, tell=_ban_and_forgive, right=_banned_once),
    *(_recurring(story) for story in stories.STORIES),
)


# --- the end ------------------------------------------------------------------------------------


async def end_of(stage: Stage, *, asks_again: bool = False) -> Json:
    """All that counts in the end."""
    name = stage.database
    objects = [raw for kind in KINDS for raw in await _every(stage, kind)]
    events = [raw for raw in await _every(stage, "Event") if _is_about_ours(raw)]
    found = {
        "rows": await rows_in(stage.database_url),
        "statuses": statuses_of(objects, database=name),
        "events": events_of(events),
        "jobs": sorted(raw["metadata"]["name"] for raw in await _every(stage, "Job")),
        "replicas": {
            raw["metadata"]["name"]: raw["spec"]["replicas"]
            for raw in await _every(stage, "Deployment")
        },
        "pods": sorted(stage.kubelet.exit_codes.items()),
        "backups": await backups_in(storage_in(stage.kubelet.claim(CLAIM))),
        "databases": await databases_like(stage.database_url, f"{name}\\_%"),
        "ledger": await ledger_problems(stage.database_url),
    }
    end: Json = alike(found, database=name)
    return _without_examined(end) if asks_again else end


async def _every(stage: Stage, kind: str) -> list[Json]:
    return [{**raw, "kind": kind} for raw in await stage.api.every(kind)]


def _is_about_ours(event: Json) -> bool:
    return str(event["involvedObject"].get("apiVersion", "")).startswith(f"{GROUP}/")


def _without_examined(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_examined(one) for name, one in value.items() if name != "examined"}
    if isinstance(value, list):
        return [_without_examined(one) for one in value]
    return _EXAMINED.sub("examined MANY", value) if isinstance(value, str) else value


_EXAMINED = re.compile(r"examined [0-9]+")
