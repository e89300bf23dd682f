"""Workers follow the work on a real cluster, by KEDA and by an HPA on external metrics: no order is lost,
drawn twice or refunded because of it, and nothing goes while nobody knows how much work there is.

With REI_SCALING_TIMELINE=FOLDER the course of the first test is written there for each way, for the
pictures of docs/scaling.md (`make e2e-scaling`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rei_sandbox.cluster import addons
from rei_sandbox.cluster.go_programs import CHECKOUT
from rei_sandbox.cluster.helm import CHART, RELEASE, Helm
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl
from rei_sandbox.cluster.programs import obtain_helm

from . import outside
from .outside import PORT
from .sharing import Sharing
from .timeline import WORKERS, Job, Timeline, jobs, sql, watched

SMALL = Path(__file__).with_name("values.yaml")
GUESTS = Path(__file__).with_name("guests.py")
NAMESPACE = "rei-e2e-scaling"
PODS_MAX = 4
SLOTS = 2
"""Of a pod: few, so that few orders need all pods."""
DRAWING_SECONDS = 10
UP_SECONDS_MAX = 200.0
DONE_SECONDS_MAX = 300.0
DOWN_SECONDS_MAX = 150.0
TIMELINE = os.environ.get("REI_SCALING_TIMELINE")
LULL_SECONDS = 45 if TIMELINE else 10
"""Before a pod goes: by default, for the pictures; else shorter, as all of it takes long."""
BLIND_SECONDS = LULL_SECONDS + 20.0
"""An HPA that believed that there is no work would take pods away after the lull; here it looks every 5."""


VALUES = {
    "crds": {"install": False},  # they are there already, and may belong to another release
    "settings": {
        "REI_TELEGRAM_API_URL": f"http://sandbox:{PORT}",
        "YOOKASSA_API_URL": f"http://sandbox:{PORT}/yookassa/v3",
        "GEMINI_BASE_URL": f"http://sandbox:{PORT}/gemini",
        "REI_ACTIVE_JOBS_MAX": "50",
    },
    "bot": {"publicUrl": f"http://rei-bot.{NAMESPACE}.svc"},
    "worker": {"concurrency": SLOTS},
    "backups": {"enabled": False},
    "upgrade": {"backup": {"enabled": False}},
    "preflight": {"enabled": False},
    "autoscaling": {
        "worker": {"min": 1, "max": PODS_MAX, "scaleDownSeconds": LULL_SECONDS},
        "bot": {"min": 1, "max": 2},
        "prometheus": {"address": addons.PROMETHEUS_URL},
    },
}
"""Beside values.yaml, which is a small release."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A release that scales, and the sandbox that its customers are in."""

    way: str
    rei: Kubectl
    prometheus: Kubectl

    async def order(self, people: int, orders: int, *, pause_seconds: float = 0) -> int:
        """How many orders were taken, once all of them are."""
        words = (str(people), str(orders), str(pause_seconds))
        taken = await self.rei(
            "exec", "--stdin", "deployment/sandbox", "--", "python", "-", *words,
            stdin=GUESTS.read_text(encoding="utf-8"),
        )  # fmt: skip
        return int(taken)

    async def last_job(self) -> int:
        return int(await sql(self.rei, "SELECT coalesce(max(id), 0) FROM jobs"))

    async def replicas(self) -> int:
        """How many pods the workers' Deployment is told to have."""
        found = await self.rei.json("get", "deployment", "rei-worker")
        return int(found["spec"]["replicas"])

    async def at_most(self) -> bool:
        """Whether there are as many as there may be."""
        return await self.replicas() == PODS_MAX

    async def pods(self) -> int:
        return len((await self.rei.json("get", "pods", f"--selector={WORKERS}"))["items"])

    async def idle(self) -> bool:
        """Whether all orders have come to their end."""
        unfinished = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'processing')"
        return await sql(self.rei, unfinished) == "0"

    async def alone(self) -> bool:
        """Whether there is one worker's pod, and none that still goes."""
        return await self.replicas() == await self.pods() == 1


