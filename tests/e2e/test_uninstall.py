"""What `helm uninstall` leaves: the database's volume and password, the backups, and the kinds."""

from __future__ import annotations

import asyncio
import time

from .release import Release

KINDS = (
    "all,secrets,configmaps,pvc,ingress,networkpolicies,roles,rolebindings,serviceaccounts,pdb,leases,"
    "ledgeraudits,backupschedules,paymentreconciliations,jobretentionpolicies,stuckjobpolicies"
)
NOT_OURS = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default", "Secret/rei-credentials"}
GONE_SECONDS_MAX = 120.0


async def test_an_uninstall_leaves_what_it_promises_to_keep_and_nothing_else(
    release: Release,
) -> None:
    await release("uninstall", "rei", "--wait")
    wanted = {
        "PersistentVolumeClaim/data-rei-postgres-0",
        "PersistentVolumeClaim/rei-backups",
        "Secret/rei-database",
    }
    end = time.monotonic() + GONE_SECONDS_MAX
    left: set[str] = set()
    while left != wanted and time.monotonic() < end:
        await asyncio.sleep(1)  # Kubernetes deletes what has lost its owner
        left = await _left(release) - NOT_OURS
    assert left == wanted
    kinds = await release.kubectl("get", "customresourcedefinitions", "--output=name")
    assert "backups.rei.bot" in kinds


async def _left(release: Release) -> set[str]:
    listed = await release.kubectl.json("get", KINDS)
    return {f"{each['kind']}/{each['metadata']['name']}" for each in listed["items"]}
