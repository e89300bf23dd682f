"""The database of a command, with what goes wrong there told in one line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from rei_core.db import CUT_OFF, Connection, Pool, close_pool, create_pool
from rei_core.db.migrate import require_schema
from rei_core.errors import ConfigurationError
from rei_core.logs import masked_text
from rei_core.settings import CoreSettings, load

DETAIL_CHARS_MAX: Final = 300

Answer = TypeVar("Answer")


async def with_pool(work: Callable[[Pool], Awaitable[Answer]]) -> Answer:
    """Do `work` on the database of REI_DATABASE_URL; raises `ConfigurationError` if it is away."""
    url = load(CoreSettings).database_url.get_secret_value()
    await require_schema(url)
    try:
        pool = await create_pool(url, application="rei", size_max=2)
        try:
            return await work(pool)
        finally:
            await close_pool(pool)
    except (asyncpg.PostgresError, *CUT_OFF) as error:
        first, *_ = masked_text(str(error)).splitlines() or [""]
        raise ConfigurationError(
            "REI_DATABASE_URL",
            f"cut off: {type(error).__name__}: {first[:DETAIL_CHARS_MAX]}",
            "Whether it was done is not known; the same command again does it once",
        ) from None


async def with_connection(work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
    """The same on one connection."""

    async def on_one(pool: Pool) -> Answer:
        async with pool.acquire() as connection:
            return await work(connection)

    return await with_pool(on_one)
