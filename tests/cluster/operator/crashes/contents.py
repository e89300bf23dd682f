"""What a database holds, as two databases are compared by it."""

from __future__ import annotations

from typing import Any

import asyncpg

from rei_core.db import create_pool
from rei_core.ledger.audit import audit
from rei_core.maintenance.backups.tools import database_of

from ....integration.operator.ends import rows_of

Contents = dict[str, str]

TABLES = """
SELECT relname
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE relkind = 'r' AND nspname = 'public'
ORDER BY relname
"""
ROWS = """
SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(row, '' ORDER BY row)), '')
FROM (SELECT md5(t::text) AS row FROM {table} AS t) AS rows
"""
SEQUENCES = """
SELECT coalesce(string_agg(sequencename || last_value, ' ' ORDER BY sequencename), '')
FROM pg_sequences
"""


async def contents_of(url: str) -> Contents:
    """A digest of each table, and where the sequences stand."""
    connection = await asyncpg.connect(url)
    try:
        found: Contents = {
            row["relname"]: await connection.fetchval(ROWS.format(table=row["relname"]))
            for row in await connection.fetch(TABLES)
        }
        found["sequences"] = await connection.fetchval(SEQUENCES)
    finally:
        await connection.close()
    return found


async def rows_in(url: str) -> dict[str, Any]:
    """The rows that count, without what differs between two tellings."""
    pool = await create_pool(url, application="test", size_max=1)
    try:
        async with pool.acquire() as connection:
            return await rows_of(connection, database=database_of(url))
    finally:
        await pool.close()


async def ledger_problems(url: str) -> list[str]:
    """What the audit of the ledger finds."""
    connection = await asyncpg.connect(url)
    try:
        report = await audit(connection)
    finally:
        await connection.close()
    return [f"the ledger breaks {one.invariant}" for one in report.violations]
