"""What is old goes, what anybody still leans on stays, and the ledger misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import Pool, create_pool
from rei_core.jobs import end_queries, read_queries
from rei_core.jobs.model import Outcome as Answer
from rei_core.jobs.model import Output
from rei_core.maintenance.model import RunResult, Unrecorded
from rei_core.maintenance.resources.jobs import JobRetentionPolicySpec
from rei_core.maintenance.retention import queries
from rei_core.maintenance.retention.service import remove_old, sorts
from rei_core.maintenance.runs.service import Outcome, carry_out

from ..core.conftest import Shop
from ..money_models.profiles import PROFILE, SECONDS_MAX
from ..money_models.real_books import EMPTY
from .conftest import LOST, books, crash_at, key, no_crash, run_alone, store_output

Orders = Callable[..., Awaitable[list[int]]]

SPEC = JobRetentionPolicySpec(
    schedule="0 3 * * *",
    completed_days=90,
    failed_days=60,
    cancelled_days=30,
    outputs_days=30,
    updates_days=7,
    drafts_days=14,
    deliveries_days=45,
    runs_days=35,
    batch_size=2,
    pause_milliseconds=0,
)
PICTURE = Output(mime_type="image/png", width=1, height=1, data=b"png")
FINISHED_AGO = """
UPDATE jobs
SET created_at = now() - make_interval(days => $2 + 1),
    finished_at = now() - make_interval(days => $2)
WHERE id = $1
"""
DELIVERED_AGO = """
UPDATE deliveries
SET created_at = now() - make_interval(days => $2 + 1), status = 'delivered',
    finished_at = now() - make_interval(days => $2)
