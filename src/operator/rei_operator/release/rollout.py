"""`rei rollout`: waits until all pods of Deployments are those of the newest version, and ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from rei_core.errors import ReiError
from rei_operator.cluster import Cluster, ObjectGone
from rei_operator.release.objects import rolling, stuck

LOOK_SECONDS: Final = 1.0


class NotRolledOut(ReiError):
    """The new pods have not become ready; the old ones that were kept still serve."""


async def rollout(
    cluster: Cluster,
    names: Sequence[str],
    *,
    namespace: str,
    seconds: float,
    tell: Callable[[str], None],
) -> None:
    """Return once all of them have rolled out; raises `NotRolledOut`, `ClusterError`."""
    deadline = time.monotonic() + seconds
    for name in names:
        said = ""
        while waits := await _waits_for(cluster, namespace, name):
            if waits != said:
                tell(f"{name}: {waits}")
                said = waits
            if time.monotonic() > deadline:
                raise NotRolledOut(
                    f"{name} has not rolled out in {seconds:.0f} s: {waits}. "
                    f"kubectl -n {namespace} describe deployment {name}"
                )
            await asyncio.sleep(LOOK_SECONDS)
        tell(f"{name}: rolled out")


async def _waits_for(cluster: Cluster, namespace: str, name: str) -> str:
    try:
        deployment = await cluster.get("Deployment", namespace, name)
    except ObjectGone:
        raise NotRolledOut(f"there is no Deployment {name} in {namespace}") from None
    waits = rolling(deployment)
    if waits and (why := stuck(deployment)):
        raise NotRolledOut(f"{name} makes no progress: {why} ({waits})")
    return waits
