"""What the API server itself makes of our kinds, and that it is one that tests can rely on."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client

from rei_core.maintenance.resources import GROUP, KINDS
from rei_sandbox.cluster.errors import KubectlRefused
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "k8s" / "samples").glob("*.yaml"))
REFUSED = sorted((ROOT / "tests" / "manifests" / "refused").glob("*.yaml"))
WAIT_SECONDS_MAX = 60.0
# Valid by itself, and something else than the sample.
CHANGES: dict[str, dict[str, Any]] = {
    "Backup": {"storage": {"volume": {"claimName": "elsewhere"}}},
    "BalanceAdjustment": {"amountKopecks": 20_000},
    "Restore": {"targetDatabase": "rei_tuesday"},
}
ACCOUNT = "rei-operator"
MAY = (("create", "jobs.batch"), ("delete", "backups.rei.bot"), ("create", "events"))
MAY_NOT = (
    ("get", "secrets"),
    ("create", "balanceadjustments.rei.bot"),
    ("update", "userbans.rei.bot"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("get", "customresourcedefinitions.apiextensions.k8s.io"),
)


def named(path: Path) -> str:
    return path.stem


async def until(true: Callable[[], Awaitable[bool]], *, what: str) -> None:
    """Wait for it; fails once it has taken too long."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not await true():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        await asyncio.sleep(0.1)


async def is_there(kubectl: Kubectl, kind: str, name: str) -> bool:
    return bool(await kubectl("get", kind, name, "--ignore-not-found", "--output=name"))


async def refusal(kubectl: Kubectl, *words: str, stdin: str | None = None) -> str:
    """What the API server says to what it refuses."""
    with pytest.raises(KubectlRefused) as refused:
        await kubectl(*words, stdin=stdin)
    return refused.value.said


async def test_the_api_server_is_ready_and_stands_on_etcd(kubectl: Kubectl) -> None:
    checks = await kubectl("get", "--raw", "/readyz?verbose")
    assert "[+]etcd ok" in checks
    assert "[+]poststarthook/rbac/bootstrap-roles ok" in checks
    version = await kubectl.json("version")
    assert re.match(r"v1\.\d+\.\d+", version["serverVersion"]["gitVersion"])


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("path", SAMPLES, ids=named)
async def test_a_sample_is_taken_as_it_is_and_deleted(kubectl: Kubectl, path: Path) -> None:
    sample = yaml.safe_load(path.read_text(encoding="utf-8"))
    kind, name = sample["kind"], sample["metadata"]["name"]

    # Strict: a field that the CRD does not know would be dropped without a word.
    await kubectl("apply", "--server-side", "--validate=strict", "-f", str(path))
    stored = await kubectl.json("get", kind, name)
    assert_holds(stored["spec"], sample["spec"])
    assert stored["metadata"]["generation"] == 1
    listed = await kubectl("get", "rei", "--no-headers", "--output=name")
    assert listed.strip() == f"{KINDS[kind].names.singular}.{GROUP}/{name}"

    await kubectl("delete", "-f", str(path), "--timeout=60s")
    assert not await is_there(kubectl, kind, name)


def assert_holds(stored: Any, given: Any) -> None:
    """All that was given is stored; defaults may have come to it."""
    if isinstance(given, dict):
        for key, value in given.items():
            assert_holds(stored[key], value)
    else:
        assert stored == given


def test_there_is_a_sample_of_each_kind() -> None:
    kinds = [yaml.safe_load(path.read_text(encoding="utf-8"))["kind"] for path in SAMPLES]
    assert sorted(kinds) == sorted(KINDS)
    assert REFUSED, "the manifests that are refused have moved"


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("path", REFUSED, ids=named)
async def test_a_wrong_manifest_is_refused_in_our_words(kubectl: Kubectl, path: Path) -> None:
    reason = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# refused: ")
    said = await refusal(kubectl, "apply", "--server-side", "-f", str(path))
    assert reason in said


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("kind", CHANGES)
async def test_what_is_carried_out_once_cannot_be_changed(kubectl: Kubectl, kind: str) -> None:
    path = ROOT / "k8s" / "samples" / f"{kind.lower()}.yaml"
    name = yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["name"]
    await kubectl("apply", "--server-side", "-f", str(path))

    change = json.dumps({"spec": CHANGES[kind]})
    said = await refusal(kubectl, "patch", kind, name, "--type=merge", "--patch", change)

    assert f"the spec of a {kind} cannot change: make another {kind}" in said
    assert (await kubectl.json("get", kind, name))["metadata"]["generation"] == 1


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("kind", KINDS)
async def test_explain_teaches_each_kind(kubectl: Kubectl, kind: str) -> None:
    names = KINDS[kind].names
    said = await kubectl("explain", f"{names.singular}.spec", f"--api-version={GROUP}/v1alpha1")
    assert f"KIND:       {kind}" in said
    assert "<empty>" not in said
    assert "<no description>" not in said


