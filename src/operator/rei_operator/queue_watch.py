"""Counts the queue in PostgreSQL every few seconds, by one query, for scaling and for people."""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog

from rei_core.db import Pool
from rei_core.jobs.read_queries import queue_state
from rei_operator.metrics import Metrics

log = structlog.get_logger(__name__)

QUERY_SECONDS_MAX: Final = 10.0
PAUSE_TO_COUNT: Final = 20.0
"""A long queue takes long to count (100,000 jobs: a tenth of a second), and is then counted less often."""


async def watch_queue(pool: Pool, metrics: Metrics, *, period_seconds: float) -> NoReturn:
    """Count until cancelled. While PostgreSQL is away there is no number, rather than an old one.

    The log has a line for the trouble and one for its end, not one for each look.
    """
    clock, trouble = asyncio.get_running_loop().time, ""
    while True:
        began, pause_seconds = clock(), period_seconds
        try:
            async with asyncio.timeout(QUERY_SECONDS_MAX), pool.acquire() as connection:
                metrics.queue(await queue_state(connection))
            pause_seconds = max(period_seconds, PAUSE_TO_COUNT * (clock() - began))
            if trouble:
                log.info("queue.counted_again")
            trouble = ""
        except Exception as error:  # whatever it is, the number is not known
            metrics.queue(None)
            said, trouble = trouble, type(error).__name__
            if trouble != said:
                log.warning("queue.not_counted", error=trouble)
        await asyncio.sleep(pause_seconds)
