"""Each kind by hand on a real database: what it does, what a dry run says, and that it changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy.engine import make_url

from rei_core.db import Pool
from rei_core.ledger.audit import audit
from rei_core.maintenance.model import Progress
from rei_core.maintenance.resources import LedgerAudit
from rei_core.maintenance.runs import queries as runs
from rei_core.maintenance.runs.model import RunBusy, RunKey
from rei_core.maintenance.runs.service import Outcome, carry_out
from rei_core.payments import service
from rei_core.payments.yookassa import YooKassaClient
from rei_operator.by_hand.work import BY_HAND, key_by_hand
from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings

from ..core.conftest import Shop
from .conftest import Here, Json, manifest, whole
from .test_money_and_bans import BAN, adjustment

STUCK = manifest("StuckJobPolicy", "stuck", periodSeconds=60)
AUDIT = manifest("LedgerAudit", "nightly", schedule="0 3 * * *")
RETENTION = manifest("JobRetentionPolicy", "old", schedule="0 4 * * *", pauseMilliseconds=0)
RECONCILIATION = manifest("PaymentReconciliation", "payments", periodSeconds=600)


@pytest.fixture
async def yookassa(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """The stand-in, and the settings that lead to it. It notifies nobody."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("YOOKASSA_SHOP_ID", "100500")
    monkeypatch.setenv("YOOKASSA_SECRET_KEY", "test_sandbox_secret_key")
    async with running(SandboxSettings(port=0)) as server:
        monkeypatch.setenv("YOOKASSA_API_URL", f"{server.url}/yookassa/v3")
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


def volume(folder: Path) -> Json:
    return {"volume": {"claimName": "backups", "path": str(folder)}}


def backup(folder: Path) -> Json:
    return manifest("Backup", "look", storage=volume(folder), verification="Checksum")


def schedule(folder: Path) -> Json:
    return manifest(
        "BackupSchedule", "nightly", schedule="0 3 * * *", storage=volume(folder),
        verification="Checksum", retention={"maxAgeDays": 1, "minVerified": 1},
    )  # fmt: skip


def restore(folder: Path, backup_id: str, name: str = "back", **where: object) -> Json:
    return manifest("Restore", name, stored={"storage": volume(folder), "id": backup_id}, **where)


async def hanging_jobs(shop: Shop) -> None:
    await shop.customer(balance_kopecks=3_000)
    for number in range(3):
        await shop.accept(f"order-{number}")
    await shop.claim(limit=2)
    await shop.pool.execute(
        "UPDATE jobs SET started_at = now() - interval '1 hour' WHERE status = 'processing'"
    )


async def old_rows(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO telegram_updates (update_id, received_at)"
        " SELECT n, now() - interval '30 days' FROM generate_series(1, 7) AS n"
    )


@asynccontextmanager
async def yookassa_client(server: Running) -> AsyncIterator[YooKassaClient]:
    client = YooKassaClient(
        shop_id="100500",
        secret_key="test_sandbox_secret_key",
        base_url=f"{server.url}/yookassa/v3",
    )
    try:
        yield client
    finally:
        await client.aclose()


