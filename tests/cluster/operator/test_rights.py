"""The operator's role: each right is needed, and together they are enough.

The operator does all that it ever does, by way of a proxy that writes down what it asks the API
server for, and what it is answered. Then that is compared with k8s/operator/role.yaml: nothing was
denied, and nothing is granted that was not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from rei_core.maintenance.resources import KINDS, REQUESTED_AT

from .proxy import Asked, between
from .stage import K8S, RARELY, Stage
from .stories import STORIES, run_now
from .test_backups import failed_long_ago
from .test_deletion_costs import costs_are, gets_busy, workers
from .test_restores import REPLICAS, let_go

NIGHTLY = {"volume": {"claimName": "nightly"}}


class Right(NamedTuple):
    """What one line of a role may be taken apart to. `name` is empty where any will do."""

    verb: str
    group: str
    resource: str
    name: str


def granted() -> Iterator[Right]:
    """All rights of the role, one by one."""
    role = yaml.safe_load((K8S / "operator" / "role.yaml").read_text(encoding="utf-8"))
    assert role["kind"] == "Role", "a ClusterRole would reach into other namespaces"
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(verb, group, resource, name)


def used(asked: set[Asked], rights: set[Right]) -> set[Right]:
    """The requests as rights: by name where the role has names."""
    by_name = {right[:3] for right in rights if right.name}
    found = set()
    for one in asked:
        what = (one.verb, one.group, one.resource)
        found.add(Right(*what, one.name if what in by_name else ""))
    return found


async def test_every_right_is_needed_and_no_other(stage: Stage) -> None:
    kubeconfig = stage.folder / "by-way-of-the-proxy"
    async with between(stage.kubeconfig) as proxy:
        proxy.write_kubeconfig(kubeconfig)
        async with stage.operator(KUBECONFIG=str(kubeconfig)) as operator:
            await operator.ready()
            await all_that_recurs(stage)
            await money_and_bans(stage)
            await backups_and_a_restore(stage)
            await a_busy_worker(stage)
            await delete_all(stage)
        # Another operator tells once more what the last one told: that is counted up.
        async with stage.operator(KUBECONFIG=str(kubeconfig)) as operator:
            await operator.ready()
            await counted(stage, 2)
    rights = set(granted())
    assert {one.namespace for one in proxy.asked} == {stage.namespace}
    assert proxy.denied == set()
    assert sorted(used(proxy.asked, rights) - rights) == []
    assert sorted(rights - used(proxy.asked, rights)) == []


async def counted(stage: Stage, times: int) -> None:
    """A request that makes no sense has been told so many times, by one Event."""

    async def look() -> bool:
        return (await stage.events("LedgerAudit", "nonsense")).count("BadRequest") >= times

    await stage.until(look, "LedgerAudit", "nonsense", what=f"it is told {times} times")


async def all_that_recurs(stage: Stage) -> None:
    for number, story in enumerate(STORIES):
        await stage.apply(story.kind, "one", story.spec)
        await story.before(stage, 100 + number)
        await run_now(stage, story.kind, "one")
    nonsense = {REQUESTED_AT: "now"}
    await stage.apply("LedgerAudit", "nonsense", RARELY, annotations=nonsense)
    await counted(stage, 1)


async def money_and_bans(stage: Stage) -> None:
    await stage.customer(7, kopecks=100)
    spec = {"userID": 7, "amountKopecks": 1, "reason": "sorry", "operationID": "t-1"}
    await stage.apply("BalanceAdjustment", "one", spec)
    await stage.condition("BalanceAdjustment", "one", "Succeeded", "True")
    await stage.apply("UserBan", "one", {"userID": 7, "reason": "fraud"})
    await stage.condition("UserBan", "one", "Ready", "True", "Banned")


async def backups_and_a_restore(stage: Stage) -> None:
    await stage.apply("BackupSchedule", "nightly", RARELY | {"storage": NIGHTLY})
    schedule = await stage.condition("BackupSchedule", "nightly", "Ready", "Unknown", "NoRunYet")
    old = await failed_long_ago(stage, schedule)
    done = await run_now(stage, "BackupSchedule", "nightly")
    made = done["status"]["lastBackupName"]

    async def old_is_gone() -> bool:
        return await stage.api.get("Backup", old) is None

    await stage.until(old_is_gone, "BackupSchedule", "nightly", what="the old one is deleted")

    for name, replicas in REPLICAS.items():
        await stage.deployment(name, replicas=replicas)
    await a_job_of_an_object_before(stage, "restore-back")
    in_place = {"confirmDatabase": stage.database}
    spec = {"backupRef": {"name": made}, "inPlace": in_place}
    await stage.apply("Restore", "back", spec)
    await let_go(stage)
    await stage.condition("Restore", "back", "Succeeded", "True", "Restored")


async def a_job_of_an_object_before(stage: Stage, name: str) -> None:
    """A Job of that name which belongs to nobody: it stands in the way, and is deleted."""
    container = {"name": "rei", "image": "rei"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    manifest: Mapping[str, Any] = {
        "metadata": {"name": name},
        "spec": {"suspend": True, "template": template},
    }
    await stage.api.create("Job", dict(manifest))


async def a_busy_worker(stage: Stage) -> None:
    [pod, *_] = await workers(stage)
    await stage.customer(8, kopecks=100)
    await gets_busy(stage, pod, jobs=1, user_id=8)
    await costs_are(stage, {pod: "1"})


async def delete_all(stage: Stage) -> None:
    """Everything but what the next operator tells about; all of it is seen to be gone."""
    for kind in KINDS:
        for raw in await stage.api.every(kind):
            if raw["metadata"]["name"] != "nonsense":
                await stage.delete(kind, raw["metadata"]["name"])

    async def lifted() -> bool:
        return bool(await stage.pool.fetchval("SELECT count(*) = 0 FROM user_bans"))

    await stage.until(lifted, "UserBan", "one", what="the ban is lifted")
