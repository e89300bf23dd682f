"""The foundation: users, ledger, jobs, payments, deliveries."""

from __future__ import annotations

from rei_core.db.migrate import run_sql_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql_beside(__file__)
