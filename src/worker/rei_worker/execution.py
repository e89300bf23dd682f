"""One attempt at one job: inputs → permit → picture → stored and captured; or its failure.

What a failure means is decided by its class (`verdict`, pure). The end is one fenced statement
in PostgreSQL, repeated until it gets an answer; nobody's progress message can delay it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from aiogram import Bot

from rei_core.db import OUTAGES, Pool
from rei_core.errors import FailureClass, ImageProviderError, ReiError
from rei_core.images import circuits
from rei_core.images.port import GeneratedImage, ImageProvider, ImageRequest
from rei_core.jobs import claim_queries, end_queries, read_queries
from rei_core.jobs.model import Job, JobStatus, Output
from rei_core.settings import WorkerSettings
from rei_worker import inputs
from rei_worker.leases import Lease
from rei_worker.metrics import Metrics
from rei_worker.progress import Progress, Stage
from rei_worker.storage import persist

logger = structlog.get_logger(__name__)

RETRY_DELAY_SECONDS_MAX = 120.0
PROVIDER_DELAY_SECONDS_MAX = 900.0
"""The provider's own wish is honoured up to here."""
PERMIT_SECONDS_MAX = 120.0
"""How long a job waits for the shared rate before it is given back."""
GRACE_SECONDS = 5.0
"""The provider client has a time limit of its own; ours is there in case it does not hold."""
STORE_SECONDS_MAX = 120.0


class NoPermit(ReiError):
    """Our own limit of calls left no room in time. Nobody's failure: not the job's, which is queued
    again with nothing held against it, and not the provider's, whose circuit must not hear of it."""


EXPECTED = (inputs.InputLost, inputs.InputUnusable, inputs.InputUnreachable, NoPermit)
"""Failures that are nobody's bug."""


class SharedRate(Protocol):
    """The provider's calls per minute, shared by all workers."""

    async def acquire(self, deadline_seconds: float) -> bool:
        """Wait for a permit; False if there is none within the deadline."""
        ...


@dataclass(frozen=True, slots=True)
class Retry:
    """Try the job again after `delay_seconds`."""

    delay_seconds: float
    code: str
    detail: str
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """End the job and give the money back."""

    code: str
    detail: str


def retry_delay_seconds(attempt: int, *, base_seconds: float, jitter: float) -> float:
    """Exponential back-off after the `attempt`-th attempt; `jitter` in [0, 1) spreads it over ±25 %."""
    delay = base_seconds * 2.0 ** min(attempt - 1, 30)
    return min(delay, RETRY_DELAY_SECONDS_MAX) * (0.75 + jitter / 2)


def verdict(job: Job, error: Exception, *, base_seconds: float, jitter: float) -> Retry | Refusal:
    """What becomes of a job whose attempt failed."""
    code, detail, wish = "internal", type(error).__name__, None
    match error:
        case ImageProviderError():
            if error.failure is not FailureClass.RETRY_LATER:
                return Refusal(error.code, error.detail)
            code, detail, wish = error.code, error.detail, error.retry_after_seconds
        case inputs.InputLost():
            return Refusal("input_lost", error.problem)
        case inputs.InputUnusable():
            return Refusal("input_unusable", error.problem)
        case inputs.InputUnreachable():
            code, detail, wish = "telegram_unavailable", error.problem, error.retry_after_seconds
        case NoPermit():
            delay = retry_delay_seconds(1, base_seconds=base_seconds, jitter=jitter)
            return Retry(delay, "rate_limited", str(error), counts=False)
    if job.attempt >= job.attempts_max:
        ours = isinstance(error, ImageProviderError)
        return Refusal("provider_unavailable" if ours else code, f"{code}: {detail}")
    delay = retry_delay_seconds(job.attempt, base_seconds=base_seconds, jitter=jitter)
    if wish is not None:
        delay = min(max(wish, delay), PROVIDER_DELAY_SECONDS_MAX)
    return Retry(delay, code, detail)


def is_customers(error: Exception) -> bool:
    """Whether a job failed by what the customer sent, so that nobody here has anything to mend."""
    if isinstance(error, ImageProviderError):
        return error.failure is FailureClass.USER_FAULT
    return isinstance(error, inputs.InputLost | inputs.InputUnusable)


