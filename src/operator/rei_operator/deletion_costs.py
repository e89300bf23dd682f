"""Which worker's pod may go first when there are to be fewer: the one with the least to do.

A ReplicaSet that shrinks takes the pods of the lowest `controller.kubernetes.io/pod-deletion-cost`
first. The cost of a pod is the number of its running jobs, as PostgreSQL knows them, so that workers
need no way to the API server at all. It is a matter of politeness, not of safety: a pod that is
taken with jobs drains, and what has no time left is handed back.

Written by way of pods/status, where metadata can be changed and the spec cannot: whoever has this
right runs no image of his own by it.

The API server has little to do with it, however many pods there are: at most `PATCHES_MAX` writes a
look, none for a small change, and pods are listed when an unknown one turns up or every
`LIST_SECONDS`, by their metadata alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Set
from typing import Any, Final, NoReturn

import structlog

from rei_core.db import Pool
from rei_core.jobs import read_queries
from rei_core.jobs.workers import host_of
from rei_operator.cluster import Cluster, ClusterError, ObjectGone

Json = dict[str, Any]

log = structlog.get_logger(__name__)

COST: Final = "controller.kubernetes.io/pod-deletion-cost"
QUERY_SECONDS_MAX: Final = 10.0
LIST_SECONDS: Final = 60.0
PATCHES_MAX: Final = 20
FAILED_PAUSE_SECONDS: Final = 60.0
"""After a look that failed: where the rights are not granted they will not be so soon."""


def changes(running: Mapping[str, int], written: Mapping[str, int]) -> dict[str, int]:
    """The costs to write now, by pod: what is most wrong first, and not what is nearly right.

    `written` are the pods there are, with their costs.
    """
    wrong = [
        (pod, running.get(pod, 0), cost)
        for pod, cost in written.items()
        if _matters(running.get(pod, 0), cost)
    ]
    wrong.sort(key=lambda one: (one[1] != 0 and one[2] != 0, -abs(one[1] - one[2]), one[0]))
    return {pod: jobs for pod, jobs, _ in wrong[:PATCHES_MAX]}


def _matters(jobs: int, cost: int) -> bool:
    """Idle and busy are never mixed up; among the busy a quarter more or less is the same."""
    return (jobs == 0) != (cost == 0) or 4 * abs(jobs - cost) > max(jobs, cost)


def cost_of(metadata: Json) -> int:
    """The cost that a pod has; what is no number counts as 0, as it does for Kubernetes."""
    try:
        return int((metadata.get("annotations") or {}).get(COST, 0))
    except ValueError:
        return 0


class DeletionCosts:
    """Keeps the costs of one namespace's workers. What it remembers of them is only to save calls."""

    def __init__(self, *, pool: Pool, cluster: Cluster, namespace: str, selector: str) -> None:
        self._pool = pool
        self._cluster = cluster
        self._namespace = namespace
        self._selector = selector
        self._written: dict[str, int] = {}
        self._strangers: Set[str] = frozenset()
        """Workers with jobs that are no pods of ours, or whose pods are gone: not worth a list each."""
        self._listed_at = float("-inf")

    async def run(self, *, period_seconds: float) -> NoReturn:
        """Look until cancelled, whatever happens."""
        while True:
            pause_seconds = period_seconds
            try:
                await self.look()
            except Exception as error:  # whatever it is, it must not disturb anything
                said = str(error) if isinstance(error, ClusterError) else type(error).__name__
                log.warning("deletion_costs.not_written", error=said)
                pause_seconds = max(period_seconds, FAILED_PAUSE_SECONDS)
            await asyncio.sleep(pause_seconds)

    async def look(self) -> None:
        """Bring the costs up to date, at most `PATCHES_MAX` of them."""
        running = await self._running()
        now = asyncio.get_running_loop().time()
        unknown = running.keys() - self._written.keys()
        if now - self._listed_at > LIST_SECONDS or unknown - self._strangers:
            self._written = await self._list()
            self._listed_at = now
            self._strangers = running.keys() - self._written.keys()
        for pod, cost in changes(running, self._written).items():
            await self._write(pod, cost)

    async def _running(self) -> dict[str, int]:
        async with asyncio.timeout(QUERY_SECONDS_MAX), self._pool.acquire() as connection:
            by_worker = await read_queries.running(connection)
        by_pod: Counter[str] = Counter()
        for worker, jobs in by_worker.items():
            by_pod[host_of(worker)] += jobs
        return dict(by_pod)

    async def _list(self) -> dict[str, int]:
        pods = await self._cluster.labelled("Pod", self._namespace, self._selector)
        return {pod["metadata"]["name"]: cost_of(pod["metadata"]) for pod in pods}

    async def _write(self, pod: str, cost: int) -> None:
        # Without the annotation the cost is 0: what is idle bears no mark.
        patch = {"metadata": {"annotations": {COST: str(cost) if cost else None}}}
        try:
            await self._cluster.patch("Pod", self._namespace, pod, patch, subresource="status")
        except ObjectGone:
            del self._written[pod]
        else:
            self._written[pod] = cost
