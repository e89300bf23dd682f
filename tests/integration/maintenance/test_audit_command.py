"""`rei audit` as a person or a script has it: a table or JSON, and an exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

import pytest

from rei_core.db import Pool
from rei_core.ledger.audit import INVARIANTS

from ..core.conftest import Shop

RUN_SECONDS_MAX = 60


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


async def rei_audit(database_url: str, *words: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rei_core", "audit", *words,
        env={"REI_DATABASE_URL": database_url, "COLUMNS": "120"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(RUN_SECONDS_MAX):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_books_that_add_up(shop: Shop, database_url: str) -> None:
    await shop.customer(balance_kopecks=150_000)
    await shop.accept()
    ended = await rei_audit(database_url)
    assert ended.code == 0, ended.err
    for word in (*INVARIANTS, "held", "adjustments", "together"):
        assert word in ended.out
    assert "2 transfers examined: consistent" in ended.out
    assert "✗" not in ended.out
    told = json.loads((await rei_audit(database_url, "-o", "json")).out)
    assert told["consistent"] is True
    assert told["accounts_kopecks"] == {"adjustments": -150_000, "held": 1_000, "user": 149_000}
    assert told["violations"] == []
    assert set(told["violation_counts"]) == set(INVARIANTS)


async def test_books_that_do_not(pool: Pool, database_url: str) -> None:
    shop = Shop(pool)
    for user in range(1, 26):
        await shop.customer(user, balance_kopecks=1_000)
    await pool.execute("UPDATE balances SET balance_kopecks = balance_kopecks + 1")
    ended = await rei_audit(database_url)
    assert ended.code == 1
    assert "balance_is_sum_of_transfers: user 1: balance 1001, transfers 1000" in ended.out
    assert "and 5 more" in ended.out
    assert "INCONSISTENT" in ended.out
    as_json = await rei_audit(database_url, "--output", "json")
    assert as_json.code == 1
    told = json.loads(as_json.out)
    assert told["consistent"] is False
    assert told["violation_counts"]["balance_is_sum_of_transfers"] == 25
    assert len(told["violations"]) == 20
    assert told["violations"][0]["invariant"] == "balance_is_sum_of_transfers"


@pytest.mark.parametrize("output", ["table", "json"])
async def test_without_a_database_nothing_is_claimed(output: str) -> None:
    ended = await rei_audit("postgresql://rei:geheim@127.0.0.1:1/rei", "-o", output)
    assert ended.code == 1
    assert "REI_DATABASE_URL" in ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert "geheim" not in ended.err


async def test_an_old_schema_is_not_audited(empty_database_url: str) -> None:
    ended = await rei_audit(empty_database_url)
    assert ended.code == 1
    assert "rei migrate" in ended.err
    assert "consistent" not in ended.out
