"""`rei run` as a process: exit codes, what is printed where, an end in order."""

from __future__ import annotations

import json

import pytest

from rei_core.db import Pool

from ..core.conftest import Shop
from .conftest import Run, manifest, whole
from .test_money_and_bans import adjustment

AUDIT = manifest("LedgerAudit", "nightly", schedule="0 3 * * *")


@pytest.mark.timeout(400)
async def test_a_table_for_people_json_for_programs_and_0(shop: Shop, process: Run) -> None:
    await shop.customer()
    ended = await process([adjustment(), AUDIT], stdin=True)
    assert ended.code == 0, ended.err
    said = ended.out.replace("\xa0", " ")
    for word in ("BalanceAdjustment", "nightly", "done", "500 ₽", "user 1 has 500 ₽ now"):
        assert word in said
    again = await process([adjustment()], "-o", "json")
    assert again.code == 0
    assert json.loads(again.out)[0]["state"] == "unchanged"
    assert again.err == ""


@pytest.mark.timeout(400)
async def test_violations_end_with_1(pool: Pool, process: Run) -> None:
    await Shop(pool).customer(balance_kopecks=1_000)
    await pool.execute("UPDATE balances SET balance_kopecks = balance_kopecks + 1")
    ended = await process([AUDIT, adjustment()])
    assert ended.code == 1
    assert "FAILED" in ended.out
    assert "1 violations of the ledger's invariants" in ended.out
    assert "balance_is_sum_of_transfers: user 1: balance 1001, transfers 1000" in ended.out
    assert "not run" in ended.out


@pytest.mark.timeout(400)
async def test_a_bad_manifest_ends_with_2_and_a_missing_setting_with_1(
    shop: Shop, process: Run, database_url: str
) -> None:
    await shop.customer()
    before = await whole(database_url)
    bad = await process([adjustment(), manifest("UserBan", userID=0, reason="r")])
    assert bad.code == 2
    assert "manifest.yaml: document 2, spec.userID: must be at least 1" in bad.err
    assert "Nothing was done" in bad.err
    assert bad.out == ""
    unset = await process([adjustment(), manifest("PaymentReconciliation", periodSeconds=600)])
    assert unset.code == 1
    assert "YOOKASSA_SHOP_ID: is not set" in unset.err
    assert await whole(database_url) == before
    away = await process(
        [adjustment()], REI_DATABASE_URL="postgresql://rei:geheim-0815@127.0.0.1:1/rei"
    )
    assert away.code == 1
    assert "REI_DATABASE_URL" in away.err
    assert away.out == ""
