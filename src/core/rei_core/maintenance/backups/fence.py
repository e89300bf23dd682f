"""Keeping writers out of the living database while it is backed up and replaced.

Bot and workers are stopped before that, but whatever scales them may start them again in the
middle. What they wrote after the safety backup would be in the database that is put aside, and in
no backup. So a transaction holds all tables exclusively (EXCLUSIVE): who reads goes on, pg_dump too; who
writes waits, and at the swap is cut off, so nobody is told of a success that is then not there.

The locks fall with the connection: a restore that dies, however it dies, leaves nobody shut out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog

from rei_core.db import Connection
from rei_core.maintenance.backups import databases, snapshot, tools
from rei_core.maintenance.backups.errors import RestoreBusy

logger = structlog.get_logger(__name__)

ATTEMPTS_MAX = 6
LOCK_SECONDS_MAX = 5


class Fence:
    """Tables that nobody else can write to, until `release`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.pid = connection.get_server_pid()
        self.released = False

    def release(self) -> None:
        """Let go, by hanging up."""
        self.released = True
        self._connection.terminate()

    async def require_standing(self) -> None:
        """Raise `RestoreBusy` if the locks are lost: somebody may have written meanwhile."""
        try:
            await self._connection.fetchval("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            raise RestoreBusy(
                "the locks that keep writers out were lost", "It is begun again from the start"
            ) from None


@asynccontextmanager
async def no_writers(database_url: str, killer: Connection) -> AsyncIterator[Fence]:
    """Hold all tables for the length of the block.

    Whoever is in the middle of writing may end that; who has not after some seconds is cut off by
    `killer`, a connection to another database. Raises `RestoreBusy` if that does not help.
    """
    server = tools.server_of(database_url)
    connection = await snapshot.connect(database_url, server, application="rei restore fence")
    try:
        with snapshot.naming_errors(server):
            await _lock(connection, killer, tools.database_of(database_url))
        yield Fence(connection)
    finally:
        connection.terminate()


async def _lock(connection: Connection, killer: Connection, name: str) -> None:
    tables = [row["quoted"] for row in await connection.fetch(snapshot.TABLES)]
    await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS_MAX}s'")
    for attempt in range(ATTEMPTS_MAX):
        cutting_off = attempt and asyncio.create_task(
            databases.cut_off(killer, [name], spare_pid=connection.get_server_pid())
        )
        transaction = connection.transaction()
        await transaction.start()
        try:
            # The names were quoted by the server itself.
            await connection.execute(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            await transaction.rollback()
            logger.warning("restore.writers_in_the_way", error=type(error).__name__)
        else:
            return
        finally:
            if cutting_off:
                cutting_off.cancel()
                await asyncio.gather(cutting_off, return_exceptions=True)
    raise RestoreBusy(
        f"somebody is writing to the database {name} and cannot be stopped",
        "A prepared transaction, or a session that this user may not end: see pg_stat_activity "
        "and pg_prepared_xacts",
    )
