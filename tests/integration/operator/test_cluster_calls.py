"""kubernetes.aio behind `Cluster`: what each answer of an API server becomes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from rei_core.errors import ConfigurationError
from rei_operator import cluster as calls
from rei_operator.cluster import (
    ClusterDenied,
    ClusterError,
    KubernetesCluster,
    ObjectChanged,
    ObjectGone,
    connect,
)

AUDIT = {"periodSeconds": 600}


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncIterator[KubernetesCluster]:
    with patch.dict(os.environ, {"KUBECONFIG": str(kubeconfig)}):
        opened = await connect()
    yield opened
    await opened.aclose()


async def test_what_is_not_there_is_gone_and_deleting_it_is_no_error(
    api: KubernetesCluster,
) -> None:
    with pytest.raises(ObjectGone):
        await api.get("LedgerAudit", "rei", "none")
    await api.delete("LedgerAudit", "rei", "none")


async def test_a_name_is_taken_once(api: KubernetesCluster) -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "rei"}}
    made = await api.create(job)
    assert made["metadata"]["uid"]
    with pytest.raises(ObjectChanged):
        await api.create(job)


async def test_a_write_by_an_old_state_is_refused(api: KubernetesCluster, cluster: Any) -> None:
    key = cluster.apply("LedgerAudit", "one", AUDIT)
    old = cluster.objects[key]["metadata"]["resourceVersion"]
    cluster.apply("LedgerAudit", "one", {"periodSeconds": 700})
    change = {"metadata": {"resourceVersion": old}, "status": {"violationsCount": 1}}
    with pytest.raises(ObjectChanged):
        await api.patch(key.kind, key.namespace, key.name, change, subresource="status")
    del change["metadata"]
    written = await api.patch(key.kind, key.namespace, key.name, change, subresource="status")
    assert written["status"] == {"violationsCount": 1}


async def test_a_listing_is_read_to_its_end(
    api: KubernetesCluster, cluster: Any, api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PAGE", 3)
    for number in range(8):
        cluster.apply("LedgerAudit", f"a-{number}", AUDIT)
    listed = await api.every("LedgerAudit", "rei")
    assert [raw["metadata"]["name"] for raw in listed] == [f"a-{number}" for number in range(8)]
    assert {raw["kind"] for raw in listed} == {"LedgerAudit"}
    assert len([one for one in api_server.requests if one[0] == "GET"]) == 3


async def test_a_page_that_fails_makes_the_whole_listing_fail(
    api: KubernetesCluster, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PAGE", 3)
    for number in range(8):
        cluster.apply("LedgerAudit", f"a-{number}", AUDIT)
    whole, asked = cluster.every, 0

    async def second_fails(kind: str, namespace: str | None) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise ClusterDenied("GET", "not any more", http_status=403)
        return await whole(kind, namespace)

    cluster.every = second_fails
    api_error = None
    try:
        await api.every("LedgerAudit", "rei")
    except ClusterError as error:
        api_error = error
    assert api_error is not None


async def test_a_server_that_is_away_is_named_without_the_token(
    api: KubernetesCluster, api_server: Any
) -> None:
    await api_server.close()
    with pytest.raises(ClusterError) as error:
        await api.get("LedgerAudit", "rei", "one")
    assert "token-of-the-test" not in repr(error.value)
    assert error.value.__cause__ is None


async def test_no_kubeconfig_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    with (
        patch.dict(os.environ, {"KUBECONFIG": str(tmp_path / "none")}),
        pytest.raises(ConfigurationError, match="KUBECONFIG"),
    ):
        await connect()
