"""Connections to PostgreSQL. Services take a `Connection` and never commit; edges own the pool."""

from __future__ import annotations

import json
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def create_pool(
    database_url: str,
    *,
    application: str,
    size_max: int,
    command_timeout_seconds: float = 30,
) -> Pool:
    """Open a pool whose connections speak JSON and give up on a statement after a while."""
    pool: Pool | None = await asyncpg.create_pool(
        database_url,
        min_size=1,
        max_size=size_max,
        command_timeout=command_timeout_seconds,
        timeout=10,
        init=_prepare,
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


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
    )