@pytest.fixture(scope="module")
def scaled_by(
    cluster: Cluster,
    sharing: Sharing,
    say: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], None]]:
    """A release in a namespace of its own, with its own sandbox; a call chooses what scales it.

    A given cluster has to have the images of the autoscalers.
    """
    folder = tmp_path_factory.mktemp("scaling")
    helm = Helm(
        obtain_helm(say=say), folder, kubeconfig=cluster.kubeconfig, namespace=NAMESPACE
    )  # fmt: skip
    values = folder / "values.json"
    values.write_text(json.dumps(VALUES), encoding="utf-8")

    def scale_by(way: str, *words: str) -> None:
        helm(
            "upgrade", "--install", RELEASE, str(CHART), f"--values={SMALL}", f"--values={values}",
            f"--set=autoscaling.mode={way}", "--wait", "--timeout=5m",
            "--force-conflicts",  # the number of pods is the HPA's until it is fixed again
            *words,
        )  # fmt: skip

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        try:
            goes = cluster.ours or sharing.visiting
            runner.run(stack.enter_async_context(prepared(cluster, goes=goes)))
            scale_by("fixed")
            # The same Rei on the same schema: hooks would look at all of it again, each time.
            yield lambda way: scale_by(way, "--no-hooks")
        finally:
            runner.run(stack.aclose())


@pytest.fixture(scope="module", params=["keda", "hpa"])
def shop(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    scaled_by: Callable[[str], None],
    say: Callable[[str], None],
) -> Iterator[Shop]:
    """The release, scaled in each way in turn."""
    way = request.param
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        autoscaler = {
            "keda": addons.keda(cluster, say=say),
            "hpa": addons.prometheus_adapter(cluster, rules=adapter_rules()),
        }[way]
        try:
            runner.run(stack.enter_async_context(autoscaler))
            scaled_by(way)
            monitoring = cluster.kubectl(namespace=addons.MONITORING)
            yield Shop(way, cluster.kubectl(namespace=NAMESPACE), monitoring)
        finally:
            if way == "keda":
                # Its objects go while it is there, else nobody lets them go.
                scaled_by("fixed")
                gone = ("wait", "--for=delete", "--all", "scaledobjects", "--timeout=60s")
                runner.run(cluster.kubectl(namespace=NAMESPACE)(*gone))
            runner.run(stack.aclose())


async def test_pods_follow_the_work_and_no_job_suffers(
    shop: Shop, say: Callable[[str], None]
) -> None:
    before = await shop.last_job()
    async with watched(shop.rei) as timeline:
        at_once = shop.order(people=8, orders=3)
        # Of fewer pods than all: so pods go while there is work, their own perhaps.
        lanes = [steadily(shop, timeline) for _ in range(2)]
        async with asyncio.timeout(DONE_SECONDS_MAX):
            ordered = sum(await asyncio.gather(at_once, *lanes))
        await until(shop.idle, "the orders' end", seconds_max=DONE_SECONDS_MAX)
        await until(shop.alone, "one pod", seconds_max=DOWN_SECONDS_MAX)
    done = await jobs(shop.rei, after=before)
    busy = timeline.busy_when_told(done)
    say(
        f"{shop.way}: {len(done)} jobs, {timeline.most} pods, {len(busy)} jobs in pods that were let go"
    )
    write(shop.way, timeline, done)
    assert timeline.most == PODS_MAX
    await all_well(shop, done, ordered=ordered)


async def test_no_pod_goes_while_nobody_knows_how_much_there_is_to_do(shop: Shop) -> None:
    before, ordered = await shop.last_job(), 0
    for gone in ("operator", "prometheus"):
        ordered += await shop.order(people=16, orders=3)
        await until(shop.at_most, "all pods", seconds_max=UP_SECONDS_MAX)
        async with away(shop, gone):
            blind = time.monotonic() + BLIND_SECONDS
            assert not await shop.idle(), "there has to be work that would be left"
            while time.monotonic() < blind:
                assert await shop.replicas() == PODS_MAX, f"without the {gone}"
                await asyncio.sleep(1)
    await until(shop.idle, "the orders' end", seconds_max=DONE_SECONDS_MAX)
    await until(shop.alone, "one pod", seconds_max=DOWN_SECONDS_MAX)
    await all_well(shop, await jobs(shop.rei, after=before), ordered=ordered)


