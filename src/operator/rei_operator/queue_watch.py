"""Counts the queue in PostgreSQL every few seconds, by one query, for scaling and for people."""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog

from rei_core.db import Connection, Pool
from rei_operator.metrics import Metrics, Queue

log = structlog.get_logger(__name__)

MEAN_OF_JOBS: Final = 100
MEAN_OF_MINUTES: Final = 30
QUERY_SECONDS_MAX: Final = 10.0

# Each part reads an index of its own that holds no more than it counts: waiting jobs, jobs at work,
# and the last hundred that were completed.
QUEUE = """
WITH waiting AS (
    SELECT count(*) AS jobs, extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds
    FROM jobs
    WHERE status = 'queued'
), at_work AS (
    SELECT count(*) AS jobs
    FROM jobs
    WHERE status = 'processing'
), recent AS (
    SELECT extract(epoch FROM finished_at - started_at)::float8 AS seconds
    FROM jobs
    WHERE status = 'completed' AND started_at IS NOT NULL
      AND finished_at IS NOT NULL AND finished_at > now() - make_interval(mins => $1)
    ORDER BY finished_at DESC
    LIMIT $2
)
SELECT waiting.jobs AS queued, coalesce(waiting.oldest_seconds, 0) AS oldest_queued_seconds,
       at_work.jobs AS processing, (SELECT avg(seconds) FROM recent) AS mean_seconds
FROM waiting, at_work
"""


async def count(connection: Connection) -> Queue:
    """The queue as it is now."""
    row = await connection.fetchrow(QUEUE, MEAN_OF_MINUTES, MEAN_OF_JOBS)
    assert row is not None
    return Queue(**dict(row))


async def watch_queue(pool: Pool, metrics: Metrics, *, period_seconds: float) -> NoReturn:
    """Count until cancelled. While PostgreSQL is away there is no number, rather than an old one."""
    while True:
        try:
            async with asyncio.timeout(QUERY_SECONDS_MAX), pool.acquire() as connection:
                metrics.queue(await count(connection))
        except Exception as error:  # whatever it is, the number is not known
            metrics.queue(None)
            log.warning("queue.not_counted", error=type(error).__name__)
        await asyncio.sleep(period_seconds)
