"""What `rei status|user|payments|jobs|top|log` tell, as tables and as JSON."""

from __future__ import annotations

import pytest

from rei_core.db import Pool
from rei_core.jobs import end_queries
from rei_core.jobs.model import Output

from ..core.conftest import Shop
from ..core_adapters.conftest import Till
from .conftest import Rei

PICTURE = Output(mime_type="image/png", width=1, height=1, data=b"png")


@pytest.fixture
async def busy(shop: Shop, pool: Pool) -> None:
    """User 1 has bought one picture, one failed, one is at work without a worker, one waits; user 2
    has bought one; user 3 does nothing."""
    for user in (1, 2, 3):
        await shop.customer(user, balance_kopecks=10_000)
    await pool.execute("UPDATE users SET username = 'boris' WHERE id = 2")
    await shop.accept("bought")
    await shop.accept("failed", prompt="[bold]markup[/] is no markup")
    await shop.accept("lapsed")
    await shop.accept("other", user_id=2, price_kopecks=3000)
    jobs = await shop.claim(limit=4)
    async with pool.acquire() as connection:
        await end_queries.complete(connection, jobs[0].id, attempt=1, output=PICTURE)
        await end_queries.fail(
            connection, jobs[1].id, attempt=1, error_code="blocked", error_detail=""
        )
        await end_queries.complete(connection, jobs[3].id, attempt=1, output=PICTURE)
    await shop.expire_leases()
    await shop.accept("waits")
    await pool.execute(
        "UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE status = 'queued'"
    )


@pytest.mark.usefixtures("busy")
async def test_status_tells_what_is_there(pool: Pool, rei: Rei) -> None:
    await pool.execute("""
        INSERT INTO circuits (name, opened_at, reason) VALUES ('provider', now(), 'bad_key');
        INSERT INTO payments (id, user_id, amount_kopecks, status, request_key, chat_id,
                              provider_payment_id, created_at)
        VALUES (gen_random_uuid(), 1, 5, 'pending', 'k', 1, 'p', now() - interval '3 h');
        INSERT INTO maintenance_runs (kind, namespace, name, scheduled_for, owner, status, detail,
                                      started_at, finished_at)
        VALUES ('LedgerAudit', 'rei', 'books', now() - interval '2 d', 'o', 'succeeded',
                '{"violation_counts": {}}', now(), now() - interval '2 d'),
               ('LedgerAudit', 'rei', 'books', now(), 'o', 'succeeded',
                '{"violation_counts": {"no_negative_balance": 1}}', now(), now()),
               ('Backup', 'rei', 'b', now(), 'o', 'succeeded', '{"verified": "Restore"}',
                now(), now() - interval '1 h');
    """)
    told = (await rei("status", "-o", "json")).json
    assert (told["queue"]["queued"], told["queue"]["processing"]) == (1, 1)
    assert (told["queue"]["lapsed"], told["overdue"], told["customers"], told["banned"]) == (
        1,
        1,
        3,
        0,
    )
    assert [one["reason"] for one in told["paused"]] == ["bad_key"]
    assert told["payments"]["count"] == 1
    assert told["payments"]["oldest_seconds"] == pytest.approx(10_800, abs=60)
    assert told["day"] == {
        "payments": 0, "paid_kopecks": 0, "jobs_completed": 2, "jobs_failed": 1,
        "sold_kopecks": 4000,
    }  # fmt: skip
    runs = {one["kind"]: (one["ok"], one["verified"]) for one in told["runs"]}
    assert runs == {"Backup": (True, True), "LedgerAudit": (False, False)}
    table = (await rei("status")).out
    for words in ("1 waiting", "PAUSED (provider: bad_key)", "1, the oldest for 3 h", "FAILED"):
        assert words in table
    await pool.execute("DELETE FROM payments")


@pytest.mark.usefixtures("busy")
async def test_jobs_are_summed_and_listed(rei: Rei) -> None:
    told = (await rei("jobs", "--user", "1", "-o", "json")).json
    sums = {one["status"]: (one["count"], one["price_kopecks"]) for one in told["sums"]}
    assert sums == {
        "completed": (1, 1000), "failed": (1, 1000), "processing": (1, 1000), "queued": (1, 1000),
    }  # fmt: skip
    assert [one["status"] for one in told["latest"]] == [
        "queued", "processing", "failed", "completed",
    ]  # fmt: skip
    assert len((await rei("jobs", "--limit", "2", "-o", "json")).json["latest"]) == 2
    table = (await rei("jobs")).out
    assert "failed: blocked" in table
    assert "[bold]markup[/] is no markup" in table


@pytest.mark.usefixtures("busy")
async def test_top_counts_what_was_captured(rei: Rei) -> None:
    told = (await rei("top", "-o", "json")).json
    assert [(one["user_id"], one["spent_kopecks"], one["jobs"]) for one in told] == [
        (2, 3000, 1),
        (1, 1000, 1),
    ]
    assert len((await rei("top", "--limit", "1", "-o", "json")).json) == 1
    assert "@boris" in (await rei("top")).out


@pytest.mark.usefixtures("busy")
async def test_a_customer_is_told_whole(rei: Rei) -> None:
    told = (await rei("user", "1", "--limit", "3", "-o", "json")).json
    assert told["balance_kopecks"] == 7000
    assert told["active_jobs"] == 2
    assert (told["paid_kopecks"], told["spent_kopecks"]) == (0, 1000)
    assert len(told["transfers"]) == 3
    unknown = await rei("user", "99")
    assert unknown.code == 1
    assert "no user 99" in unknown.err
    table = (await rei("user", "1")).out.replace("\u00a0", " ")
    for words in ("Customer 1", "70 ₽", "Ledger", "release", "operation gift-1"):
        assert words in table


async def test_payments_are_summed_and_listed(till: Till, rei: Rei) -> None:
    first = await till.topup("one")
    await till.pay(first)
    await till.check(first)  # or the notification was faster
    await till.topup("two", kopecks=30_000)
    await till.refund(first.id, kopecks=5_000)
    told = (await rei("payments", "-o", "json")).json
    sums = {one["status"]: (one["count"], one["total_kopecks"]) for one in told["sums"]}
    assert sums == {"pending": (1, 30_000), "succeeded": (1, 20_000)}
    assert (told["refunds"], told["refunded_kopecks"]) == (1, 5_000)
    lines = {one["id"]: one for one in told["latest"]}
    assert lines[str(first.id)]["refunded_kopecks"] == 5_000
    assert (await rei("payments", "--user", "7", "-o", "json")).json["latest"] == []
    assert str(first.id) in (await rei("payments")).out


async def test_an_empty_shop_has_reports_too(pool: Pool, rei: Rei) -> None:
    for word in ("status", "payments", "jobs", "top", "log"):
        assert (await rei(word)).code == 0
        assert (await rei(word, "-o", "json")).json is not None
