"""Which errors say that the way to the database is at fault, and not the statement.

One list for every process: what is missing in it ends as a bug of ours (an update that is given up,
a job that is not tried again) although the same would have passed a second later.

    CUT_OFF     nothing can be said over this connection any more, or none is to be had
    OUTAGES     the same, and what a server says that is overloaded, fails over or ends

What asyncpg raises depends on the moment at which a connection is cut: `ConnectionDoesNotExistError`
under a statement; `InterfaceError` when the next one begins ("connection is closed") or the pool has
taken the connection back; `InternalClientError` or its `ProtocolError` where an answer breaks off, or
where the server's last words meet a client that waits for none; an `OSError` before the login is over.

Danger: asyncpg also says `InterfaceError` when *we* are wrong (a connection that is used twice at
once, too few arguments). Trying such a thing again is of no use, but bounded wherever it is done. An
address that is none (`ClientConfigurationError`, one of them too) stays one, and is no outage.
"""

from __future__ import annotations

from typing import Final

import asyncpg
from asyncpg.exceptions import ClientConfigurationError

CUT_OFF: Final = (
    OSError,  # holds TimeoutError, ConnectionError and what TLS says
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)
"""What cuts a connection, or refuses one."""

OUTAGES: Final = (
    *CUT_OFF,
    asyncpg.OperatorInterventionError,  # shut down, starting up, statement cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.TransactionRollbackError,  # a deadlock, or a transaction that must be made again
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a failover: the old primary before it is gone
)
"""What may be over when the same is tried again."""


def is_outage(error: BaseException) -> bool:
    """May the same statement succeed later?"""
    return isinstance(error, OUTAGES) and not isinstance(error, ClientConfigurationError)
