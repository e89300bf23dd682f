"""All that a database holds, as a few words that two databases are compared by."""

from __future__ import annotations

import asyncpg

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
