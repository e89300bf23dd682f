"""The sums of the ledger are whole, however and whenever they are read."""

from __future__ import annotations

import pytest

from rei_core.db import Pool
from rei_core.ledger import turnover
from rei_core.ledger.turnover import Moved, Sums, Turnover, read_turnover

from .conftest import Shop

TRANSFER = """
INSERT INTO transfers (id, kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks, created_at)
OVERRIDING SYSTEM VALUE
VALUES ($1, 'topup', 'payment', ($1::bigint)::text, 1, 'payments', 'user', $2, 0,
        now() - make_interval(secs => $3))
"""
OLD, NEW = 3600.0, 1.0
NOTHING = Sums()


async def book(pool: Pool, transfer_id: int, kopecks: int, age_seconds: float) -> None:
    await pool.execute(TRANSFER, transfer_id, kopecks, age_seconds)


async def read(pool: Pool, sums: Sums = NOTHING, *, page: int = 1000) -> Turnover:
    async with pool.acquire() as connection:
        return await read_turnover(connection, sums, page=page)


async def test_every_kind_is_summed(shop: Shop, pool: Pool) -> None:
    await shop.customer(balance_kopecks=5000)
    await shop.accept("a")
    read_once = await read(pool)
    assert read_once.whole
    assert read_once.moved == {"adjustment_credit": Moved(1, 5000), "hold": Moved(1, 1000)}


async def test_an_empty_ledger_has_moved_nothing(pool: Pool) -> None:
    assert await read(pool) == Turnover({}, Sums(), whole=True)


@pytest.mark.usefixtures("customer")
async def test_what_appears_below_a_transfer_that_was_read_is_counted(pool: Pool) -> None:
    """Its transaction had taken the id earlier, and ended later."""
    await book(pool, 1, 100, OLD)
    await book(pool, 3, 300, NEW)
    first = await read(pool)
    await book(pool, 2, 200, NEW)
    second = await read(pool, first.closed)
    assert first.moved == {"topup": Moved(2, 400)}
    assert second.moved == {"topup": Moved(3, 600)}


@pytest.mark.usefixtures("customer")
async def test_sums_close_below_the_first_that_may_have_company(pool: Pool) -> None:
    """A younger transfer may have the lower id: then nothing above it is closed, however old."""
    for transfer_id, age in ((1, OLD), (2, NEW), (3, OLD)):
        await book(pool, transfer_id, 100, age)
    assert (await read(pool)).closed == Sums(1, {"topup": Moved(1, 100)})


@pytest.mark.usefixtures("customer")
async def test_page_by_page_it_comes_to_the_same(pool: Pool) -> None:
    for transfer_id in range(1, 8):
        await book(pool, transfer_id, 100, OLD)
    sums, pages = Sums(), 0
    while not (part := await read(pool, sums, page=3)).whole:
        sums, pages = part.closed, pages + 1
    assert pages == 2
    assert part.moved == {"topup": Moved(7, 700)}


@pytest.mark.usefixtures("customer")
async def test_more_new_transfers_than_a_page_has_are_read_all_the_same(pool: Pool) -> None:
    for transfer_id in range(1, 8):
        await book(pool, transfer_id, 100, NEW)
    part = await read(pool, page=2)
    assert part.whole
    assert part.moved == {"topup": Moved(7, 700)}
    assert part.closed.moved == {}


@pytest.fixture
async def customer(pool: Pool) -> None:
    await pool.execute("INSERT INTO users (id, first_name) VALUES (1, 'A')")


@pytest.mark.usefixtures("customer")
async def test_only_what_is_new_is_read_again(pool: Pool) -> None:
    """By the primary key: a large ledger is not read every few seconds."""
    await pool.execute(
        """
        INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                               amount_kopecks, balance_after_kopecks)
        SELECT 'topup', 'payment', n::text, 1, 'payments', 'user', 1, 0
        FROM generate_series(1, 20000) AS n
        """
    )
    await pool.execute("ANALYZE transfers")
    plan = await pool.fetch(f"EXPLAIN {turnover.READ}", 19_990, 1000, 300.0)
    text = "\n".join(row[0] for row in plan)
    assert "transfers_pkey" in text, text
