"""`rei apply`: makes the cluster have a release's resources, and waits for those that end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from rei_core.errors import ReiError
from rei_core.maintenance.resources import KINDS, Resource
from rei_core.maintenance.resources.recurring import Recurring
from rei_operator.cluster import ClusterError, KubernetesCluster, ObjectGone
from rei_operator.release.objects import PRUNED, Owner, applied, ended, unwanted

Tell = Callable[[str], None]

KINDS_SECONDS_MAX: Final = 60.0
"""A kind that has just been installed is served a moment later."""
LOOK_SECONDS: Final = 1.0


class NotApplied(ReiError):
    """Something of it did not come about."""


async def apply(
    cluster: KubernetesCluster,
    resources: Sequence[Resource],
    *,
    namespace: str,
    owner_name: str,
    prune: bool,
    wait_seconds: float,
    tell: Tell,
) -> None:
    """Apply the resources; then, if told so, delete the owner's others, and wait for one-shots.

    Raises `ClusterError`, and `NotApplied` when a one-shot has failed or takes too long.
    """
    owner = await _owner(cluster, namespace, owner_name)
    for resource in resources:
        await _apply_once_known(cluster, resource, owner)
        tell(f"applied {resource.kind} {resource.metadata.name}")
    if prune:
        await _prune(cluster, resources, owner, tell)
    if wait_seconds:
        for resource in resources:
            await _await_end(cluster, resource, owner, seconds=wait_seconds, tell=tell)


async def _owner(cluster: KubernetesCluster, namespace: str, name: str) -> Owner:
    found = await cluster.get("ConfigMap", namespace, name)
    return Owner(namespace=namespace, name=name, uid=found["metadata"]["uid"])


async def _apply_once_known(cluster: KubernetesCluster, resource: Resource, owner: Owner) -> None:
    deadline = time.monotonic() + KINDS_SECONDS_MAX
    while True:
        try:
            await cluster.apply(applied(resource, owner))
        except ObjectGone:
            if time.monotonic() > deadline:
                raise NotApplied(
                    f"the cluster does not know the kind {resource.kind}: are the CRDs installed "
                    "(crds.install)?"
                ) from None
        else:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _prune(
    cluster: KubernetesCluster, resources: Sequence[Resource], owner: Owner, tell: Tell
) -> None:
    wanted = {(resource.kind, resource.metadata.name) for resource in resources}
    for kind in PRUNED:
        there = await cluster.every(kind, owner.namespace)
        for _, name in unwanted(there, wanted, owner):
            await cluster.delete(kind, owner.namespace, name)
            tell(f"deleted {kind} {name}: it is not wanted any more")


async def _await_end(
    cluster: KubernetesCluster, resource: Resource, owner: Owner, *, seconds: float, tell: Tell
) -> None:
    if issubclass(KINDS[resource.kind], Recurring):
        return
    what = f"{resource.kind} {resource.metadata.name}"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            end = ended(await cluster.get(resource.kind, owner.namespace, resource.metadata.name))
        except ObjectGone:
            raise NotApplied(f"{what} was deleted while it was waited for") from None
        except ClusterError as error:  # the API server comes back, and the backup goes on meanwhile
            tell(str(error))
            end = None
        if end is not None and not end.well:
            raise NotApplied(f"{what} has failed: {end.said}")
        if end is not None:
            tell(f"{what} has succeeded: {end.said}")
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise NotApplied(
        f"{what} has not ended after {seconds:.0f} s. Does the operator run? "
        f"kubectl -n {owner.namespace} describe {resource.kind.lower()} {resource.metadata.name}"
    )
