"""Keeping what this process has claimed: one statement renews all leases.

It has a connection of its own: with a thousand jobs that wait for the pool to store their results,
a renewal in the same line would come too late, and all of them would be done twice.

A job that turns out to be somebody else's is cancelled here at once; whatever it would have
written is fenced off by its attempt anyway. With the database away, work goes on until the
lease would have lapsed; then the job is given up, because another worker may have it by now.
A job whose result is in hand (`ending`) is never cancelled: storing it is tried until it is
refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from rei_core.db import Pool
from rei_core.jobs import claim_queries
from rei_core.jobs.model import Job
from rei_worker.storage import ACQUIRE_SECONDS_MAX

logger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Lease:
    """One claimed job and the task that works on it. `lapses_at` is on the loop's clock."""

    job: Job
    lapses_at: float
    task: asyncio.Task[None] | None = None
    ending: bool = False
    lost: bool = field(default=False)


class LeaseKeeper:
    """All leases of this process."""

    def __init__(self, pool: Pool, *, lease_seconds: float) -> None:
        self._pool = pool
        self._lease_seconds = lease_seconds
        self._leases: dict[int, Lease] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, job: Job, *, claimed_at: float) -> Lease:
        """Begin to keep a job claimed at `claimed_at` (before the claim was sent)."""
        earlier = self._leases.get(job.id)
        if earlier is not None:
            # We were frozen, the job was queued again, and we claimed it before we noticed.
            self._give_up([earlier])
        lease = Lease(job, lapses_at=claimed_at + self._lease_seconds)
        self._leases[job.id] = lease
        return lease

    def drop(self, lease: Lease) -> None:
        """The job has ended here."""
        if self._leases.get(lease.job.id) is lease:
            del self._leases[lease.job.id]

    def current(self) -> list[Lease]:
        """What is being worked on."""
        return list(self._leases.values())

    async def run(self) -> None:
        """Renew three times per lease until cancelled, and more often after a failure."""
        pause = self._lease_seconds / 3
        while True:
            await asyncio.sleep(pause)
            renewed = await self.renew()
            pause = self._lease_seconds / (3 if renewed else 10)

    async def renew(self) -> bool:
        """Renew everything once, and give up what is lost; False if the database did not answer."""
        leases = self.current()
        if not leases:
            return True
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        # Two tries have to fit into a lease, and a connection that hangs takes this long twice:
        # for the statement and for being put away.
        seconds_max = min(ACQUIRE_SECONDS_MAX, self._lease_seconds / 6)
        try:
            async with (
                asyncio.timeout(seconds_max),
                self._pool.acquire(timeout=seconds_max) as connection,
            ):
                kept = await claim_queries.renew(
                    connection,
                    [(lease.job.id, lease.job.attempt) for lease in leases],
                    lease_seconds=self._lease_seconds,
                )
        except Exception as error:  # whatever it is: a keeper that died would lose every job
            logger.warning("leases.not_renewed", jobs=len(leases), error=type(error).__name__)
            self._give_up(lease for lease in leases if lease.lapses_at <= clock())
            return False
        for lease in leases:
            if kept.get(lease.job.id):
                lease.lapses_at = asked_at + self._lease_seconds
        self._give_up(lease for lease in leases if lease.job.id not in kept)
        return True

    def _give_up(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            if lease.ending or self._leases.get(lease.job.id) is not lease:
                continue
            lease.lost = True
            logger.warning("job.lease_lost", job_id=lease.job.id, attempt=lease.job.attempt)
            if lease.task is not None:
                lease.task.cancel()
