"""The schema that the migrations leave."""

from __future__ import annotations

from rei_core.db import Pool
from rei_core.db.migrate import schema_state


async def test_head_is_reached(pool: Pool, database_url: str) -> None:
    assert (await schema_state(database_url)).up_to_date
    assert await pool.fetchval("SELECT count(*) FROM transfers") == 0
