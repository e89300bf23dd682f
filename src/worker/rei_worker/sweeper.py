"""What heals by itself: lapsed leases, jobs that waited too long, old rows, open circuits.

Every worker sweeps, a little out of step with the others. There is no lock between them: each
statement is safe beside a copy of itself and nearly free when there is nothing to do, and a worker
that froze with such a lock in its hand would keep everybody else from taking over its own jobs.
Batches are bounded, and a full one is followed by the next at once. A job that cannot be ended is
logged (`job.end_refused`) and counted (`refused`), and keeps nobody else from their money.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from rei_core.catalog import Catalog
from rei_core.db import Connection, Pool
from rei_core.drafts import queries as drafts
from rei_core.errors import ImageProviderError
from rei_core.images import circuits
from rei_core.images.circuits import OpenCircuit
from rei_core.images.port import ImageProvider
from rei_core.jobs import claim_queries, read_queries, sweeping
from rei_core.jobs.model import EndedJob
from rei_core.jobs.sweeping import Refused
from rei_core.settings import WorkerSettings
from rei_core.updates import queries as updates
from rei_worker.metrics import Metrics
from rei_worker.progress import Progress, Stage
from rei_worker.storage import ACQUIRE_SECONDS_MAX

logger = structlog.get_logger(__name__)

BATCH = 200
BATCHES_MAX = 10
SWEEP_SECONDS_MAX = 2.0
FORGET_EVERY_SECONDS = 60.0
# Not longer because a JobRetentionPolicy says so: that is the operator's, which may not be there, and
# nothing needs these rows for longer (Telegram repeats an update for a day; the buttons of an order
# that old say that it is over). The policy's descriptions name these two times.
UPDATES_KEPT_SECONDS = 48 * 3600.0
DRAFTS_KEPT_SECONDS = 7 * 24 * 3600.0
PROBE_SECONDS_MAX = 20.0


class Sweeper:
    """Sweeps every second or two."""

    def __init__(
        self,
        *,
        settings: WorkerSettings,
        pool: Pool,
        provider: ImageProvider,
        catalog: Catalog,
        progress: Progress,
        metrics: Metrics,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._provider = provider
        self._catalog = catalog
        self._progress = progress
        self._metrics = metrics
        self._on_change = on_change
        self._forgotten_at = float("-inf")
        self._refused = Refused()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
                await self.probe()
            except Exception as error:
                logger.warning("sweep.failed", error=type(error).__name__)
            out_of_step = 0.5 + random.random()  # noqa: S311 - spreads work, keeps no secret
            await asyncio.sleep(min(SWEEP_SECONDS_MAX, self._settings.poll_seconds) * out_of_step)

    async def sweep(self) -> None:
        """Mend everything once."""
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            lapsed, ended = await self._mend(connection)
            if lapsed or ended:
                self._on_change()
            await self._show(connection, ended)
            await self._forget(connection)

    async def _mend(self, connection: Connection) -> tuple[list[int], list[EndedJob]]:
        lapsed: list[int] = []
        ended: list[EndedJob] = []
        for _ in range(BATCHES_MAX):
            back = await claim_queries.lapse(connection, limit=BATCH)
            now = asyncio.get_running_loop().time()
            hopeless = await sweeping.fail_lapsed(
                connection, limit=BATCH, refused=self._refused, now=now
            )
            overdue = await sweeping.fail_overdue(
                connection, limit=BATCH, refused=self._refused, now=now
            )
            lapsed += back
            ended += [*hopeless.ended, *overdue.ended]
            self._metrics.swept("lapsed", len(back))
            self._metrics.swept("failed_lapsed", len(hopeless.ended))
            self._metrics.swept("failed_overdue", len(overdue.ended))
            self._metrics.swept("refused", len(hopeless.refused) + len(overdue.refused))
            self._metrics.order_ended("failed", len(hopeless.ended) + len(overdue.ended))
            if not (len(back) == BATCH or hopeless.full or overdue.full):
                break
        if lapsed:
            logger.warning("sweep.leases_lapsed", job_ids=lapsed[:20], jobs=len(lapsed))
        for job in ended:
            logger.warning("sweep.job_failed", job_id=job.id, user_id=job.user_id,
                           code=job.error_code, transfer=f"release/job/{job.id}")  # fmt: skip
        return lapsed, ended

    async def _show(self, connection: Connection, ended: list[EndedJob]) -> None:
        for one in ended[:BATCH]:
            job = await read_queries.find(connection, one.id)
            if job is not None:
                self._progress.report(job, Stage.FAILED)

    async def _forget(self, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._forgotten_at < FORGET_EVERY_SECONDS:
            return
        self._forgotten_at = now
        seen = await updates.forget(
            connection, older_than_seconds=UPDATES_KEPT_SECONDS, limit=BATCH * BATCHES_MAX
        )
        old = await drafts.forget(
            connection, older_than_seconds=DRAFTS_KEPT_SECONDS, limit=BATCH * BATCHES_MAX
        )
        self._metrics.swept("updates", seen)
        self._metrics.swept("drafts", old)

    async def probe(self) -> None:
        """Ask whether what was stopped works again. The calls are made with no connection held."""
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            due = await circuits.claim_probes(
                connection, probe_seconds=self._settings.circuit_probe_seconds
            )
        for circuit in due:
            if not await self._works_again(circuit):
                continue
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
                await circuits.close(connection, circuit.name)
            logger.warning("circuit.closed", circuit=circuit.name)
            self._on_change()

    async def _works_again(self, circuit: OpenCircuit) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS_MAX):
                await self._provider.probe(circuit.model or self._catalog.default.id)
        except (ImageProviderError, TimeoutError) as error:
            if circuit.model is None and getattr(error, "code", None) == "model_gone":
                return True  # who knows that a model is gone is there, and knows our key
            logger.warning("circuit.still_open", circuit=circuit.name, error=str(error)[:200])
            return False
        return True
