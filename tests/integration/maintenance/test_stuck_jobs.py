"""Jobs that hang end once, with their money back, whatever else happens to them at the time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import Pool, create_pool
from rei_core.jobs import claim_queries, end_queries
from rei_core.jobs.model import Output
from rei_core.maintenance.model import RunResult, Unrecorded
from rei_core.maintenance.resources.jobs import StuckJobPolicySpec
from rei_core.maintenance.runs.model import RunBusy, RunStatus
from rei_core.maintenance.runs.service import Outcome, carry_out
from rei_core.maintenance.stuck_jobs.service import end_stuck_jobs

from ..core.conftest import Shop
from ..money_models.profiles import PROFILE, SECONDS_MAX
from ..money_models.real_books import EMPTY
from .conftest import LOST, books, crash_at, key, no_crash, run_alone

Orders = Callable[..., Awaitable[list[int]]]

SPEC = StuckJobPolicySpec(period_seconds=60, timeout_seconds=600, batch_size=2)
PICTURE = Output(mime_type="image/png", width=1, height=1, data=b"png")
AGE = "UPDATE jobs SET started_at = now() - make_interval(secs => $2) WHERE id = ANY($1)"
LATE = "UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = ANY($1)"


async def end(pool: Pool, spec: StuckJobPolicySpec = SPEC) -> RunResult:
    return await run_alone(pool, lambda c: end_stuck_jobs(c, spec, Unrecorded()))


async def statuses(pool: Pool) -> dict[int, tuple[str, str | None]]:
    rows = await pool.fetch("SELECT id, status, error_code FROM jobs")
    return {row["id"]: (row["status"], row["error_code"]) for row in rows}


async def work(connection: Any, progress: Any) -> Outcome:
    return Outcome(await end_stuck_jobs(connection, SPEC, progress))


async def test_each_way_to_hang_ends_and_nothing_else(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    long, other_model, lapsed, lapsed_again, fresh, overdue, waiting = await orders(7)
    await pool.execute("UPDATE jobs SET model = 'slow' WHERE id = $1", other_model)
    await shop.claim(limit=5)
    await pool.execute(AGE, [long, other_model], 700)
    await pool.execute(
        "UPDATE jobs SET lease_until = now() - interval '1 s',"
        " attempts_max = CASE id WHEN $1 THEN 1 ELSE 2 END WHERE id IN ($1, $2)",
        lapsed, lapsed_again,
    )  # fmt: skip
    await pool.execute(LATE, [overdue])
    spec = SPEC.model_copy(update={"timeout_seconds_by_model": {"slow": 800}})

    result = await end(pool, spec)

    assert result == RunResult(examined=7, changed=3, amount_kopecks=3000)
    found = await statuses(pool)
    assert found[long] == found[lapsed] == ("failed", "timeout")
    assert found[overdue] == ("failed", "overdue")
    assert {found[other_model][0], found[lapsed_again][0], found[fresh][0]} == {"processing"}
    assert found[waiting][0] == "queued"
    assert await shop.balance() == 3000
    told = await pool.fetch("SELECT ref_id FROM deliveries WHERE kind = 'job_failed'")
    assert {int(row["ref_id"]) for row in told} == {long, lapsed, overdue}
    assert await pool.fetchval("SELECT active_jobs FROM balances WHERE user_id = 1") == 4


async def test_a_model_may_have_a_shorter_time(shop: Shop, pool: Pool, orders: Orders) -> None:
    quick, usual = await orders(2)
    await pool.execute("UPDATE jobs SET model = 'quick' WHERE id = $1", quick)
    await shop.claim(limit=2)
    await pool.execute(AGE, [quick, usual], 100)
    spec = SPEC.model_copy(update={"timeout_seconds_by_model": {"quick": 60}})
    assert (await end(pool, spec)).changed == 1
    assert (await statuses(pool))[quick] == ("failed", "timeout")


async def test_several_jobs_of_one_customer_in_a_batch_have_running_balances(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    await orders(3, price_kopecks=700)
    await orders(3, user_id=2, price_kopecks=900)
    await shop.claim(limit=6)
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    result = await end(pool, SPEC.model_copy(update={"batch_size": 100}))
    assert result.amount_kopecks == 3 * 700 + 3 * 900
    rows = await pool.fetch(
        "SELECT user_id, balance_after_kopecks FROM transfers WHERE kind = 'release' ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        (1, 700), (1, 1400), (1, 2100), (2, 900), (2, 1800), (2, 2700),
    ]  # fmt: skip


async def test_a_run_ends_no_more_than_it_may(shop: Shop, pool: Pool, orders: Orders) -> None:
    await orders(5)
    await shop.claim(limit=2)
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    await pool.execute("UPDATE jobs SET deadline_at = now() - interval '1 s'")
    spec = SPEC.model_copy(update={"max_per_run": 3})
    first = await end(pool, spec)
    assert (first.changed, first.amount_kopecks) == (3, 3000)
    assert "maxPerRun" in first.notes[0]
    assert await end(pool, spec) == RunResult(examined=2, changed=2, amount_kopecks=2000)


async def test_a_dry_run_changes_nothing(shop: Shop, pool: Pool, orders: Orders) -> None:
    await orders(3)
    await shop.claim(limit=2)
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    await pool.execute("UPDATE jobs SET deadline_at = now() - interval '1 s'")
    before = await books(pool)
    result = await end(pool, SPEC.model_copy(update={"dry_run": True}))
    assert (result.examined, result.changed, result.amount_kopecks) == (3, 3, 0)
    assert "30" in result.notes[0]
    assert await books(pool) == before


async def test_a_late_result_of_the_ended_attempt_changes_nothing(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    [job_id] = await orders(1)
    await shop.claim()
    await pool.execute(AGE, [job_id], 700)
    assert (await end(pool)).changed == 1
    before = await books(pool)
    async with pool.acquire() as connection:
        assert not await end_queries.complete(connection, job_id, attempt=1, output=PICTURE)
        assert not await end_queries.fail(
            connection, job_id, attempt=1, error_code="x", error_detail=""
        )
        assert not await claim_queries.retry_later(
            connection, job_id, attempt=1, delay_seconds=0, error_code="x", error_detail=""
        )
        assert await claim_queries.renew(connection, [(job_id, 1)], lease_seconds=30) == {}
    assert await books(pool) == before


async def test_a_job_that_is_locked_or_was_claimed_anew_is_passed_over(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    locked, anew, free = await orders(3)
    await shop.claim(limit=3)
    await pool.execute(AGE, [locked, anew, free], 700)
    async with pool.acquire() as person, person.transaction(), pool.acquire() as connection:
        await person.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", locked)
        await pool.execute("UPDATE jobs SET started_at = now() WHERE id = $1", anew)
        async with asyncio.timeout(5):
            ended = await end_queries.fail_stuck(
                connection,
                [locked, anew, free],
                timeout_seconds=600,
                timeout_seconds_by_model={},
            )
    assert [job.id for job in ended] == [free]


async def test_one_customer_with_broken_books_keeps_nobody_else_waiting(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    broken = await orders(1)
    others = await orders(3, user_id=2)
    await shop.claim(limit=4)
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    await pool.execute("UPDATE balances SET active_jobs = 0 WHERE user_id = 1")
    result = await end(pool, SPEC.model_copy(update={"batch_size": 100}))
    assert (result.changed, result.failed, result.amount_kopecks) == (3, 1, 3000)
    assert result.notes == (
        f"job {broken[0]} could not be ended: active_jobs_not_negative. Look at `rei audit`",
    )
    found = await statuses(pool)
    assert {found[job_id] for job_id in others} == {("failed", "timeout")}
    await pool.execute("UPDATE balances SET active_jobs = 1 WHERE user_id = 1")
    assert (await end(pool)).changed == 1


async def test_two_runs_and_the_workers_at_once_end_each_job_once(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    jobs = [job for user in (1, 2, 3, 4) for job in await orders(8, user_id=user)]
    await shop.claim(limit=24)
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    await pool.execute("UPDATE jobs SET deadline_at = now() - interval '1 s'")
    await pool.execute(
        "UPDATE jobs SET attempts_max = 1, lease_until = now() - interval '1 s'"
        " WHERE status = 'processing' AND id % 3 = 0"
    )

    async def complete(job_id: int) -> int:
        async with pool.acquire() as connection:
            done = await end_queries.complete(connection, job_id, attempt=1, output=PICTURE)
        return int(done)

    async def cancel(job_id: int) -> int:
        async with pool.acquire() as connection:
            row = await connection.fetchval("SELECT user_id FROM jobs WHERE id = $1", job_id)
            return int(await end_queries.cancel(connection, job_id, user_id=row) is not None)

    async def sweep() -> int:
        async with pool.acquire() as connection:
            lapsed = await end_queries.fail_lapsed(connection, limit=5)
            return len(lapsed) + len(await end_queries.fail_overdue(connection, limit=5))

    async def policy() -> int:
        return (await end(pool, SPEC.model_copy(update={"batch_size": 3}))).changed

    ended = await asyncio.gather(
        policy(), policy(), sweep(), sweep(),
        *(complete(job) for job in jobs[::4]), *(cancel(job) for job in jobs[-8::2]), policy(),
    )  # fmt: skip
    assert sum(ended) + (await end(pool)).changed == len(jobs)
    assert await pool.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NULL") == 0
    assert await shop.transfers("capture") + await shop.transfers("release") == len(jobs)


async def stuck_shop(shop: Shop, pool: Pool, orders: Orders) -> None:
    await orders(3)
    await orders(3, user_id=2, price_kopecks=500)
    await shop.claim(limit=4)
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    await pool.execute("UPDATE jobs SET deadline_at = now() - interval '1 s'")


WRITES = {"jobs": 6, "balances": 4, "transfers": 6, "deliveries": 6}


@pytest.mark.parametrize(
    ("table", "nth"),
    [(table, nth) for table, rows in WRITES.items() for nth in range(1, rows + 1)]
    + [("maintenance_runs", nth) for nth in range(1, 6)],
)
async def test_a_crash_at_any_write_and_another_run_end_like_an_undisturbed_one(
    shop: Shop, pool: Pool, orders: Orders, table: str, nth: int
) -> None:
    await stuck_shop(shop, pool, orders)
    await crash_at(pool, table, nth=nth)
    with pytest.raises(LOST):
        await carry_out(pool, key(), owner="first", work=work)
    await no_crash(pool, table)
    await books(pool)
    await pool.execute(
        "UPDATE maintenance_runs SET lease_until = now() - interval '1 s' WHERE status = 'running'"
    )

    run = await carry_out(pool, key(), owner="second", work=work)

    assert run.status is RunStatus.SUCCEEDED
    assert run.result == RunResult(examined=6, changed=6, amount_kopecks=4500)
    assert [await shop.balance(1), await shop.balance(2)] == [3000, 1500]
    assert await shop.transfers("release") == 6
    found = await books(pool)
    assert [row[1] for row in found["jobs"]] == ["failed"] * 6
    assert len(found["deliveries"]) == 6


async def test_two_processes_at_one_run_are_one_run(shop: Shop, pool: Pool, orders: Orders) -> None:
    await stuck_shop(shop, pool, orders)
    ends = await asyncio.gather(
        *(carry_out(pool, key(), owner=f"o{n}", work=work) for n in range(4)),
        return_exceptions=True,
    )
    assert all(not isinstance(one, BaseException) or isinstance(one, RunBusy) for one in ends)
    run = await carry_out(pool, key(), owner="later", work=work)
    assert run.result == RunResult(examined=6, changed=6, amount_kopecks=4500)
    assert await pool.fetchval("SELECT count(*) FROM maintenance_runs") == 1


# --- random states --------------------------------------------------------------------------------

JOB = st.tuples(
    st.integers(1, 3),  # whose
    st.integers(1, 2_000),  # price
    st.sampled_from(["queued", "overdue", "fresh", "old", "lapsed", "lapsed, last", "cancelled"]),
    st.sampled_from(["m", "slow"]),
)
STATES = st.lists(JOB, min_size=1, max_size=12)

QUEUED = "UPDATE jobs SET model = $2 WHERE id = $1"
OVERDUE = "UPDATE jobs SET model = $2, deadline_at = now() - interval '1 s' WHERE id = $1"
CLAIMED = """
UPDATE jobs
SET model = $2, status = 'processing', attempt = 1, attempts_max = $3,
    started_at = now() - make_interval(secs => $4), lease_until = now() + make_interval(secs => $5)
