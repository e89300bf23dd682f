"""Connections to PostgreSQL. Services take a `Connection` and never commit; edges own the pool."""

from __future__ import annotations

import asyncio
import json
from typing import TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from rei_core.db.address import address_unquoted

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

logger = structlog.get_logger(__name__)

CLOSE_SECONDS_MAX = 5.0
READY_SECONDS_MAX = 2.0


async def create_pool(
    database_url: str,
    *,
    application: str,
    size_max: int,
    command_timeout_seconds: float = 30,
) -> Pool:
    """Open a pool whose connections speak JSON and give up on a statement after a while.

    Raises `ConfigurationError` for an address that is none.
    """
    with address_unquoted():
        pool: Pool | None = await asyncpg.create_pool(
            database_url,
            min_size=1,
            max_size=size_max,
            command_timeout=command_timeout_seconds,
            timeout=10,
            init=_prepare,
            reset=_leave,
            server_settings={
                "application_name": application,
                # A client that died between two statements must not hold a balance row for ever.
                "idle_in_transaction_session_timeout": "60000",
                # The statements here are short and prepared once; compiling them costs more than it saves.
                "jit": "off",
            },
        )
    assert pool is not None
    return pool


async def close_pool(pool: Pool) -> None:
    """Close in order, or by force if a connection does not come back: asyncpg's own `close` waits
    for ever when the server is silent."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await pool.close()
    except TimeoutError:
        logger.warning("database.connections_cut_off")
        pool.terminate()


async def answers(pool: Pool) -> bool:
    """Whether the database answers now: what every process is asked before it gets work."""
    try:
        async with (
            asyncio.timeout(READY_SECONDS_MAX),
            pool.acquire(timeout=READY_SECONDS_MAX) as connection,
        ):
            await connection.fetchval("SELECT 1")
    except Exception:  # whatever it is, it is no answer
        return False
    return True


def is_lost(connection: Connection) -> bool:
    """Whether nothing can be said over this connection any more.

    A pool takes back at once what it lent when the server hangs up; then even the question is an error.
    """
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def _leave(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Nothing to do when a connection comes back: asyncpg rolls back what is open by itself.

    Its own reset is a second round trip after each statement. It undoes what lives longer than a
    transaction (`SET`, `LISTEN`, session locks), and nobody here leaves any of that behind: the one
    who takes a session's lock ends the connection if he cannot give it back.
    """


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
    )
