"""Orders in which people take Rei away, and an API server that is killed: nothing hangs.

On a control plane of this module's own: deleting a CRD, or killing the API server, takes it from
everybody.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from rei_core.maintenance.resources import GROUP, KINDS
from rei_sandbox.cluster import shared as shared_clusters
from rei_sandbox.cluster.control_plane import ControlPlane
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.cluster.programs import obtain

from .api import ApiRefused
from .process import OperatorProcess
from .stage import K8S, RARELY, Stage, open_stage
from .stories import latest_moment, run_now, runs, until_known, until_told_of

BAN = yaml.safe_load((K8S / "samples" / "userban.yaml").read_text())["spec"]
SAMPLES = sorted((K8S / "samples").glob("*.yaml"))
DELETED_WITHIN = "--timeout=110s"
NAMES = [f"crd/{kind.names.plural}.{GROUP}" for kind in KINDS.values()]


@pytest.fixture(scope="module")
def plane(
    cluster: Cluster, say: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A control plane that nobody else uses."""
    if not cluster.ours:
        pytest.skip(f"{shared_clusters.GIVEN} names a cluster: none is started here")
    programs = obtain(os.environ, say=say)
    started = ControlPlane(tmp_path_factory.mktemp("plane"), programs).start()
    yield started
    started.stop()


@pytest.fixture
async def own(plane: ControlPlane, cluster: Cluster) -> Cluster:
    """The way to it; our kinds are there."""
    opened = Cluster(
        kubeconfig=plane.kubeconfig,
        kubectl_program=cluster.kubectl_program,
        folder=plane.folder,
        ours=True,
    )
    kubectl = opened.kubectl()
    await kubectl("apply", "--server-side", "-k", str(K8S / "crds"))
    await kubectl("wait", "--for=condition=Established", "--timeout=60s", *NAMES)
    return opened


@pytest.fixture
async def stage(
    own: Cluster, postgres_url: str, template_database: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    """As everywhere in this folder, on the control plane of this module."""
    async with open_stage(
        own, postgres_url=postgres_url, template_database=template_database, folder=tmp_path
    ) as opened:
        yield opened


@asynccontextmanager
async def installed(stage: Stage) -> AsyncIterator[OperatorProcess]:
    """An operator at work on one resource of each kind, with a ban in force."""
    await stage.customer(BAN["userID"])
    async with stage.operator() as operator:
        await operator.ready()
        stage.kubelet.hold()  # what runs in a Job is at work for as long as this lasts
        files = (f"--filename={path}" for path in SAMPLES)
        await stage.kubectl("apply", "--server-side", *files)
        await stage.condition("UserBan", "spammer", "Ready", "True", "Banned")
        await stage.condition("Backup", "before-the-big-change", "Succeeded", "Unknown")
        yield operator


async def bans(stage: Stage) -> int:
    value: int = await stage.pool.fetchval("SELECT count(*) FROM user_bans")
    return value


async def no_bans(stage: Stage) -> bool:
    return await bans(stage) == 0


async def test_as_documented_the_resources_first(stage: Stage) -> None:
    async with installed(stage) as operator:
        await stage.kubectl("delete", "rei", "--all", DELETED_WITHIN)
        await stage.until(lambda: no_bans(stage), "UserBan", "spammer", what="the ban is lifted")
        assert await operator.stop() == 0
    await stage.kubectl("delete", "-k", str(K8S / "crds"), DELETED_WITHIN)
    await stage.delete_namespace()


async def test_the_operator_first(stage: Stage) -> None:
    async with installed(stage) as operator:
        assert await operator.stop() == 0
    await stage.kubectl("delete", "rei", "--all", DELETED_WITHIN)
    assert await bans(stage) == 1, "nobody was there to lift it"
    # The next operator finds that its resource is gone.
    async with stage.operator() as operator:
        await operator.ready()
        await stage.until(lambda: no_bans(stage), "UserBan", "spammer", what="the ban is lifted")
    await stage.kubectl("delete", "-k", str(K8S / "crds"), DELETED_WITHIN)
    await stage.delete_namespace()


async def test_the_kinds_first(stage: Stage) -> None:
    async with installed(stage) as operator:
        # With its resource the ban goes, as documented: deleting a kind deletes all of it.
        await stage.kubectl("delete", f"crd/userbans.{GROUP}", DELETED_WITHIN)
        await stage.until(lambda: no_bans(stage), "UserBan", "spammer", what="the ban is lifted")
        await stage.kubectl("delete", "-k", str(K8S / "crds"), "--ignore-not-found", DELETED_WITHIN)
        # What it watched is gone. It says so and ends, and Kubernetes begins another one.
        assert await operator.died() == 1
        assert "watch.died" in operator.log()
    # One that begins without kinds waits for them: it is not ready, and says so.
    begun = len(stage.log.read_text(encoding="utf-8"))
    async with stage.operator() as operator:
        await stage.wait(lambda: says(stage, "janitor.failed", begun), what="it tells its trouble")
        answer = await operator.get("/readyz")
        assert answer is not None
        assert answer.status_code == 503
        # Once they are back it sees every change at once.
        await stage.kubectl("apply", "--server-side", "-k", str(K8S / "crds"))
        await operator.ready()
        await stage.apply("UserBan", "again", BAN)
        await stage.condition("UserBan", "again", "Ready", "True", "Banned")
        assert await operator.stop() == 0
    await stage.delete_namespace()


async def says(stage: Stage, event: str, begun: int) -> bool:
    return event in stage.log.read_text(encoding="utf-8")[begun:]


async def test_the_namespace_first(stage: Stage) -> None:
    async with installed(stage) as operator:
        await stage.delete_namespace()
        await stage.kubectl("delete", "-k", str(K8S / "crds"), DELETED_WITHIN)
        # Whether its watches have ended it or not: it does not hang.
        assert await operator.stop() in (0, 1)


async def test_an_api_server_that_is_killed_and_comes_back_is_waited_for(
    plane: ControlPlane, stage: Stage
) -> None:
    await stage.customer(1)
    async with stage.operator(REI_RESYNC_SECONDS="5") as operator:
        await operator.ready()
        await stage.apply("UserBan", "fraud", {"userID": 1, "reason": "fraud"})
        await stage.condition("UserBan", "fraud", "Ready", "True", "Banned")
        await stage.apply("LedgerAudit", "often", {"periodSeconds": 10})
        await until_known(stage, "LedgerAudit", "often")

        await asyncio.to_thread(plane.kill_api_server)
        before = len(await runs(stage, "LedgerAudit", "often"))

        async def it_ran() -> bool:
            return len(await runs(stage, "LedgerAudit", "often")) > before

        # It is done without the API server, and told when there is one.
        await stage.wait(it_ran, what="a run while there is no API server")
        moment = await latest_moment(stage, "LedgerAudit", "often")
        await asyncio.to_thread(plane.start_api_server)

        await stage.wait(lambda: answers(stage), what="the API server is back")
        await until_told_of(stage, "LedgerAudit", "often", moment)
        await stage.apply("LedgerAudit", "new", RARELY)
        await run_now(stage, "LedgerAudit", "new")
        await stage.delete("UserBan", "fraud")
        await stage.until(lambda: no_bans(stage), "UserBan", "fraud", what="the ban is lifted")
        assert await operator.stop() == 0


async def answers(stage: Stage) -> bool:
    try:
        await stage.api.every("LedgerAudit")
    except ApiRefused:
        return False
    return True