WHERE id = $1
"""
# ($3 attempts at most, $4 seconds since it was claimed, $5 seconds of its lease that are left)
MAKE: dict[str, tuple[str, tuple[int, ...]]] = {
    "queued": (QUEUED, ()),
    "overdue": (OVERDUE, ()),
    "fresh": (CLAIMED, (2, 0, 3600)),
    "old": (CLAIMED, (2, 700, 3600)),
    "lapsed": (CLAIMED, (2, 60, -1)),
    "lapsed, last": (CLAIMED, (1, 60, -1)),
}


def hangs(how: str, model: str) -> bool:
    return how in {"overdue", "lapsed, last"} or (how == "old" and model == "m")


@pytest.mark.timeout(SECONDS_MAX)
def test_any_state_ends_as_it_should(database_url: str) -> None:
    spec = SPEC.model_copy(update={"timeout_seconds_by_model": {"slow": 800}, "batch_size": 3})

    async def one(pool: Pool, jobs: list[tuple[int, int, str, str]]) -> None:
        await pool.execute(EMPTY)
        shop = Shop(pool)
        for user in (1, 2, 3):
            await shop.customer(user, balance_kopecks=100_000)
        ids: list[int] = []
        for number, (user, price, how, model) in enumerate(jobs):
            answer = await shop.accept(f"o{number}", user_id=user, price_kopecks=price)
            assert answer.job_id is not None
            ids.append(answer.job_id)
            if how == "cancelled":
                async with pool.acquire() as connection:
                    await end_queries.cancel(connection, answer.job_id, user_id=user)
            else:
                sql, more = MAKE[how]
                await pool.execute(sql, answer.job_id, model, *more)
        await books(pool)
        before = {user: await shop.balance(user) for user in (1, 2, 3)}

        result = await end(pool, spec)

        stuck = [job for job in jobs if hangs(job[2], job[3])]
        assert (result.changed, result.failed) == (len(stuck), 0)
        assert result.amount_kopecks == sum(price for _, price, _, _ in stuck)
        for user in (1, 2, 3):
            back = sum(price for owner, price, _, _ in stuck if owner == user)
            assert await shop.balance(user) == before[user] + back
        found = await statuses(pool)
        for job_id, (_, _, how, model) in zip(ids, jobs, strict=True):
            assert (found[job_id][0] == "failed") == hangs(how, model)
        await books(pool)
        assert (await end(pool, spec)).changed == 0

    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(database_url, application="test", size_max=3))

        @PROFILE
        @given(jobs=STATES)
        def always(jobs: list[tuple[int, int, str, str]]) -> None:
            runner.run(one(pool, jobs))

        try:
            always()
        finally:
            runner.run(pool.close())


async def test_a_large_batch_is_not_compared_pair_by_pair(
    shop: Shop, pool: Pool, orders: Orders
) -> None:
    """The planner expects a handful of rows, whatever the batch: then it joins by looking at each
    pair, if it is let. A thousand jobs are a million pairs, twice."""
    jobs = [job for user in range(1, 61) for job in await orders(1, user_id=user)]
    await shop.claim(limit=len(jobs))
    await pool.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {end_queries.FAIL_STUCK}"

    [[plan]] = await pool.fetch(sql, jobs, 600.0, {})

    def pairs(node: dict[str, Any]) -> float:
        mine = node.get("Rows Removed by Join Filter", 0) * node.get("Actual Loops", 1)
        return float(mine) + sum(pairs(child) for child in node.get("Plans", ()))

    assert await pool.fetchval("SELECT count(*) FROM jobs WHERE status = 'failed'") == len(jobs)
    assert pairs(json.loads(plan)[0]["Plan"]) < len(jobs)
