"""Writes that must happen although the connection may go: repeated until the database answers.

Every write here is a compare-and-set on the attempt, so repeating it is harmless. A lost
acknowledgement makes the repeat find nothing to change; the caller then looks at the job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import stamina

from rei_core.db import Connection, Pool

Result = TypeVar("Result")

ACQUIRE_SECONDS_MAX = 10.0

TRANSIENT: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # "connection is closed", "connection was closed in the middle of …"
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shut down, starting up, statement cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a failover: the old primary before it is gone
)
"""Failures of the way to the database, not of the statement."""


def is_transient(error: Exception) -> bool:
    """May the same statement succeed later? A value that cannot be sent (`DataError`) never will,
    although asyncpg counts it among its interface errors."""
    return isinstance(error, TRANSIENT) and not isinstance(error, asyncpg.DataError)


async def persist(
    pool: Pool, write: Callable[[Connection], Awaitable[Result]], *, within_seconds: float
) -> Result:
    """Carry out an idempotent write, again and again until it succeeds or time is up."""
    async for attempt in stamina.retry_context(
        on=is_transient, attempts=None, timeout=within_seconds, wait_initial=0.1, wait_max=2.0
    ):
        with attempt:
            async with pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
                return await write(connection)
    raise AssertionError("retry_context either returns or raises")
