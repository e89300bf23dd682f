"""Ending jobs that hang: failed, the price back on the balance, the customer told.

Each batch is one statement in one transaction, with its count beside it. A job ends once whoever
else is at it (the workers' own sweep, its worker, the customer who cancels): its row decides. What
its worker brings later is refused by the fencing token.

A job whose books are broken (a counter that would go below zero) makes its whole batch fail. Then
the jobs of this batch are ended one by one, and only the broken ones are left and reported: they
must not keep everybody else from their money.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import structlog

from rei_core.db import Connection
from rei_core.jobs import end_queries
from rei_core.jobs.sweeping import refusal_of
from rei_core.maintenance.model import Progress, RunResult
from rei_core.maintenance.resources.jobs import StuckJobPolicySpec
from rei_core.maintenance.stuck_jobs import queries
from rei_core.money import format_rubles

log = structlog.get_logger(__name__)


async def end_stuck_jobs(
    connection: Connection, spec: StuckJobPolicySpec, progress: Progress
) -> RunResult:
    """End what hangs, at most `spec.max_per_run` jobs, or count it if it is a dry run.

    The connection must not be in a transaction. Raises `RunLost` if the run is not ours any more.
    """
    if spec.dry_run:
        return await _counted(connection, spec)
    # What an earlier attempt could not end is met again.
    result = replace(progress.result, failed=0, notes=())
    if result.examined == 0:
        result = result.plus(examined=await queries.unfinished(connection))
    async for job_ids in _batches(connection, spec):
        room = spec.max_per_run - result.changed
        if room <= 0:
            return result.noting(
                f"maxPerRun reached after {result.changed} jobs: the rest waits for the next run"
            )
        result = await _end(connection, spec, progress, result, job_ids[:room])
    return result


async def _counted(connection: Connection, spec: StuckJobPolicySpec) -> RunResult:
    jobs, kopecks = await queries.would_end(
        connection,
        timeout_seconds=spec.timeout_seconds,
        timeout_seconds_by_model=dict(spec.timeout_seconds_by_model),
        limit=spec.max_per_run,
    )
    found = RunResult(examined=await queries.unfinished(connection), changed=jobs)
    return found.noting(f"dry run: {jobs} jobs would end, {format_rubles(kopecks)} would go back")


async def _batches(connection: Connection, spec: StuckJobPolicySpec) -> AsyncIterator[list[int]]:
    """What hangs, in batches: first what is being worked on, then what waits."""
    async for page in _pages(connection, spec):
        for first in range(0, len(page), spec.batch_size):
            yield page[first : first + spec.batch_size]


async def _pages(connection: Connection, spec: StuckJobPolicySpec) -> AsyncIterator[list[int]]:
    # One more than may be ended, to know whether anything is left.
    limit = spec.max_per_run + 1
    after_id = 0
    while ids := await queries.stuck_at_work(
        connection,
        after_id=after_id,
        timeout_seconds=spec.timeout_seconds,
        timeout_seconds_by_model=dict(spec.timeout_seconds_by_model),
        limit=limit,
    ):
        after_id = ids[-1]
        yield ids
    page = await queries.overdue(connection, after=None, limit=limit)
    while page.ids:
        yield page.ids
        page = await queries.overdue(connection, after=page, limit=limit)


async def _end(
    connection: Connection,
    spec: StuckJobPolicySpec,
    progress: Progress,
    result: RunResult,
    job_ids: list[int],
) -> RunResult:
    """End a batch; should its statement be refused, one job after the other."""
    try:
        return await _end_together(connection, spec, progress, result, job_ids)
    except asyncpg.IntegrityConstraintViolationError as error:
        if len(job_ids) == 1:
            log.error("stuck_jobs.refused", job_id=job_ids[0], error=type(error).__name__)  # noqa: TRY400 - the statement's text says nothing, its values are a customer's
            return result.plus(failed=1).noting(
                f"job {job_ids[0]} could not be ended: {refusal_of(error)}. Look at `rei audit`"
            )
    for job_id in job_ids:
        result = await _end(connection, spec, progress, result, [job_id])
    return result


async def _end_together(
    connection: Connection,
    spec: StuckJobPolicySpec,
    progress: Progress,
    result: RunResult,
    job_ids: list[int],
) -> RunResult:
    async with connection.transaction():
        ended = await end_queries.fail_stuck(
            connection,
            job_ids,
            timeout_seconds=spec.timeout_seconds,
            timeout_seconds_by_model=dict(spec.timeout_seconds_by_model),
        )
        result = result.plus(
            changed=len(ended), amount_kopecks=sum(job.price_kopecks for job in ended)
        )
        await progress.advance(connection, result)
    if ended:
        log.warning("stuck_jobs.ended", jobs=len(ended))
    for job in ended:
        transfer = f"release/job/{job.id}"
        log.info("stuck_jobs.job_ended", job_id=job.id, user_id=job.user_id, transfer=transfer)
    return result
