"""Admins: who did what, and what waits for their word."""

from __future__ import annotations

from rei_core.db.migrate import run_sql_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql_beside(__file__)
