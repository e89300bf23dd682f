"""What the hooks' Jobs do, each as the process that its container runs, with its account's rights.

The rights, the arguments, the manifests are those of the chart as it is installed; there is no node,
so what a kubelet and the operator would do is done by the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rei_core.maintenance.resources import Backup
from rei_sandbox.cluster.errors import KubectlRefused
from rei_sandbox.cluster.helm import CHART, Helm
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl

from .conftest import MINIMAL, run

pytestmark = pytest.mark.usefixtures("crds")

SECONDS_MAX = 240.0
DEFAULTS = {"rei-books", "rei-daily", "rei-payments", "rei-retention", "rei-stuck-jobs"}
KINDS = "ledgeraudits,backupschedules,paymentreconciliations,jobretentionpolicies,stuckjobpolicies"


@dataclass(frozen=True)
class Ended:
    code: int
    said: str


@dataclass(frozen=True)
class Release:
    """The installed chart, and its Jobs as far as they run without a node."""

    helm: Helm
    kubectl: Kubectl
    kubeconfig: Path
    folder: Path

    async def upgrade(self, *options: str) -> None:
        await run(self.helm, "upgrade", "rei", str(CHART), *MINIMAL, "--no-hooks", *options)

    async def hook(
        self, name: str, *options: str, container: str = "rei", wait_seconds: int | None = None
    ) -> Ended:
        """Carry out a hook's container: its arguments, on the manifests that its ConfigMap holds."""
        begun = self.begun(name, *options, container=container, wait_seconds=wait_seconds)
        async with begun as process:
            said, _ = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
        assert process.returncode is not None
        return Ended(process.returncode, said.decode())

    @asynccontextmanager
    async def begun(
        self, name: str, *options: str, container: str = "rei", wait_seconds: int | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        objects = await asyncio.to_thread(self.helm.render, *MINIMAL, *options, upgrade=True)
        pod = _one(objects, "Job", f"rei-{name}")["spec"]["template"]["spec"]
        (found,) = (
            each
            for each in (*pod["containers"], *pod.get("initContainers", ()))
            if each["name"] == container
        )
        words = [self._placed(word, objects, pod) for word in found["args"][1:]]
        if wait_seconds is not None:
            words.append(f"--wait={wait_seconds}")  # the last one counts
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("REI_")},
            "KUBECONFIG": str(self.kubeconfig),
            "REI_NAMESPACE": self.kubectl.namespace,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rei_core", *words, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _placed(self, word: str, objects: list[dict[str, Any]], pod: dict[str, Any]) -> str:
        """A word with /manifests/… as the file that it would be in the pod."""
        before, slash, file = word.partition("/manifests/")
        if not slash:
            return word
        (name,) = (
            volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume
        )
        path = self.folder / file
        text: str = _one(objects, "ConfigMap", name)["data"][file]
        # The moment was taken out of the name, so that renders can be compared.
        path.write_text(text.replace("(moment)", "1764000000"))
        return f"{before}{path}"

    async def names(self) -> set[str]:
        listed = await self.kubectl.json("get", KINDS)
        return {each["metadata"]["name"] for each in listed["items"]}


@pytest.fixture
async def release(
    helm: Helm, kubectl: Kubectl, cluster: Cluster, namespace: str, tmp_path: Path
) -> Release:
    await run(helm, "install", "rei", str(CHART), *MINIMAL, "--no-hooks")
    kubeconfig = await cluster.as_service_account("rei-release", namespace=namespace)
    return Release(helm, kubectl, kubeconfig, tmp_path)


async def test_the_default_maintenance_comes_up_goes_and_goes_with_the_release(
    release: Release,
) -> None:
    first = await release.hook("apply")
    assert first.code == 0, first.said
    assert await release.names() == DEFAULTS

    mine = {"apiVersion": "rei.bot/v1alpha1", "kind": "LedgerAudit",
            "metadata": {"name": "mine"}, "spec": {"schedule": "5 * * * *"}}  # fmt: skip
    await release.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(mine))
    changed = ("--set=maintenance.retention.enabled=false", "--set=backups.schedule=0 4 * * *")
    await release.upgrade(*changed)
    again = await release.hook("apply", *changed)
    assert again.code == 0, again.said
    assert await release.names() == (DEFAULTS | {"mine"}) - {"rei-retention"}
    schedule = await release.kubectl.json("get", "backupschedule", "rei-daily")
    assert schedule["spec"]["schedule"] == "0 4 * * *"

    await run(release.helm, "uninstall", "rei", "--no-hooks", "--wait")
    async with asyncio.timeout(SECONDS_MAX):
        while await release.names() != {"mine"}:  # noqa: ASYNC110 - Kubernetes deletes what has lost its owner
            await asyncio.sleep(0.5)


