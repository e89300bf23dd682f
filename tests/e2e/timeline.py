"""What became of jobs and pods while something scaled: the jobs as PostgreSQL has them, the pods second
by second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rei_sandbox.cluster.errors import KubectlRefused
from rei_sandbox.cluster.kubeconfig import Kubectl

WORKERS = "app.kubernetes.io/component=worker"
JOBS = """
SELECT coalesce(json_agg(json_build_object(
    'id', id, 'status', status, 'attempt', attempt, 'worker', worker,
    'created', extract(epoch FROM created_at),
    'started', extract(epoch FROM started_at),
    'finished', extract(epoch FROM finished_at)
) ORDER BY id), '[]') FROM jobs
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `jobs`; times are seconds since 1970."""

    id: int
    status: str
    attempt: int
    worker: str | None
    created: float
    started: float | None
    finished: float | None

    def waited(self, at: float) -> bool:
        return self.created <= at and (self.started is None or at < self.started)

    def ran(self, at: float) -> bool:
        if self.started is None or at < self.started:
            return False
        return self.finished is None or at < self.finished


@dataclass(frozen=True, slots=True)
class Moment:
    """The workers' pods at one time."""

    at: float
    ready: int
    leaving: frozenset[str]
    """Names of those that have been told to go."""


@dataclass(slots=True)
class Timeline:
    """The moments of a stretch of time, the oldest first."""

    moments: list[Moment] = field(default_factory=list)

    @property
    def most(self) -> int:
        return max(moment.ready for moment in self.moments)

    def left(self) -> dict[str, float]:
        """When each pod was first seen to have been told to go."""
        found: dict[str, float] = {}
        for moment in self.moments:
            for name in moment.leaving:
                found.setdefault(name, moment.at)
        return found

    def busy_when_told(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that ran in a pod when it was told to go."""
        left = self.left()
        return [
            job
            for job in jobs
            for name, at in left.items()
            if job.ran(at) and (job.worker or "").startswith(f"{name}-")
        ]

    def drawn(self, jobs: Sequence[Job]) -> list[dict[str, float]]:
        """For the picture: numbers at each moment, seconds from the first order on."""
        begin = min(job.created for job in jobs)
        return [
            {
                "at": moment.at - begin,
                "queued": sum(job.waited(moment.at) for job in jobs),
                "running": sum(job.ran(moment.at) for job in jobs),
                "ready": moment.ready,
                "leaving": len(moment.leaving),
            }
            for moment in self.moments
        ]


@contextlib.asynccontextmanager
async def watched(kubectl: Kubectl) -> AsyncIterator[Timeline]:
    """A timeline that grows by a moment a second while the block lasts."""
    timeline = Timeline()

    async def watch() -> None:
        while True:
            with contextlib.suppress(KubectlRefused):  # a second that nobody saw
                timeline.moments.append(await _moment(kubectl))
            await asyncio.sleep(1)

    task = asyncio.create_task(watch())
    try:
        yield timeline
        if task.done():
            task.result()  # it only ends by an error
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def jobs(kubectl: Kubectl, *, after: int = 0) -> list[Job]:
    """All jobs with a higher number."""
    rows: list[dict[str, Any]] = json.loads(await sql(kubectl, f"{JOBS} WHERE id > {after}"))
    return [Job(**row) for row in rows]


async def sql(kubectl: Kubectl, query: str) -> str:
    """What PostgreSQL answers, in its own pod."""
    psql = ("psql", "--username=rei", "--dbname=rei", "--no-align", "--tuples-only", "--no-psqlrc")
    words = ("exec", "statefulset/rei-postgres", "--", *psql, f"--command={query}")
    return (await kubectl(*words)).strip()


async def _moment(kubectl: Kubectl) -> Moment:
    pods = (await kubectl.json("get", "pods", f"--selector={WORKERS}"))["items"]
    leaving = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]}
    ready = sum(
        pod["metadata"]["name"] not in leaving
        and any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in pod["status"].get("conditions", [])
        )
        for pod in pods
    )
    return Moment(time.time(), ready, frozenset(leaving))
