"""The shop of `core`, and how its procedures are called."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from rei_core.db import Connection, Pool
from rei_core.ledger.audit import audit
from rei_core.maintenance.model import RunResult
from rei_core.maintenance.runs.model import RunKey

from ..core.conftest import Shop
from ..core.conftest import shop as shop  # noqa: PLC0414 - a fixture of this folder, too

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

# The server process is killed right before it writes to the table, the n-th time only.
CRASH = """
CREATE SEQUENCE crash_count;
CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('crash_count') = {nth} THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
        PERFORM pg_sleep(1);
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER crash BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION crash();
"""
LOST = (
    asyncpg.AdminShutdownError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# What counts in the end, without the times and the numbers that differ from one life to another.
BOOKS = {
    "jobs": "SELECT id, status, error_code, attempt, lease_until IS NULL AS free FROM jobs ORDER BY id",
    "balances": "SELECT * FROM balances ORDER BY user_id",
    "transfers": """
        SELECT kind, ref_type, ref_id, user_id, amount_kopecks, balance_after_kopecks, note
        FROM transfers ORDER BY kind, ref_type, ref_id
    """,
    "deliveries": "SELECT kind, ref_id, user_id, status FROM deliveries ORDER BY kind, ref_id",
    "outputs": "SELECT job_id, data IS NULL AS gone FROM job_outputs ORDER BY job_id",
    "drafts": "SELECT id FROM drafts ORDER BY id",
    "updates": "SELECT update_id FROM telegram_updates ORDER BY update_id",
    "bans": "SELECT source, user_id, reason FROM user_bans ORDER BY source",
    "users": "SELECT id, banned_at IS NULL AS free, ban_reason FROM users ORDER BY id",
}


def key(name: str = "policy", *, at: datetime = NOON, kind: str = "StuckJobPolicy") -> RunKey:
    return RunKey(kind, "default", name, at)


async def books(pool: Pool) -> dict[str, list[tuple[Any, ...]]]:
    """The tables as values; the audit must find nothing."""
    async with pool.acquire() as connection:
        report = await audit(connection)
        assert report.violations == ()
        return {
            name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in BOOKS.items()
        }


async def crash_at(pool: Pool, table: str, *, nth: int) -> None:
    """Let the server process that writes the table's n-th row from now on die before it does."""
    await pool.execute(CRASH.format(table=table, nth=nth))


async def no_crash(pool: Pool, table: str) -> None:
    await pool.execute(
        f"DROP TRIGGER crash ON {table}; DROP FUNCTION crash; DROP SEQUENCE crash_count"
    )


Procedure = Callable[[Connection], Awaitable[RunResult]]


async def run_alone(pool: Pool, procedure: Procedure) -> RunResult:
    """Call a procedure on a connection of its own."""
    async with pool.acquire() as connection:
        return await procedure(connection)


async def store_output(pool: Pool, job_id: int, *, data: bytes = b"png") -> None:
    """What a completed job leaves, apart from its money."""
    await pool.execute(
        "INSERT INTO job_outputs (job_id, mime_type, width, height, size_bytes, sha256, data)"
        " VALUES ($1, 'image/png', 1, 1, $2, $3, $4)",
        job_id, len(data), hashlib.sha256(data).digest(), data,
    )  # fmt: skip


@pytest.fixture
async def orders(shop: Shop) -> Callable[..., Awaitable[list[int]]]:
    """`await orders(3, user_id=2)`: three accepted jobs of a customer, paid by a gift."""

    async def make(count: int, *, user_id: int = 1, price_kopecks: int = 1000) -> list[int]:
        await shop.customer(user_id, balance_kopecks=price_kopecks * count)
        accepted = [
            await shop.accept(f"order-{n}", user_id=user_id, price_kopecks=price_kopecks)
            for n in range(count)
        ]
        return [answer.job_id for answer in accepted if answer.job_id is not None]

    return make