class JobRunner:
    """Runs attempts. `on_end` is called after each write that may let others go on."""

    def __init__(
        self,
        *,
        settings: WorkerSettings,
        pool: Pool,
        provider: ImageProvider,
        rate: SharedRate,
        bot: Bot,
        progress: Progress,
        metrics: Metrics,
        on_end: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._provider = provider
        self._rate = rate
        self._bot = bot
        self._progress = progress
        self._metrics = metrics
        self._on_end = on_end
        self._room = inputs.Room(inputs.HELD_BYTES_MAX)

    async def run(self, lease: Lease) -> None:
        """Work on a claimed job to the end of this attempt; raises only CancelledError."""
        job = lease.job
        with structlog.contextvars.bound_contextvars(
            job_id=job.id, user_id=job.user_id, attempt=job.attempt
        ):
            started = time.monotonic()
            logger.info("job.started", model=job.model)
            try:
                self._progress.report(job, Stage.DRAWING)
                end = await self._attempt(lease)
            except OUTAGES as error:
                # The database did not come back in time: the lease lapses and the job is retried.
                logger.warning("job.end_not_written", error=type(error).__name__)
                end = "not_written"
            except Exception:
                logger.exception("job.end_not_written")
                end = "not_written"
            seconds = time.monotonic() - started
            self._metrics.job_ended(end, seconds)
            logger.info(
                "job.ended", end=end, seconds=round(seconds, 3), transfer=_transfer(job, end)
            )

    async def _attempt(self, lease: Lease) -> str:
        job = lease.job
        try:
            image = await self._picture(job)
        except Exception as error:
            lease.ending = True
            return await self._failed(job, error)
        lease.ending = True
        return await self._completed(job, image)

    async def _picture(self, job: Job) -> GeneratedImage:
        async with self._room.take(inputs.size_bytes(job.inputs)):
            pictures = await inputs.fetch(self._bot, job.inputs)
            if not await self._rate.acquire(PERMIT_SECONDS_MAX):
                raise NoPermit(f"no permit to call the provider in {PERMIT_SECONDS_MAX:g} s")
            request = ImageRequest(
                model=job.model,
                prompt=job.prompt,
                aspect_ratio=job.aspect_ratio,
                image_size=job.image_size,
                inputs=pictures,
            )
            return await self._call(request)

    async def _call(self, request: ImageRequest) -> GeneratedImage:
        limit_seconds = self._settings.gemini_timeout_seconds + GRACE_SECONDS
        started = time.monotonic()
        outcome, failure = "unexpected", "other"
        try:
            async with asyncio.timeout(limit_seconds):
                image = await self._provider.generate(request)
            outcome, failure = "ok", "none"
        except TimeoutError as error:
            outcome, failure = "timeout", FailureClass.RETRY_LATER.value
            raise ImageProviderError(
                FailureClass.RETRY_LATER, "timeout", f"no answer in {limit_seconds:g} s"
            ) from error
        except ImageProviderError as error:
            outcome, failure = error.code, error.failure.value
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - started
            self._metrics.provider_call(outcome, seconds, failure=failure)
            logger.debug("provider.called", outcome=outcome, seconds=round(seconds, 3))
        return image

    async def _completed(self, job: Job, image: GeneratedImage) -> str:
        output = Output(image.mime_type, image.width, image.height, image.data)
        stored = await persist(
            self._pool,
            lambda connection: end_queries.complete(
                connection, job.id, attempt=job.attempt, output=output
            ),
            within_seconds=STORE_SECONDS_MAX,
        )
        if not stored and not await self._stands(job, JobStatus.COMPLETED):
            logger.warning("job.result_came_too_late")
            return "lost"
        self._metrics.order_ended("completed")
        self._on_end()
        self._progress.report(job, Stage.READY)
        return "completed"

    async def _failed(self, job: Job, error: Exception) -> str:
        if isinstance(error, ImageProviderError):
            logger.warning("provider.failed", failure=error.failure.value, code=error.code,
                           detail=error.detail)  # fmt: skip
            await self._record(error, job)
        elif not isinstance(error, EXPECTED):
            logger.error("job.unexpected_error", exc_info=error)
        jitter = random.random()  # noqa: S311 - spreads retries, keeps no secret
        decision = verdict(
            job, error, base_seconds=self._settings.retry_base_seconds, jitter=jitter
        )
        if isinstance(decision, Retry):
            return await self._give_back(job, decision)
        ended = await persist(
            self._pool,
            lambda connection: end_queries.fail(
                connection,
                job.id,
                attempt=job.attempt,
                error_code=decision.code,
                error_detail=decision.detail,
            ),
            within_seconds=STORE_SECONDS_MAX,
        )
        if ended is None and not await self._stands(job, JobStatus.FAILED):
            return "lost"
        self._metrics.order_ended("refused" if is_customers(error) else "failed")
        self._on_end()
        self._progress.report(replace(job, error_code=decision.code), Stage.FAILED)
        return f"failed_{decision.code}"

    async def _give_back(self, job: Job, retry: Retry) -> str:
        given = await persist(
            self._pool,
            lambda connection: claim_queries.retry_later(
                connection,
                job.id,
                attempt=job.attempt,
                delay_seconds=retry.delay_seconds,
                error_code=retry.code,
                error_detail=retry.detail,
                counts=retry.counts,
            ),
            within_seconds=STORE_SECONDS_MAX,
        )
        if not given and not await self._stands(job, JobStatus.QUEUED):
            return "lost"
        self._on_end()
        self._progress.report(job, Stage.RETRYING, delay_seconds=retry.delay_seconds)
        return "retried"

    async def _stands(self, job: Job, status: JobStatus) -> bool:
        """Did our write happen after all, its acknowledgement lost? Only this attempt could do it."""
        found = await persist(
            self._pool,
            lambda connection: read_queries.find(connection, job.id),
            within_seconds=STORE_SECONDS_MAX,
        )
        return found is not None and (found.status, found.attempt) == (status, job.attempt)

    async def _record(self, error: ImageProviderError, job: Job) -> None:
        """Tell the circuit breaker of a failure. The job's end never hangs on it."""
        try:
            async with (
                asyncio.timeout(GRACE_SECONDS),
                self._pool.acquire(timeout=GRACE_SECONDS) as connection,
            ):
                opened = await circuits.record_failure(
                    connection,
                    model=job.model,
                    error=error,
                    failures_max=self._settings.circuit_failures_max,
                    probe_seconds=self._settings.circuit_probe_seconds,
                )
        except Exception as problem:
            logger.warning("circuit.not_recorded", error=type(problem).__name__)
            return
        if opened:
            self._metrics.circuit_opened(error.code)
            logger.error("circuit.opened", code=error.code, detail=error.detail)


def _transfer(job: Job, end: str) -> str | None:
    """The row of the ledger that an end has written: kind, and what it refers to."""
    if end == "completed":
        return f"capture/job/{job.id}"
    return f"release/job/{job.id}" if end.startswith("failed_") else None
