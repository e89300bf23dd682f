"""Busy workers' pods are the last to go: the operator marks them, and a real ReplicaSet obeys."""

from __future__ import annotations

import json

import pytest

from rei_core.jobs import accept_queries, claim_queries
from rei_core.jobs.model import Order
from rei_operator.deletion_costs import COST

from .api import ApiRefused, opened
from .stage import Json, Stage

LABELS = {"app.kubernetes.io/name": "rei-worker"}
PODS = 5


async def workers(stage: Stage) -> list[str]:
    """A ReplicaSet of workers; the names of its pods. No node runs them."""
    container = {"name": "worker", "image": "rei-worker"}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    spec = {"replicas": PODS, "selector": {"matchLabels": LABELS}, "template": template}
    await stage.api.create("ReplicaSet", {"metadata": {"name": "rei-worker"}, "spec": spec})

    async def made() -> list[str] | None:
        names = await names_of(stage)
        return names if len(names) == PODS else None

    return await stage.wait(made, what="the ReplicaSet makes its pods")


async def names_of(stage: Stage) -> list[str]:
    """The pods that are to stay."""
    pods = await stage.api.every("Pod", labels="app.kubernetes.io/name=rei-worker")
    return [
        pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]
    ]  # fmt: skip


async def gets_busy(stage: Stage, pod: str, *, jobs: int, user_id: int = 7) -> None:
    """The worker of a pod claims jobs, as a worker does."""
    async with stage.pool.acquire() as connection, connection.transaction():
        for number in range(jobs):
            order = Order(
                user_id=user_id, idempotency_key=f"{pod}-{number}", model="m", prompt="a cat",
                aspect_ratio="1:1", image_size="1K", price_kopecks=1, chat_id=user_id,
            )  # fmt: skip
            await accept_queries.accept(
                connection, order, active_jobs_max=99, attempts_max=2, deadline_seconds=600
            )
        claimed = await claim_queries.claim(
            connection, worker=f"{pod}-1-0a0b0c0d", lease_seconds=600, limit=jobs, processing_max=99
        )
        assert len(claimed) == jobs


async def costs_are(stage: Stage, expected: dict[str, str]) -> None:
    async def look() -> bool:
        pods = await stage.api.every("Pod", labels="app.kubernetes.io/name=rei-worker")
        annotations = {
            pod["metadata"]["name"]: pod["metadata"].get("annotations", {}) for pod in pods
        }
        found = {name: one[COST] for name, one in annotations.items() if COST in one}
        return found == expected

    await stage.wait(look, what=f"the costs are {expected}")


async def controller_has_seen_it(stage: Stage, *, spare: str) -> None:
    """Watches are in order: who makes another pod for one that goes has seen all that came before."""
    await stage.api.delete("Pod", spare)

    async def replaced() -> bool:
        names = await names_of(stage)
        return spare not in names and len(names) == PODS

    await stage.wait(replaced, what="the ReplicaSet makes another pod")


async def test_a_replicaset_that_shrinks_takes_the_idle_pods(stage: Stage) -> None:
    await stage.customer(7, kopecks=1000)
    pods = await workers(stage)
    little, much = pods[1], pods[3]
    async with stage.operator(REI_DELETION_COST_SECONDS="1") as operator:
        await operator.ready()
        await gets_busy(stage, little, jobs=2)
        await gets_busy(stage, much, jobs=8)
        await costs_are(stage, {little: "2", much: "8"})
        await controller_has_seen_it(stage, spare=pods[0])

        for replicas, left in ((2, {little, much}), (1, {much})):
            await stage.api.patch("ReplicaSet", "rei-worker", {"spec": {"replicas": replicas}})

            async def shrunk(left: set[str] = left) -> bool:
                return set(await names_of(stage)) == left

            await stage.wait(shrunk, what=f"the busiest {replicas} are left")

        await stage.pool.execute("DELETE FROM jobs")
        await costs_are(stage, {})


async def test_the_right_to_mark_a_pod_is_none_to_change_what_it_runs(stage: Stage) -> None:
    [pod, *_] = await workers(stage)
    evil: Json = {"spec": {"containers": [{"name": "worker", "image": "evil"}]}}
    async with opened(stage.kubeconfig, namespace=stage.namespace) as as_operator:
        with pytest.raises(ApiRefused) as refused:
            await as_operator.patch("Pod", pod, evil)
        assert refused.value.status == 403
        await as_operator.patch("Pod", pod, evil, subresource="status")
    found = await stage.get("Pod", pod)
    assert found["spec"]["containers"][0]["image"] == "rei-worker"


async def test_without_the_right_all_else_goes_on(stage: Stage) -> None:
    await stage.customer(7, kopecks=1000)
    [pod, *_] = await workers(stage)
    await gets_busy(stage, pod, jobs=1)
    role = await stage.kubectl.json("get", "role", "rei-operator")
    rules = [rule for rule in role["rules"] if "pods" not in rule["resources"]]
    await stage.kubectl(
        "patch", "role", "rei-operator", "--type=merge", f"--patch={json.dumps({'rules': rules})}"
    )
    async with stage.operator(REI_DELETION_COST_SECONDS="1") as operator:
        await operator.ready()

        async def said() -> bool:
            return "deletion_costs.not_written" in operator.log()

        await stage.wait(said, what="the operator says that it may not")
        await stage.apply("UserBan", "fraud", {"userID": 7, "reason": "fraud"})
        await stage.condition("UserBan", "fraud", "Ready", "True", "Banned")
        assert "rei_queue_processing 1.0" in await operator.metrics()
    await costs_are(stage, {})
