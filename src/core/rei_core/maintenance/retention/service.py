"""Removing what nobody needs any more, so gently that no customer notices.

Small batches, each a transaction of its own with its count beside it, and a pause after each. The
small things come first and drafts last: a draft whose job is there keeps the job, and a job whose
draft has just gone stays until the next run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import structlog

from rei_core.db import Connection
from rei_core.maintenance.model import Progress, RunResult
from rei_core.maintenance.resources.jobs import JobRetentionPolicySpec
from rei_core.maintenance.retention import queries
from rei_core.maintenance.retention.queries import START, Sort

log = structlog.get_logger(__name__)


def sorts(spec: JobRetentionPolicySpec) -> Iterator[Sort]:
    """What is removed, in this order."""
    yield Sort("updates", queries.UPDATES, spec.updates_days)
    yield Sort("runs", queries.RUNS, spec.runs_days)
    yield Sort("outputs", queries.OUTPUTS, spec.outputs_days)
    yield Sort("deliveries", queries.DELIVERIES, spec.deliveries_days)
    yield Sort("completed jobs", queries.JOBS, spec.completed_days, ("completed", "capture"))
    yield Sort("failed jobs", queries.JOBS, spec.failed_days, ("failed", "release"))
    yield Sort("cancelled jobs", queries.JOBS, spec.cancelled_days, ("cancelled", "release"))
    yield Sort("drafts", queries.DRAFTS, spec.drafts_days)


async def remove_old(
    connection: Connection, spec: JobRetentionPolicySpec, progress: Progress
) -> RunResult:
    """Remove what is old, or count it, until `spec.max_seconds_per_run` are over.

    The connection must not be in a transaction. Raises `RunLost` if the run is not ours any more.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + spec.max_seconds_per_run
    # A dry run that was broken off begins anew: it has left everything where it was.
    result = RunResult() if spec.dry_run else replace(progress.result, notes=())
    for sort in sorts(spec):
        after, removed = START, 0
        while after.more:
            if loop.time() >= ends_at:
                return result.noting(f"time is up at {sort.what}: the rest waits for the next run")
            async with connection.transaction():
                after = await queries.remove_batch(
                    connection, sort, after=after, limit=spec.batch_size, dry_run=spec.dry_run
                )
                result = result.plus(examined=after.examined, changed=after.doomed)
                await progress.advance(connection, result)
            removed += after.doomed
            if after.more:
                await asyncio.sleep(spec.pause_milliseconds / 1000)
        if removed:
            log.info("retention.removed", what=sort.what, rows=removed, dry_run=spec.dry_run)
    return result