async def steadily(shop: Shop, timeline: Timeline) -> int:
    """Orders that keep two slots at work until a pod goes; how many there were."""
    ordered = 0
    while not timeline.left():
        ordered += await shop.order(people=1, orders=2, pause_seconds=5)
    return ordered


async def all_well(shop: Shop, done: list[Job], *, ordered: int) -> None:
    """Each order drawn once, paid for once, and none given back."""
    assert len(done) == ordered
    assert {(job.status, job.attempt) for job in done} == {("completed", 1)}
    assert await sql(shop.rei, "SELECT count(*) FROM transfers WHERE kind = 'release'") == "0"
    await shop.rei("exec", "deployment/rei-operator", "--", "rei", "audit")


@contextlib.asynccontextmanager
async def away(shop: Shop, what: str) -> AsyncIterator[None]:
    """Prometheus, or the operator that counts, is not there for as long as the block lasts."""
    kubectl, deployment = {
        "prometheus": (shop.prometheus, "deployment/prometheus"),
        "operator": (shop.rei, "deployment/rei-operator"),
    }[what]
    await kubectl("scale", deployment, "--replicas=0")
    try:
        yield
    finally:
        await kubectl("scale", deployment, "--replicas=1")
        await kubectl("rollout", "status", deployment, "--timeout=100s")


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, seconds_max: float) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds_max
    while not await holds():
        assert time.monotonic() < end, f"no {what} in {seconds_max:.0f} s"
        await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def prepared(cluster: Cluster, *, goes: bool) -> AsyncIterator[None]:
    """What has to be there before a release: Rei's kinds, credentials, the outside world, Prometheus.

    What `goes` with its node needs no cleaning.
    """
    everywhere, here = cluster.kubectl(namespace=""), cluster.kubectl(namespace=NAMESPACE)
    known = await everywhere("get", "customresourcedefinitions", "--output=name")
    ours = () if ".rei.bot" in known else ("-k", str(CHECKOUT / "k8s" / "crds"))
    world = outside.objects(
        NAMESPACE, release=NAMESPACE, REI_SANDBOX_GEMINI_LATENCY_SECONDS=str(DRAWING_SECONDS)
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "rei-credentials", "namespace": NAMESPACE},
        "stringData": outside.CREDENTIALS,
    }
    needed = {"apiVersion": "v1", "kind": "List", "items": [*world, secret]}
    try:
        if ours:
            await everywhere("apply", "--server-side", *ours)
        await addons.install_prometheus(cluster)
        await everywhere("apply", "--server-side", "-f", "-", stdin=json.dumps(needed))
        await here("rollout", "status", "deployment/sandbox", "--timeout=100s")
        yield
    finally:
        if not goes:
            await everywhere("delete", "namespace", NAMESPACE, "--ignore-not-found")
        if ours and not goes:
            await everywhere("delete", "--ignore-not-found", *ours)


def adapter_rules() -> str:
    """prometheus-adapter's configuration, as the documentation has it."""
    page = (CHECKOUT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (rules,) = re.findall(r"```yaml\n(externalRules:.*?)```", page, re.DOTALL)
    return str(rules)


def write(way: str, timeline: Timeline, done: list[Job]) -> None:
    """For the picture, where it was asked for."""
    if TIMELINE:
        folder = Path(TIMELINE)
        folder.mkdir(parents=True, exist_ok=True)
        course = {
            "slots": SLOTS,
            "moments": timeline.drawn(done),
            "busy_when_told": len(timeline.busy_when_told(done)),
        }
        (folder / f"{way}.json").write_text(json.dumps(course), encoding="utf-8")