async def pay(server: Running, provider_payment_id: str) -> None:
    """What the payer does on the pay page."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as browser:
        answer = await browser.post(f"/pay/{provider_payment_id}", data={"action": "pay"})
        assert answer.status_code < 400


async def paid_topup(pool: Pool, server: Running) -> None:
    """A top-up that was paid, and whose notification never came."""
    async with yookassa_client(server) as client:
        payment = await service.start_topup(
            pool, client, user_id=1, chat_id=1, amount_kopecks=20_000, request_key="k",
            terms=service.TopUpTerms(return_url="https://t.me/rei", description="Top-up"),
        )  # fmt: skip
    assert payment.provider_payment_id is not None
    await pay(server, payment.provider_payment_id)
    await pool.execute("UPDATE payments SET created_at = now() - interval '1 hour'")


async def test_what_recurs_runs_once_each_time_and_writes_its_run_down(
    shop: Shop, pool: Pool, run: Here, yookassa: Running
) -> None:
    await hanging_jobs(shop)
    await paid_topup(pool, yookassa)
    await old_rows(pool)
    ended = await run([STUCK, RECONCILIATION, RETENTION, AUDIT])
    assert [one["state"] for one in ended] == ["done"] * 4, ended
    stuck, payments, old, _ = ended
    assert (stuck["changed"], stuck["amount_kopecks"]) == (2, 2_000)
    assert (payments["changed"], payments["amount_kopecks"]) == (1, 20_000)
    assert old["changed"] == 7
    assert await shop.balance() == 2_000 + 20_000
    again = await run([STUCK, RECONCILIATION, RETENTION, AUDIT])
    assert [one["changed"] for one in again] == [0, 0, 0, 0]
    rows = await pool.fetch("SELECT kind, namespace, status FROM maintenance_runs ORDER BY id")
    assert [row["kind"] for row in rows][:4] == [
        "StuckJobPolicy", "PaymentReconciliation", "JobRetentionPolicy", "LedgerAudit",
    ]  # fmt: skip
    assert len(rows) == 8
    assert {(row["namespace"], row["status"]) for row in rows} == {
        (f"{BY_HAND}default", "succeeded")
    }


async def test_a_broken_row_is_named_and_the_others_are_refunded(
    shop: Shop, pool: Pool, run: Here
) -> None:
    await hanging_jobs(shop)
    await shop.customer(2, balance_kopecks=1_000)
    await shop.accept("other", user_id=2)
    await pool.execute("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE user_id = 2")
    await pool.execute("UPDATE balances SET active_jobs = 0 WHERE user_id = 2")
    [ended] = await run([STUCK])
    assert (ended["state"], ended["changed"], ended["failed"]) == ("failed", 2, 1)
    assert "could not be ended: active_jobs_not_negative" in ended["notes"][0]
    assert await shop.balance() == 2_000
    await pool.execute("UPDATE balances SET active_jobs = 1 WHERE user_id = 2")
    assert (await run([STUCK]))[0]["state"] == "done"


async def test_the_operators_runs_are_neither_seen_nor_overtaken(pool: Pool, run: Here) -> None:
    resource = LedgerAudit.of(AUDIT)
    theirs = RunKey(*resource.key, datetime(2026, 11, 24, 3, tzinfo=UTC))
    async with pool.acquire() as connection, runs.only_one(connection, theirs):
        begun = await runs.begin(connection, theirs, owner="operator", lease_seconds=600)
        assert begun is not None
        [ended] = await run([AUDIT])
        assert ended["state"] == "failed"
        assert "is being run by another process" in ended["error"]
        assert await pool.fetchval("SELECT count(*) FROM maintenance_runs") == 1
        await runs.renew(connection, begun, lease_seconds=-1)
    assert (await run([AUDIT]))[0]["state"] == "done"
    async with pool.acquire() as connection:
        # Theirs is still theirs, to be taken over; and ours is not in their list.
        kind, namespace, name = resource.key
        latest = await runs.latest(connection, kind=kind, namespace=namespace, name=name, limit=9)
        assert [one.key for one in latest] == [theirs]
        assert latest[0].finished_at is None


async def test_while_one_runs_by_hand_the_operator_waits(
    pool: Pool, run: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = LedgerAudit.of(AUDIT)
    seen: list[type[BaseException]] = []

    async def nothing(connection: object, progress: Progress) -> Outcome:
        del connection
        return Outcome(progress.result)

    async def meddling(connection: asyncpg.Connection[asyncpg.Record]) -> object:
        try:
            await carry_out(pool, RunKey(*resource.key, datetime.now(UTC)), owner="o", work=nothing)
        except RunBusy as error:
            seen.append(type(error))
        return await audit(connection)

    monkeypatch.setattr("rei_operator.procedures.audit", meddling)
    assert (await run([AUDIT]))[0]["state"] == "done"
    assert seen == [RunBusy]


def test_a_key_by_hand_is_none_of_kubernetes() -> None:
    key = key_by_hand("LedgerAudit", LedgerAudit.of(AUDIT), datetime.now(UTC))
    assert key.namespace == "by-hand/default"


@pytest.mark.timeout(400)
async def test_backups_are_taken_each_time_pruned_and_restored_once(
    shop: Shop, run: Here, folder: Path, database_url: str, yookassa: Running
) -> None:
    await shop.customer(balance_kopecks=1_000)
    [first] = await run([backup(folder)])
    assert (first["state"], first["changed"]) == ("done", 1), first
    backup_id = first["detail"]["backup_id"]
    assert first["detail"]["verified"] == "Checksum"
    [second] = await run([schedule(folder)])
    assert second["state"] == "done", second
    assert second["detail"]["retention"]["verified_backups"] == 2
    assert len(list(folder.iterdir())) == 2

    live = make_url(database_url).database
    beside = restore(folder, backup_id, targetDatabase=f"{live}_copy")
    try:
        assert (await run([beside]))[0]["state"] == "done"
        assert (await run([beside], dry_run=True))[0]["state"] == "unchanged"
        other = restore(folder, backup_id, name="other", targetDatabase=f"{live}_copy")
        for dry_run in (True, False):
            [refused] = await run([other], dry_run=dry_run)
            assert refused["state"] == "failed"
            assert "is not empty" in refused["error"]

        in_place = restore(folder, backup_id, name="in-place", inPlace={"confirmDatabase": live})
        [ended] = await run([in_place])
        assert ended["state"] == "done", ended
        kept = ended["detail"]["kept_as"]
        assert kept.startswith(f"{live}_before_")
        await execute(database_url, "UPDATE users SET first_name = 'later'")
        [again] = await run([in_place])
        assert again["detail"]["kept_as"] == kept
        assert await fetchval(database_url, "SELECT first_name FROM users") == "later"
        assert await fetchval(database_url, "SELECT balance_kopecks FROM balances") == 1_000
        await execute(database_url, f"DROP DATABASE {kept} WITH (FORCE)")
    finally:
        await execute(database_url, f"DROP DATABASE IF EXISTS {live}_copy WITH (FORCE)")


@pytest.mark.timeout(400)
async def test_a_dry_run_of_every_kind_says_what_it_would_do_and_changes_nothing(
    shop: Shop, run: Here, folder: Path, database_url: str, yookassa: Running
) -> None:
    await hanging_jobs(shop)
    await paid_topup(shop.pool, yookassa)
    await old_rows(shop.pool)
    [taken] = await run([backup(folder)])
    backup_id = taken["detail"]["backup_id"]
    live = make_url(database_url).database
    documents = [
        STUCK, RECONCILIATION, RETENTION, AUDIT, backup(folder), schedule(folder),
        restore(folder, backup_id, targetDatabase=f"{live}_never"),
        restore(folder, backup_id, name="in-place", inPlace={"confirmDatabase": live}),
        adjustment(), BAN,
    ]  # fmt: skip
    before, files = await whole(database_url), sorted(folder.rglob("*"))
    # Only ours: other tests make and drop theirs on the same server.
    ours = f"datname ~ '{live}|{backup_id.rpartition('-')[2]}'"
    databases = await fetchval(database_url, f"SELECT count(*) FROM pg_database WHERE {ours}")
    ended = await run(documents, dry_run=True)
    assert await whole(database_url) == before
    assert sorted(folder.rglob("*")) == files
    after = await fetchval(database_url, f"SELECT count(*) FROM pg_database WHERE {ours}")
    assert after == databases

    assert [one["state"] for one in ended] == ["previewed"] * 3 + ["done"] + ["previewed"] * 6, (
        ended
    )
    assert [one["changed"] for one in ended] == [2, 1, 7, 0, 1, 1, 1, 1, 1, 1]
    assert [one["amount_kopecks"] for one in ended] == [0] * 10
    said = [" ".join([*one["notes"], *one["lines"]]).replace("\xa0", " ") for one in ended]
    for text, words in zip(
        said,
        [
            "2 jobs would end, 20 ₽ would go back",
            "200 ₽ would be credited",
            "",
            "accounts:",
            "would be backed up to",
            "0 of those that lie there now would be deleted",
            f"into the new database {live}_never",
            f"in the place of {live}",
            "500 ₽ would move, user 1 would have 500 ₽",
            "user 1 cannot order",
        ],
        strict=True,
    ):
        assert words in text
    [wrong] = await run(
        [restore(folder, backup_id, inPlace={"confirmDatabase": "another"})], dry_run=True
    )
    assert wrong["state"] == "failed"
    assert f"the database is called '{live}'" in wrong["error"]


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def fetchval(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_a_dry_run_of_a_reconciliation_counts_what_the_run_then_does(
    shop: Shop, run: Here, database_url: str, yookassa: Running
) -> None:
    await shop.customer()
    await paid_topup(shop.pool, yookassa)
    async with yookassa_client(yookassa) as client:
        # Paid for nobody here; and one of ours that was refunded in the merchant's profile.
        stranger = await client.create(
            idempotence_key="s", amount_kopecks=7_700, description="?",
            return_url="https://t.me/rei", metadata={},
        )  # fmt: skip
        await pay(yookassa, stranger.id)
        assert (await run([RECONCILIATION]))[0]["amount_kopecks"] == 20_000
        provider_id = await shop.pool.fetchval("SELECT provider_payment_id FROM payments")
        await client.refund(
            provider_id, idempotence_key="r", amount_kopecks=5_000, description="by hand"
        )
    before = await whole(database_url)
    [seen] = await run([RECONCILIATION], dry_run=True)
    assert await whole(database_url) == before
    notes = " ".join(seen["notes"]).replace("\xa0", " ")
    assert seen["changed"] == 1
    assert "refunds of 50 ₽ that YooKassa has carried out" in notes
    assert "1 succeeded payments are unknown here" in notes
    [done] = await run([RECONCILIATION])
    assert (done["changed"], done["amount_kopecks"]) == (1, -5_000)
    assert any(line.startswith("unknown payment") for line in done["lines"])
    assert await shop.balance() == 15_000