WHERE ref_id = $1::bigint::text
"""


async def remove(pool: Pool, spec: JobRetentionPolicySpec = SPEC) -> RunResult:
    return await run_alone(pool, lambda c: remove_old(c, spec, Unrecorded()))


async def work(connection: Any, progress: Any) -> Outcome:
    return Outcome(await remove_old(connection, SPEC, progress))


async def finish(pool: Pool, job_id: int, how: str, *, days_ago: int) -> None:
    """End a queued job, and let time pass; what was to be told about it has been."""
    async with pool.acquire() as connection:
        if how == "cancelled":
            assert await end_queries.cancel(connection, job_id, user_id=1)
        else:
            await connection.execute(
                "UPDATE jobs SET status = 'processing', attempt = 1, started_at = now(),"
                " lease_until = now() + interval '1 h' WHERE id = $1",
                job_id,
            )
            if how == "completed":
                assert await end_queries.complete(connection, job_id, attempt=1, output=PICTURE)
            else:
                assert await end_queries.fail(
                    connection, job_id, attempt=1, error_code="x", error_detail=""
                )
        await connection.execute(FINISHED_AGO, job_id, days_ago)
        await connection.execute(DELIVERED_AGO, job_id, 0)
        await connection.execute("UPDATE job_outputs SET data = NULL WHERE job_id = $1", job_id)


async def left(pool: Pool) -> list[int]:
    return [row["id"] for row in await pool.fetch("SELECT id FROM jobs ORDER BY id")]


@pytest.mark.parametrize(("how", "days"), [("completed", 90), ("failed", 60), ("cancelled", 30)])
async def test_finished_jobs_go_by_their_age_and_their_end(
    shop: Shop, pool: Pool, orders: Orders, how: str, days: int
) -> None:
    jobs = await orders(6)
    for job_id in jobs[:3]:
        await finish(pool, job_id, how, days_ago=days + 1)
    for job_id in jobs[3:5]:
        await finish(pool, job_id, how, days_ago=days - 1)
    balance, transfers = await shop.balance(), await pool.fetchval("SELECT count(*) FROM transfers")

    result = await remove(pool)

    assert (result.examined, result.changed, result.failed, result.amount_kopecks) == (3, 3, 0, 0)
    assert await left(pool) == jobs[3:]
    assert await shop.balance() == balance
    assert await pool.fetchval("SELECT count(*) FROM transfers") == transfers
    assert (await remove(pool)).changed == 0


async def test_history_shows_what_is_left(shop: Shop, pool: Pool, orders: Orders) -> None:
    jobs = await orders(3)
    await finish(pool, jobs[1], "completed", days_ago=100)
    await remove(pool)
    async with pool.acquire() as connection:
        shown = await read_queries.history(connection, 1)
        assert [job.id for job in shown] == [jobs[2], jobs[0]]
        assert await read_queries.find(connection, jobs[1]) is None
        assert await read_queries.output(connection, jobs[1]) is None


async def test_a_job_whose_draft_is_there_stays_so_that_nobody_pays_twice(
    shop: Shop, pool: Pool
) -> None:
    await shop.customer(balance_kopecks=5000)
    draft = await pool.fetchval(
        "INSERT INTO drafts (user_id, chat_id, source_key, model, aspect_ratio, image_size,"
        " created_at) VALUES (1, 1, 's', 'm', '1:1', '1K', now() - interval '1 year') RETURNING id"
    )
    first = await shop.accept(f"draft:{draft}")
    assert first.job_id is not None
    await finish(pool, first.job_id, "completed", days_ago=300)
    await remove(pool)
    assert await left(pool) == [first.job_id], "its draft has gone just now, and not before it"
    again = await shop.accept(f"draft:{draft}")
    assert (again.outcome, again.job_id) == (Answer.DUPLICATE, first.job_id)
    assert await pool.fetchval("SELECT count(*) FROM drafts") == 0
    await remove(pool)
    assert await left(pool) == []


@pytest.mark.parametrize(("how", "kind"), [("completed", "result"), ("failed", "job_failed")])
async def test_a_job_stays_while_something_about_it_waits_to_be_told(
    shop: Shop, pool: Pool, orders: Orders, how: str, kind: str
) -> None:
    [job_id] = await orders(1)
    await finish(pool, job_id, how, days_ago=300)
    await pool.execute(
        "UPDATE deliveries SET status = 'pending', finished_at = NULL,"
        " created_at = now() - interval '300 days' WHERE kind = $1", kind,
    )  # fmt: skip
    await pool.execute("UPDATE job_outputs SET data = 'png', stored_at = now() - interval '1 year'")
    assert (await remove(pool)).changed == 0
    assert await left(pool) == [job_id]
    if how == "completed":
        assert await pool.fetchval("SELECT data FROM job_outputs") == b"png"
    await pool.execute(DELIVERED_AGO, job_id, 0)
    await remove(pool)
    assert await left(pool) == []


async def test_a_job_that_does_not_add_up_stays_for_whoever_looks_into_it(
    pool: Pool, orders: Orders
) -> None:
    odd, even = await orders(2)
    for job_id in (odd, even):
        await finish(pool, job_id, "completed", days_ago=300)
    await pool.execute("UPDATE jobs SET price_kopecks = 999 WHERE id = $1", odd)
    assert (await remove(pool)).changed == 1
    assert await left(pool) == [odd]
    await pool.execute("UPDATE jobs SET price_kopecks = 1000 WHERE id = $1", odd)


async def test_old_bytes_go_and_the_file_id_stays(pool: Pool, orders: Orders) -> None:
    old, young = await orders(2)
    for job_id, days in ((old, 31), (young, 29)):
        await finish(pool, job_id, "completed", days_ago=days)
        await pool.execute("DELETE FROM job_outputs WHERE job_id = $1", job_id)
        await store_output(pool, job_id)
        await pool.execute(
            "UPDATE job_outputs SET photo_file_id = 'f', stored_at = now() - make_interval(days => $2)"
            " WHERE job_id = $1", job_id, days,
        )  # fmt: skip
    assert (await remove(pool)).changed == 1
    rows = await pool.fetch("SELECT job_id, data, photo_file_id FROM job_outputs ORDER BY job_id")
    assert [tuple(row) for row in rows] == [(old, None, "f"), (young, b"png", "f")]


OTHERS = {
    "telegram_updates": (
        (
            "INSERT INTO telegram_updates (update_id, received_at)"
            " SELECT n, now() - make_interval(days => $1) FROM generate_series($2::int, $2 + 4) AS n"
        ),
        7,
    ),
    "drafts": (
        (
            "INSERT INTO drafts (user_id, chat_id, source_key, model, aspect_ratio, image_size, created_at)"
            " SELECT 1, 1, n::text, 'm', '1:1', '1K', now() - make_interval(days => $1)"
            " FROM generate_series($2::int, $2 + 4) AS n"
        ),
        14,
    ),
    "deliveries": (
        (
            "INSERT INTO deliveries (kind, ref_id, user_id, chat_id, status, created_at, finished_at)"
            " SELECT 'original', n::text, 1, 1, 'delivered', now() - make_interval(days => $1 + 1),"
            " now() - make_interval(days => $1) FROM generate_series($2::int, $2 + 4) AS n"
        ),
        45,
    ),
    "maintenance_runs": (
        (
            "INSERT INTO maintenance_runs (kind, namespace, name, scheduled_for, status, owner,"
            " finished_at) SELECT 'K', 'd', 'n', now() - make_interval(days => $1, secs => -n),"
            " 'succeeded', 'o', now() - make_interval(days => $1) FROM generate_series($2::int, $2 + 4)"
            " AS n"
        ),
        35,
    ),
}


@pytest.mark.parametrize("table", OTHERS)
async def test_other_old_rows_go_by_age(shop: Shop, pool: Pool, table: str) -> None:
    await shop.customer()
    insert, days = OTHERS[table]
    await pool.execute(insert, days + 1, 1)
    await pool.execute(insert, days - 1, 100)
    assert (await remove(pool)).changed == 5
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 5


async def test_a_delivery_that_waits_stays_however_old(shop: Shop, pool: Pool) -> None:
    await shop.customer()
    await pool.execute(
        "INSERT INTO deliveries (kind, ref_id, user_id, chat_id, created_at)"
        " SELECT 'original', n::text, 1, 1, now() - interval '1 year' FROM generate_series(1, 7) AS n"
    )
    assert (await remove(pool)).changed == 0
    assert await pool.fetchval("SELECT count(*) FROM deliveries") == 7


async def test_the_latest_run_of_a_resource_stays_however_old(pool: Pool) -> None:
    await pool.execute(OTHERS["maintenance_runs"][0], 400, 1)
    assert (await remove(pool)).changed == 4
    rows = await pool.fetch("SELECT scheduled_for = (SELECT max(scheduled_for) FROM maintenance_runs)"
                            " AS latest FROM maintenance_runs")  # fmt: skip
    assert [row["latest"] for row in rows] == [True]


async def test_a_dry_run_counts_the_same_and_removes_nothing(pool: Pool, orders: Orders) -> None:
    for job_id in await orders(5):
        await finish(pool, job_id, "completed", days_ago=100)
    await pool.execute(OTHERS["telegram_updates"][0], 30, 1)
    before = await books(pool)
    counted = await remove(pool, SPEC.model_copy(update={"dry_run": True}))
    assert await books(pool) == before
    assert await remove(pool) == counted
    assert counted.changed == 10


async def test_time_that_is_up_leaves_the_rest_to_the_next_run(pool: Pool) -> None:
    await pool.execute(OTHERS["telegram_updates"][0], 30, 1)
    spec = SPEC.model_copy(update={"max_seconds_per_run": 0})
    result = await remove(pool, spec)
    assert result.changed == 0
    assert result.notes == ("time is up at updates: the rest waits for the next run",)


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_batch_is_larger_than_it_may_be(pool: Pool, orders: Orders, limit: int) -> None:
    for job_id in await orders(4):
        await finish(pool, job_id, "completed", days_ago=100)
    for sort in sorts(SPEC):
        async with pool.acquire() as connection:
            batch = await queries.remove_batch(
                connection, sort, after=queries.START, limit=limit, dry_run=False
            )
        assert batch.doomed <= limit
        if sort.what == "completed jobs":
            assert batch.doomed == limit


async def old_shop(shop: Shop, pool: Pool, orders: Orders) -> None:
    jobs = await orders(6)
    for number, job_id in enumerate(jobs):
        await finish(pool, job_id, ("completed", "failed", "cancelled")[number % 3], days_ago=100)
    await pool.execute(DELIVERED_AGO, jobs[0], 100)
    await pool.execute(DELIVERED_AGO, jobs[3], 100)
    await pool.execute(OTHERS["telegram_updates"][0], 30, 1)
    await pool.execute(OTHERS["drafts"][0], 30, 1)


@pytest.mark.parametrize(
    ("table", "nth"),
    [("jobs", nth) for nth in range(1, 7)]
    + [("telegram_updates", 1), ("telegram_updates", 4), ("drafts", 5), ("deliveries", 2)]
    + [("job_outputs", 2)]
    + [("maintenance_runs", nth) for nth in (1, 2, 5, 9, 12)],
)
async def test_a_crash_at_any_write_and_another_run_end_like_an_undisturbed_one(
    shop: Shop, pool: Pool, orders: Orders, table: str, nth: int
) -> None:
    await old_shop(shop, pool, orders)
    await crash_at(pool, table, nth=nth)
    with pytest.raises(LOST):
        await carry_out(pool, key(), owner="first", work=work)
    await no_crash(pool, table)
    await books(pool)
    await pool.execute(
        "UPDATE maintenance_runs SET lease_until = now() - interval '1 s' WHERE status = 'running'"
    )
    run = await carry_out(pool, key(), owner="second", work=work)
    found = await books(pool)
    assert (found["jobs"], found["drafts"], found["updates"], found["outputs"]) == ([], [], [], [])
    assert len(found["deliveries"]) == 2
    assert len(found["transfers"]) == 13
    assert run.result == RunResult(examined=18, changed=18)


async def test_two_runs_at_once_beside_new_orders_remove_each_row_once(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    for job_id in await orders(12):
        await finish(pool, job_id, "failed", days_ago=100)
    orders_to_come = asyncio.gather(*(shop.accept(f"new-{n}") for n in range(6)))
    first, second = await asyncio.gather(remove(pool), remove(pool))
    await orders_to_come
    assert len(await left(pool)) == 6
    assert first.changed + second.changed >= 12
    assert (await remove(pool)).changed == 0


# --- random states --------------------------------------------------------------------------------

JOBS = st.lists(
    st.tuples(
        st.sampled_from(["completed", "failed", "cancelled", "queued"]),
        st.integers(0, 120),
        st.booleans(),  # its draft is there
        st.booleans(),  # something is still to be told
    ),
    max_size=8,
)
KEPT_DAYS = {"completed": 90, "failed": 60, "cancelled": 30}


@pytest.mark.timeout(SECONDS_MAX)
def test_any_state_keeps_its_books(database_url: str) -> None:
    async def one(pool: Pool, jobs: list[tuple[str, int, bool, bool]]) -> None:
        await pool.execute(EMPTY)
        shop = Shop(pool)
        await shop.customer(balance_kopecks=100_000)
        stays: list[int] = []
        for number, (how, days, has_draft, waits) in enumerate(jobs):
            if has_draft:
                await pool.execute(
                    "INSERT INTO drafts (id, user_id, chat_id, source_key, model, aspect_ratio,"
                    " image_size) OVERRIDING SYSTEM VALUE"
                    " VALUES ($1::bigint, 1, 1, $1::bigint::text, 'm', '1:1', '1K')",
                    number,
                )
            answer = await shop.accept(f"draft:{number}")
            assert answer.job_id is not None
            told = how in {"completed", "failed"}
            if how != "queued":
                await finish(pool, answer.job_id, how, days_ago=days)
            if waits and told:
                await pool.execute(
                    "UPDATE deliveries SET status = 'pending', finished_at = NULL"
                    " WHERE ref_id = $1::bigint::text",
                    answer.job_id,
                )
            if how == "queued" or days < KEPT_DAYS[how] or has_draft or (waits and told):
                stays.append(answer.job_id)
        before = await books(pool)
        await remove(pool)
        after = await books(pool)
        assert await left(pool) == stays
        assert (before["transfers"], before["balances"]) == (after["transfers"], after["balances"])

    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(database_url, application="test", size_max=3))

        @PROFILE
        @given(jobs=JOBS)
        def always(jobs: list[tuple[str, int, bool, bool]]) -> None:
            runner.run(one(pool, jobs))

        try:
            always()
        finally:
            runner.run(pool.close())
