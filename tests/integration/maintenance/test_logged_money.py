"""Money that is moved by hand or by maintenance is logged by the name of its row in the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from structlog.testing import capture_logs

from rei_core.db import Pool
from rei_core.maintenance.adjustments import service as adjustments
from rei_core.maintenance.model import Unrecorded
from rei_core.maintenance.resources.jobs import StuckJobPolicySpec
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.maintenance.stuck_jobs import service as stuck_jobs

from ..core.conftest import ANNA, Shop
from .conftest import run_alone

Orders = Callable[..., Awaitable[list[int]]]


async def rows(pool: Pool, kind: str) -> list[str]:
    found = await pool.fetch(
        "SELECT kind || '/' || ref_type || '/' || ref_id AS name FROM transfers WHERE kind = $1"
        " ORDER BY id",
        kind,
    )
    return [row["name"] for row in found]


async def test_an_adjustment_is_logged_once_by_its_row(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    spec = BalanceAdjustmentSpec(
        user_id=1, amount_kopecks=500, reason="a broken picture", operation_id="ticket-1"
    )
    with capture_logs() as lines:
        for dry_run in (True, False, False):
            async with pool.acquire() as connection:
                await adjustments.adjust(connection, spec, actor=ANNA, dry_run=dry_run)
    assert [line["transfer"] for line in lines] == await rows(pool, "adjustment")
    assert (lines[0]["user_id"], lines[0]["operation_id"]) == (1, "ticket-1")


async def test_each_job_that_hung_is_logged_by_the_row_that_gives_its_money_back(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    hang = await orders(3)
    await shop.claim(limit=3)
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    spec = StuckJobPolicySpec(period_seconds=60, timeout_seconds=600, batch_size=2)
    with capture_logs() as lines:
        await run_alone(pool, lambda c: stuck_jobs.end_stuck_jobs(c, spec, Unrecorded()))
    ended = [line for line in lines if line["event"] == "stuck_jobs.job_ended"]
    assert [line["transfer"] for line in ended] == await rows(pool, "release")
    assert [line["job_id"] for line in ended] == hang
