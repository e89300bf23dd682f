"""The pump: fills free slots with claimed jobs, when rung, when a job ends, and by the clock.

It claims at most as many jobs as it has free slots, in one transaction, and starts each at once:
nothing waits inside a process while another one is idle.
"""

from __future__ import annotations

import asyncio

import structlog

from rei_core.db import Pool
from rei_core.jobs import claim_queries
from rei_core.jobs.model import Job
from rei_core.settings import WorkerSettings
from rei_worker.execution import JobRunner
from rei_worker.leases import Lease, LeaseKeeper
from rei_worker.metrics import Metrics
from rei_worker.storage import ACQUIRE_SECONDS_MAX

logger = structlog.get_logger(__name__)

HANDED_BACK = "worker_stopped"


class Pump:
    """The slots of this process."""

    def __init__(
        self,
        *,
        settings: WorkerSettings,
        pool: Pool,
        keeper: LeaseKeeper,
        runner: JobRunner,
        metrics: Metrics,
        worker: str,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._keeper = keeper
        self._runner = runner
        self._metrics = metrics
        self._worker = worker
        self._wake = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ticked_at = asyncio.get_running_loop().time()

    def nudge(self) -> None:
        """Look at the queue soon. Cheap, never blocks, any number of times."""
        self._wake.set()

    async def room(self) -> int:
        """How many slots are free, once there is one."""
        await self._free.wait()
        return self.free_slots

    @property
    def free_slots(self) -> int:
        return self._settings.concurrency - len(self._tasks)

    async def run(self, stop: asyncio.Event) -> None:
        """Fill slots until `stop`; running jobs go on after it."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                self.ticked_at = asyncio.get_running_loop().time()
                try:
                    await self.fill()
                except Exception as error:  # the database is away, or worse: the next look comes
                    logger.warning("pump.claim_failed", error=type(error).__name__)
                waking = asyncio.create_task(self._wake.wait())
                await asyncio.wait(
                    {waking, stopping},
                    timeout=self._settings.poll_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                waking.cancel()
        finally:
            stopping.cancel()

    async def fill(self) -> None:
        """Claim for the free slots and start the jobs, batch after batch."""
        while (wanted := min(self.free_slots, claim_queries.CLAIM_MAX)) > 0:
            claimed_at = asyncio.get_running_loop().time()
            jobs = await self._claim(wanted)
            for job in jobs:
                self._start(job, claimed_at)
            if len(jobs) < wanted:
                return

    async def _claim(self, wanted: int) -> list[Job]:
        async with (
            asyncio.timeout(ACQUIRE_SECONDS_MAX),
            self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection,
            connection.transaction(),
        ):
            return await claim_queries.claim(
                connection,
                worker=self._worker,
                lease_seconds=self._settings.lease_seconds,
                limit=wanted,
                processing_max=self._settings.provider_concurrency_max,
            )

    def _start(self, job: Job, claimed_at: float) -> None:
        lease = self._keeper.take(job, claimed_at=claimed_at)
        task = asyncio.create_task(self._runner.run(lease), name=f"job-{job.id}")
        lease.task = task
        self._tasks.add(task)
        self._count()
        task.add_done_callback(lambda done: self._ended(done, lease))

    def _ended(self, task: asyncio.Task[None], lease: Lease) -> None:
        self._tasks.discard(task)
        self._keeper.drop(lease)
        self._count()
        if task.cancelled():
            self._metrics.job_ended("lost" if lease.lost else "handed_back", 0)
        self.nudge()

    def _count(self) -> None:
        self._metrics.slots(used=len(self._tasks), total=self._settings.concurrency)
        if self.free_slots > 0:
            self._free.set()
        else:
            self._free.clear()

    async def drain(self, *, seconds: float) -> None:
        """Let running jobs end; what still runs after `seconds` is handed back to the queue.

        A job that has its picture and only stores it gets a little longer, and keeps its lease: were
        it handed back, the picture would be paid for and thrown away.
        """
        if self._tasks:
            logger.info("pump.draining", jobs=len(self._tasks), seconds=seconds)
            await asyncio.wait(self._tasks, timeout=seconds)
        stopped = [lease for lease in self._keeper.current() if not lease.ending]
        for lease in stopped:
            if lease.task is not None:
                lease.task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ACQUIRE_SECONDS_MAX)
        if stopped:
            await self._hand_back([lease.job for lease in stopped])

    async def _hand_back(self, jobs: list[Job]) -> None:
        """Queue jobs anew at once, with nothing held against them. Where that cannot be written
        their leases lapse instead."""
        try:
            async with (
                asyncio.timeout(ACQUIRE_SECONDS_MAX),
                self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection,
            ):
                for job in jobs:
                    given = await claim_queries.retry_later(
                        connection,
                        job.id,
                        attempt=job.attempt,
                        delay_seconds=0,
                        error_code=HANDED_BACK,
                        error_detail="the worker was stopped before the job ended",
                        counts=False,
                    )
                    logger.warning("job.handed_back", job_id=job.id, given=given)
        except Exception as error:
            logger.warning("pump.not_handed_back", jobs=len(jobs), error=type(error).__name__)
