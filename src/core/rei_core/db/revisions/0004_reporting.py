"""Reporting: views without prompts, names and ids of Telegram, for dashboards."""

from __future__ import annotations

from rei_core.db.migrate import run_sql_beside

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql_beside(__file__)
