"""A connection by the address that the settings name, for everything but the pool.

Danger: asyncpg's errors about an address quote the part they stumbled over, and with a `/` in a
password that part is the password. So they are replaced, not wrapped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from asyncpg.exceptions import ClientConfigurationError

from rei_core.errors import ConfigurationError


async def connect(
    database_url: str, *, timeout_seconds: float = 60
) -> asyncpg.Connection[asyncpg.Record]:
    """Open a connection; raises `ConfigurationError` for an address that is none."""
    with address_unquoted():
        return await asyncpg.connect(database_url, timeout=timeout_seconds)


@contextmanager
def address_unquoted() -> Iterator[None]:
    """Errors about the address say that it is none, and not a word of it."""
    try:
        yield
    except (ValueError, OverflowError, ClientConfigurationError):
        raise ConfigurationError(
            "REI_DATABASE_URL",
            "is no address of a database",
            "postgresql://user:password@host:5432/db; in the password / # ? @ [ ] % are written "
            "as %2F %23 %3F %40 %5B %5D %25",
        ) from None
