"""The chart on a real API server: what it makes is taken as it is, and stays what it was.

There are no nodes: hooks, which are Jobs that would have to run, are left out here; what they do is
tried in test_hooks.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from typing import Any

import pytest

from rei_core.maintenance.resources import GROUP, KINDS
from rei_sandbox.cluster.errors import KubectlRefused
from rei_sandbox.cluster.helm import CHART, Helm, HelmRefused
from rei_sandbox.cluster.kubeconfig import Kubectl

from .conftest import MINIMAL, run

pytestmark = pytest.mark.usefixtures("crds")

FOREIGN = (
    "ScaledObject", "PodMonitor", "PrometheusRule", "AlertmanagerConfig", "Cluster", "HTTPRoute",
)  # fmt: skip
TEST_VALUES = CHART.parents[1] / "tests" / "chart" / "values"
PROFILES = {
    "minimal": MINIMAL,
    "production": (f"--values={CHART / 'values-production.yaml'}", "--set=crds.install=false"),
    "everything": (f"--values={TEST_VALUES / 'everything.yaml'}", "--set=crds.install=false"),
}


@pytest.mark.parametrize("profile", PROFILES)
async def test_the_api_server_takes_every_object_and_every_pod(
    helm: Helm, kubectl: Kubectl, restricted: str, profile: str
) -> None:
    """By a server-side dry run, which validates as the real thing does. A Deployment's pods would be
    looked at only when they are made: so they are asked about as pods."""
    objects = await asyncio.to_thread(helm.render, *PROFILES[profile])
    for each in objects:
        if each["kind"] in FOREIGN:
            continue  # their kinds are not installed here
        for document in (each, *_pods(each, restricted)):
            said = await kubectl(
                "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
                stdin=json.dumps(_placed(document, restricted)),
            )  # fmt: skip
            assert "serverside-applied" in said


async def test_a_pod_that_is_not_restricted_would_have_been_refused(
    helm: Helm, kubectl: Kubectl, restricted: str
) -> None:
    """The test above can fail."""
    objects = await asyncio.to_thread(helm.render, *MINIMAL)
    deployments = [each for each in objects if each["kind"] == "Deployment"]
    (pod,) = _pods(deployments[0], restricted)
    del pod["spec"]["securityContext"]["runAsNonRoot"]
    with pytest.raises(KubectlRefused, match="runAsNonRoot"):
        await kubectl(
            "apply", "--server-side", "--dry-run=server", "-f", "-", stdin=json.dumps(pod)
        )


async def test_made_secrets_survive_an_upgrade_and_a_reinstall(
    helm: Helm, kubectl: Kubectl
) -> None:
    install = ("rei", str(CHART), *MINIMAL, "--no-hooks")
    await run(helm, "install", *install)
    first = await _secrets(kubectl)
    assert len(first["rei-database"]["password"]) >= 32
    assert first["rei-database"]["password"] in first["rei-database"]["REI_DATABASE_URL"]
    assert first["rei-redis"]["password"] in first["rei-redis"]["users.acl"]
    await run(helm, "upgrade", *install, "--set=worker.replicas=2")
    assert await _secrets(kubectl) == first

    await run(helm, "uninstall", "rei", "--no-hooks", "--wait")
    left = await _secrets(kubectl)
    assert left == {"rei-database": first["rei-database"]}, "the volume opens to no other password"
    await run(helm, "install", *install)
    assert (await _secrets(kubectl))["rei-database"] == first["rei-database"]


async def test_a_webhook_secret_is_made_once(helm: Helm, kubectl: Kubectl) -> None:
    install = ("rei", str(CHART), *MINIMAL, "--no-hooks", "--set=bot.mode=webhook",
               "--set=bot.publicUrl=https://bot.example.com")  # fmt: skip
    await run(helm, "install", *install)
    first = (await _secrets(kubectl))["rei-webhook"]["REI_WEBHOOK_SECRET"]
    await run(helm, "upgrade", *install)
    assert len(first) >= 32
    assert (await _secrets(kubectl))["rei-webhook"]["REI_WEBHOOK_SECRET"] == first


async def test_an_uninstall_leaves_what_it_promises_to_keep(helm: Helm, kubectl: Kubectl) -> None:
    await run(helm, "install", "rei", str(CHART), *MINIMAL, "--no-hooks")
    await run(helm, "uninstall", "rei", "--no-hooks", "--wait")
    kinds = (
        "all,secrets,configmaps,pvc,ingress,networkpolicies,roles,rolebindings,serviceaccounts,pdb"
    )
    left = await kubectl.json("get", kinds)
    names = {f"{each['kind']}/{each['metadata']['name']}" for each in left["items"]}
    assert names - {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"} == {
        "Secret/rei-database",
        "PersistentVolumeClaim/rei-backups",
    }


async def test_the_kinds_stay_when_the_release_that_brought_them_goes(
    helm: Helm, kubectl: Kubectl
) -> None:
    """They are there already: in a cluster of its own the release would just make them."""
    install = [word for word in MINIMAL if "crds.install" not in word]
    before = await _uids(kubectl)
    await run(helm, "install", "rei", str(CHART), *install, "--no-hooks", "--take-ownership")
    manifest = await run(helm, "get", "manifest", "rei")
    assert manifest.count("kind: CustomResourceDefinition") == len(before)
    await run(helm, "uninstall", "rei", "--no-hooks", "--wait")
    assert await _uids(kubectl) == before


async def test_a_cluster_without_keda_is_told_so(helm: Helm) -> None:
    with pytest.raises(HelmRefused, match="KEDA is not installed in this cluster"):
        await run(helm, "install", "rei", str(CHART), *MINIMAL, "--set=autoscaling.mode=keda",
                  "--set=autoscaling.prometheus.address=http://prometheus")  # fmt: skip


def _pods(document: dict[str, Any], namespace: str) -> list[dict[str, Any]]:
    if document["kind"] not in ("Deployment", "StatefulSet", "Job"):
        return []
    template = copy.deepcopy(document["spec"]["template"])
    # The account is not there in a dry run; nothing of the pod's security hangs on it.
    template["spec"].pop("serviceAccountName", None)
    template["spec"]["priorityClassName"] = ""  # nor is a class of priority
    template["spec"].setdefault("volumes", []).extend(
        {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": "c"}}
        for claim in document["spec"].get("volumeClaimTemplates", ())
    )
    metadata = {
        **template["metadata"],
        "name": document["metadata"]["name"],
        "namespace": namespace,
    }
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]


def _placed(document: dict[str, Any], namespace: str) -> dict[str, Any]:
    placed = copy.deepcopy(document)
    placed["metadata"]["namespace"] = namespace
    for subject in placed.get("subjects", ()):
        subject["namespace"] = namespace
    return placed


async def _uids(kubectl: Kubectl) -> dict[str, str]:
    names = [f"crd/{kind.names.plural}.{GROUP}" for kind in KINDS.values()]
    listed = await kubectl.json("get", *names)
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in listed["items"]}


async def _secrets(kubectl: Kubectl) -> dict[str, dict[str, str]]:
    """The namespace's Secrets but Helm's own, decoded."""
    listed = await kubectl.json("get", "secrets", "--field-selector=type=Opaque")
    return {
        each["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in each.get("data", {}).items()
        }
        for each in listed["items"]
    }
