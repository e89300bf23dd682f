"""Maintenance: runs, bans by source, indexes for what is old."""

from __future__ import annotations

from rei_core.db.migrate import run_sql_beside

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql_beside(__file__)
