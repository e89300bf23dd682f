"""Writes that must happen although the connection may go: repeated until the database answers.

Every write here is a compare-and-set on the attempt, so repeating it is harmless. A lost
acknowledgement makes the repeat find nothing to change; the caller then looks at the job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from rei_core.db import Connection, Pool, is_outage

Result = TypeVar("Result")

ACQUIRE_SECONDS_MAX = 10.0


async def persist(
    pool: Pool, write: Callable[[Connection], Awaitable[Result]], *, within_seconds: float
) -> Result:
    """Carry out an idempotent write, again and again until it succeeds or time is up."""
    async for attempt in stamina.retry_context(
        on=is_outage, attempts=None, timeout=within_seconds, wait_initial=0.1, wait_max=2.0
    ):
        with attempt:
            async with pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
                return await write(connection)
    raise AssertionError("retry_context either returns or raises")