async def test_nothing_wanted_is_nothing_there(release: Release) -> None:
    assert (await release.hook("apply")).code == 0
    none = [f"--set=maintenance.{name}.enabled=false" for name in
            ("stuckJobs", "reconciliation", "retention", "audit")]  # fmt: skip
    await release.upgrade(*none, "--set=backups.enabled=false")
    ended = await release.hook("apply", *none, "--set=backups.enabled=false")
    assert ended.code == 0, ended.said
    assert await release.names() == set()


@pytest.mark.parametrize(("status", "code"), [("True", 0), ("False", 1)])
async def test_an_upgrade_waits_for_its_backup_and_stops_where_it_fails(
    release: Release, status: str, code: int
) -> None:
    async with release.begun("upgrade-backup") as process:
        name = await _first_backup(release.kubectl)
        document = await release.kubectl.json("get", "backup", name)
        asked = Backup.of(document).spec
        assert asked.verification.value == "Restore"
        assert asked.storage.volume is not None
        assert asked.storage.volume.claim_name == "rei-backups"
        condition = {"type": "Succeeded", "status": status, "reason": "Ended", "message": "of the test",
                     "lastTransitionTime": "2026-11-28T03:00:00Z"}  # fmt: skip
        patch = {"status": {"conditions": [condition]}}
        await release.kubectl(
            "patch", "backup", name, "--subresource=status", "--type=merge", "-p", json.dumps(patch)
        )
        said, _ = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    assert process.returncode == code, said.decode()
    assert "of the test" in said.decode()


async def test_a_backup_that_nobody_makes_stops_the_upgrade(release: Release) -> None:
    ended = await release.hook("upgrade-backup", wait_seconds=2)
    assert ended.code == 1
    assert "Does the operator run?" in ended.said


async def test_the_smoke_check_waits_for_new_pods_and_says_what_is_missing(
    release: Release,
) -> None:
    for part in ("bot", "worker", "operator"):
        await _rolled_out(release.kubectl, f"rei-{part}")
    ended = await release.hook("smoke-check", container="before")
    assert ended.code == 0, ended.said

    await _tell(release.kubectl, "rei-worker", available=0, progressing=False)
    failed = await release.hook("smoke-check", container="before")
    assert failed.code == 1
    assert "rei-worker makes no progress" in failed.said


async def test_the_jobs_may_do_nothing_else(release: Release, cluster: Cluster) -> None:
    kubectl = cluster.kubectl(namespace=release.kubectl.namespace, kubeconfig=release.kubeconfig)
    for words in (
        ("get", "secrets"),
        ("create", "configmap", "c"),
        ("delete", "deployment", "rei-bot"),
        ("get", "userbans"),
        ("delete", "backup", "b"),
    ):
        with pytest.raises(KubectlRefused, match="forbidden"):
            await kubectl(*words)


async def _first_backup(kubectl: Kubectl) -> str:
    async with asyncio.timeout(SECONDS_MAX):
        while not (items := (await kubectl.json("get", "backups"))["items"]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    name = items[0]["metadata"]["name"]
    assert isinstance(name, str)
    return name


async def _rolled_out(kubectl: Kubectl, name: str) -> None:
    await _tell(kubectl, name, available=1, progressing=True)


async def _tell(kubectl: Kubectl, name: str, *, available: int, progressing: bool) -> None:
    """What the Deployment controller would write."""
    generation = (await kubectl.json("get", "deployment", name))["metadata"]["generation"]
    condition = {"type": "Progressing", "status": str(progressing),
                 "reason": "NewReplicaSetAvailable" if progressing else "ProgressDeadlineExceeded",
                 "message": "of the test"}  # fmt: skip
    status = {"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
              "availableReplicas": available, "readyReplicas": available,
              "conditions": [condition]}  # fmt: skip
    patch = json.dumps({"status": status})
    await kubectl("patch", "deployment", name, "--subresource=status", "--type=merge", "-p", patch)


def _one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (
        each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found
