"""One moment of the database, shared by pg_dump and by what the manifest says about it.

The snapshot is exported from a REPEATABLE READ transaction and lives as long as that: pg_dump reads
in it, and the counts and sums are taken in it, so that they fit together to the last row while the
bot works on at full speed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from rei_core.db import CUT_OFF, Connection, is_outage
from rei_core.ledger.audit import ACCOUNTS
from rei_core.maintenance.backups.errors import DatabaseUnfit, DatabaseUnreachable, told
from rei_core.maintenance.backups.manifest import DatabaseFacts
from rei_core.maintenance.backups.tools import Server, server_of

CONNECT_SECONDS_MAX = 30
SESSION = {
    # An hour of dumping is an hour idle in a transaction, on purpose; and a router between must not
    # forget the connection meanwhile.
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "statement_timeout": "0",
    "tcp_keepalives_idle": "60",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An exported snapshot. `facts` is being counted in it while the dump runs."""

    name: str
    taken_at: datetime
    server_version: str
    server_version_major: int
    database_bytes: int
    facts: asyncio.Task[DatabaseFacts]


async def connect(database_url: str, server: Server, *, application: str) -> Connection:
    """A connection for long work; raises `DatabaseUnreachable`, or `DatabaseUnfit` if it is refused."""
    try:
        return await asyncpg.connect(
            database_url,
            timeout=CONNECT_SECONDS_MAX,
            server_settings={**SESSION, "application_name": application},
        )
    except (ValueError, asyncpg.PostgresError, *CUT_OFF) as error:
        raise _kind_of(error)(
            f"the database cannot be reached: {told(str(error), secrets=server.secrets)}",
            "Is PostgreSQL up, and the address right?",
        ) from None


TABLES_COUNT = """
SELECT count(*)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S')
  AND n.nspname NOT LIKE 'pg\\_%'
  AND n.nspname <> 'information_schema'
"""


async def is_empty(database_url: str) -> bool:
    """Whether the database has no table, view or sequence; raises `DatabaseUnfit`."""
    connection = await connect(database_url, server_of(database_url), application="rei restore")
    try:
        count: int = await connection.fetchval(TABLES_COUNT)
    finally:
        connection.terminate()
    return count == 0


MOMENT = """
SELECT pg_export_snapshot() AS name,
       now() AS taken_at,
       current_setting('server_version') AS server_version,
       current_setting('server_version_num')::integer / 10000 AS server_version_major,
       pg_database_size(current_database()) AS database_bytes
"""


@asynccontextmanager
async def exported(database_url: str, server: Server) -> AsyncIterator[Snapshot]:
    """Hold a snapshot of the database for the length of the block."""
    connection = await connect(database_url, server, application="rei backup")
    try:
        with naming_errors(server):
            await connection.transaction(isolation="repeatable_read", readonly=True).start()
            await require_ledger(connection)
            row = await connection.fetchrow(MOMENT)
        assert row is not None
        counting = asyncio.create_task(_counted(connection, server))
        try:
            yield Snapshot(**row, facts=counting)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
    finally:
        # Nothing was written, so there is nothing to end in order: the server rolls back.
        connection.terminate()


async def _counted(connection: Connection, server: Server) -> DatabaseFacts:
    with naming_errors(server):
        return await facts(connection)


@contextmanager
def naming_errors(server: Server) -> Iterator[None]:
    """Turn what the database driver raises into `DatabaseUnfit`."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseUnfit(
            f"the database's user may not do this: {told(str(error), secrets=server.secrets)}",
            "To verify by restoring and to restore, it must own the databases and have CREATEDB",
        ) from None
    except (asyncpg.PostgresError, *CUT_OFF) as error:
        said = told(f"{type(error).__name__}: {error}", secrets=server.secrets)
        raise _kind_of(error)(
            f"the database refused: {said}", "Is PostgreSQL up? Then try again"
        ) from None


def _kind_of(error: Exception) -> type[DatabaseUnfit]:
    return DatabaseUnreachable if is_outage(error) else DatabaseUnfit


HAS_LEDGER = (
    "SELECT to_regclass('alembic_version') IS NOT NULL AND to_regclass('transfers') IS NOT NULL"
)


async def require_ledger(connection: Connection) -> None:
    """Refuse a database that is none of Rei's: `DatabaseUnfit`."""
    if not await connection.fetchval(HAS_LEDGER):
        raise DatabaseUnfit(
            "this database has no ledger of Rei's",
            "Is it the right one? `rei migrate` makes the tables in an empty one",
        )


REVISION = "SELECT version_num FROM alembic_version"

# Ordinary tables that are ours: none of the system's, and none that an extension brings and dumps
# by rules of its own.
TABLES = """
SELECT format('%s.%s', n.nspname, c.relname) AS name,
       format('%I.%I', n.nspname, c.relname) AS quoted
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
  AND c.relpersistence = 'p'
  AND n.nspname NOT LIKE 'pg\\_%'
  AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  )
ORDER BY 1
"""


async def facts(connection: Connection) -> DatabaseFacts:
    """Revision, row counts and the ledger's sums, in the caller's transaction."""
    tables = await connection.fetch(TABLES)
    counts = {
        # The name was quoted by the server itself.
        table["name"]: await connection.fetchval(f"SELECT count(*) FROM {table['quoted']}")
        for table in tables
    }
    accounts = await connection.fetch(ACCOUNTS)
    return DatabaseFacts(
        schema_revision=await connection.fetchval(REVISION) or "",
        row_counts=counts,
        account_kopecks={row["account"]: row["kopecks"] for row in accounts},
        transfers_count=await connection.fetchval("SELECT count(*) FROM transfers"),
    )