async def test_a_service_account_may_do_nothing_until_it_is_granted(
    cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    await kubectl("create", "serviceaccount", ACCOUNT)
    own = await cluster.as_service_account(ACCOUNT, namespace=namespace)
    as_account = cluster.kubectl(namespace=namespace, kubeconfig=own)

    who = await as_account.json("auth", "whoami")
    assert who["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:{ACCOUNT}"
    assert "forbidden" in await refusal(as_account, "get", "configmaps")

    await kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps")
    binding = ("--role=reader", f"--serviceaccount={namespace}:{ACCOUNT}")
    await kubectl("create", "rolebinding", "reader", *binding)

    # The authoriser learns of it by a watch.
    await until(lambda: may(as_account, "list", "configmaps"), what="the grant counts")
    await as_account("get", "configmaps")
    assert "forbidden" in await refusal(as_account, "create", "configmap", "mine")
    assert "forbidden" in await refusal(as_account, "get", "secrets")
    assert "forbidden" in await refusal(as_account, "get", "configmaps", "--namespace=default")


async def may(kubectl: Kubectl, *words: str) -> bool:
    try:
        return (await kubectl("auth", "can-i", *words)).strip() == "yes"
    except KubectlRefused as refused:
        if refused.exit_status == 1:  # "no" is an exit status too
            return False
        raise


@pytest.mark.usefixtures("crds")
async def test_the_operator_has_the_rights_of_its_role_in_its_namespace_only(
    cluster: Cluster, operator_kubeconfig: Path, namespace: str
) -> None:
    operator = cluster.kubectl(namespace=namespace, kubeconfig=operator_kubeconfig)
    await until(lambda: may(operator, "list", "backups.rei.bot"), what="the role counts")
    for verb, resource in MAY:
        assert await may(operator, verb, resource), f"{verb} {resource}"
        assert not await may(operator, verb, resource, "--namespace=default")
    for verb, resource in MAY_NOT:
        assert not await may(operator, verb, resource), f"{verb} {resource}"


async def test_a_token_that_nobody_issued_lets_nobody_in(
    cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    await kubectl("create", "serviceaccount", ACCOUNT)
    own = await cluster.as_service_account(ACCOUNT, namespace=namespace)
    document = json.loads(own.read_text(encoding="utf-8"))
    head, body, _ = document["users"][0]["user"]["token"].split(".")
    document["users"][0]["user"]["token"] = f"{head}.{body}.{'A' * 86}"
    forged = own.with_name(f"{own.name}.forged")
    forged.write_text(json.dumps(document), encoding="utf-8")
    said = await refusal(cluster.kubectl(kubeconfig=forged), "get", "configmaps")
    assert "logged in" in said or "Unauthorized" in said


async def test_what_is_owned_goes_with_its_owner(
    api: client.ApiClient, kubectl: Kubectl, namespace: str
) -> None:
    core = client.CoreV1Api(api)
    owner = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="owner"))
    made = await core.create_namespaced_config_map(namespace, owner)
    assert made.metadata is not None
    assert made.metadata.uid is not None
    reference = client.V1OwnerReference(
        api_version="v1", kind="ConfigMap", name="owner", uid=made.metadata.uid
    )
    metadata = client.V1ObjectMeta(name="child", owner_references=[reference])
    await core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=metadata))
    await kubectl("create", "configmap", "stranger")

    await kubectl("delete", "configmap", "owner")

    async def gone() -> bool:
        return not await is_there(kubectl, "configmap", "child")

    await until(gone, what="the child goes with its owner")
    assert await is_there(kubectl, "configmap", "stranger")


@pytest.mark.usefixtures("crds")
async def test_a_namespace_with_our_resources_in_it_ends(kubectl: Kubectl, namespace: str) -> None:
    await kubectl("apply", "--server-side", *(f"--filename={path}" for path in SAMPLES))
    account = "serviceaccount/default"
    await kubectl("wait", "--for=create", account, "--timeout=60s")
    await kubectl("delete", "namespace", namespace, "--timeout=90s")
    assert not await is_there(kubectl, "namespace", namespace)


async def test_a_kind_of_a_test_is_made_used_and_forgotten(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(TOY_CRD))
    await kubectl("wait", "--for=condition=Established", f"crd/{TOY}", "--timeout=60s")
    toy = {
        "apiVersion": "api-server.test.rei.bot/v1", "kind": "Toy",
        "metadata": {"name": "one"}, "spec": {"size": 3},
    }  # fmt: skip

    async def taken() -> bool:
        try:
            await kubectl("apply", "-f", "-", stdin=json.dumps(toy))
        except KubectlRefused as refused:
            if "no matches for kind" not in refused.said:  # established, and not in discovery yet
                raise
            return False
        return True

    await until(taken, what="discovery knows the kind")
    toy["spec"] = {"size": 2}
    said = await refusal(kubectl, "apply", "-f", "-", stdin=json.dumps(toy))
    assert "a toy never shrinks" in said

    await kubectl("delete", "crd", TOY, "--timeout=60s")

    async def forgotten() -> bool:
        said = await refusal(kubectl, "get", TOY)
        return "the server doesn't have a resource type" in said

    await until(forgotten, what="discovery has forgotten the kind")


TOY = "toys.api-server.test.rei.bot"
TOY_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": TOY},
    "spec": {
        "group": "api-server.test.rei.bot",
        "scope": "Namespaced",
        "names": {"kind": "Toy", "plural": "toys"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer"}},
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "self.size >= oldSelf.size",
                                        "message": "a toy never shrinks",
                                    }
                                ],
                            }
                        },
                    }
                },
            }
        ],
    },
}
