"""The queue as Prometheus sees it: by PostgreSQL, and absent when that is away."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import structlog

from rei_core.db import Connection, Pool
from rei_core.jobs.model import QueueState
from rei_core.jobs.read_queries import queue_state
from rei_core.ledger.service import adjust
from rei_operator import queue_watch
from rei_operator.books_watch import BooksWatch
from rei_operator.metrics import Metrics
from rei_operator.queue_watch import watch_queue

JOBS = """
INSERT INTO jobs (user_id, idempotency_key, status, model, prompt, aspect_ratio, image_size,
                  price_kopecks, attempts_max, deadline_at, chat_id, created_at, started_at,
                  finished_at, lease_until)
VALUES (7, $1, $2, 'm', 'p', '1:1', '1K', 1, 2, now(), 7,
        now() - make_interval(secs => $3), now() - make_interval(secs => $4),
        CASE WHEN $2 = 'completed' THEN now() - make_interval(secs => $5) END,
        CASE WHEN $2 = 'processing' THEN now() END)
"""


async def add_job(pool: Pool, key: str, status: str, *ages: float) -> None:
    await pool.execute(JOBS, key, status, *ages)


@pytest.fixture
async def with_user(pool: Pool) -> Pool:
    await pool.execute("INSERT INTO users (id, first_name) VALUES (7, 'A')")
    return pool


async def test_an_empty_queue_has_no_mean_and_no_age(pool: Pool) -> None:
    async with pool.acquire() as connection:
        assert await queue_state(connection) == QueueState(
            queued=0,
            due=0,
            retrying=0,
            processing=0,
            lapsed=0,
            oldest_queued_seconds=0.0,
            oldest_at_work_seconds=0.0,
            mean_seconds=None,
            held_kopecks=0,
        )


async def test_the_queue_is_counted(with_user: Pool) -> None:
    await add_job(with_user, "a", "queued", 100, 0, 0)
    await add_job(with_user, "b", "queued", 40, 0, 0)
    await add_job(with_user, "c", "processing", 300, 20, 0)
    await add_job(with_user, "d", "completed", 300, 70, 60)
    await add_job(with_user, "e", "completed", 300, 90, 60)
    await add_job(with_user, "long-ago", "completed", 9000, 9000, 8000)
    async with with_user.acquire() as connection:
        queue = await queue_state(connection)
    assert (queue.queued, queue.processing) == (2, 1)
    assert queue.oldest_queued_seconds == pytest.approx(100, abs=30)
    assert queue.mean_seconds == pytest.approx(20, abs=0.1)


async def test_what_no_worker_could_take_now_is_not_due(with_user: Pool) -> None:
    async def due(pool: Pool) -> int:
        async with pool.acquire() as connection:
            return (await queue_state(connection)).due

    for key in ("a", "b", "c"):
        await add_job(with_user, key, "queued", 1, 0, 0)
    await with_user.execute("UPDATE jobs SET model = 'other' WHERE idempotency_key = 'b'")
    await with_user.execute(
        "UPDATE jobs SET run_after = now() + interval '1 hour' WHERE idempotency_key = 'c'"
    )
    assert await due(with_user) == 2
    await with_user.execute("INSERT INTO circuits (name, opened_at) VALUES ('model:other', now())")
    assert await due(with_user) == 1
    await with_user.execute("INSERT INTO circuits (name, opened_at) VALUES ('provider', now())")
    assert await due(with_user) == 0
    await with_user.execute("UPDATE circuits SET opened_at = NULL")
    assert await due(with_user) == 2


async def test_without_the_database_the_queue_is_absent_rather_than_old(database_url: str) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    metrics = Metrics()
    task = asyncio.create_task(watch_queue(pool, metrics, period_seconds=0.01))
    try:
        async with asyncio.timeout(60):
            while b"rei_queue_queued" not in metrics.exposition(pool):  # noqa: ASYNC110 - only a look tells
                await asyncio.sleep(0.01)
            await pool.close()
            while b"rei_queue_queued" in metrics.exposition(pool):  # noqa: ASYNC110 - only a look tells
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


async def test_lapsed_leases_and_further_attempts_are_counted(with_user: Pool) -> None:
    await add_job(with_user, "at-work", "processing", 300, 20, 0)
    await add_job(with_user, "lapsed", "processing", 300, 200, 0)
    await add_job(with_user, "again", "queued", 10, 0, 0)
    await add_job(with_user, "new", "queued", 10, 0, 0)
    await with_user.execute(
        """
        UPDATE jobs SET lease_until = now() + CASE idempotency_key
            WHEN 'at-work' THEN interval '1 hour' ELSE interval '-1 second' END
        WHERE status = 'processing'
        """
    )
    await with_user.execute("UPDATE jobs SET attempt = 1 WHERE idempotency_key = 'again'")
    async with with_user.acquire() as connection:
        queue = await queue_state(connection)
    assert (queue.lapsed, queue.retrying, queue.held_kopecks) == (1, 1, 4)
    assert queue.oldest_at_work_seconds == pytest.approx(200, abs=30)


async def test_money_and_what_waits_are_told_and_absent_without_the_database(
    database_url: str,
) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    await pool.execute("INSERT INTO users (id, first_name) VALUES (7, 'A')")
    await pool.execute("INSERT INTO balances (user_id) VALUES (7)")
    await pool.execute(
        "INSERT INTO circuits (name, opened_at, reason) VALUES ('provider', now(), 'r')"
    )
    async with pool.acquire() as connection:
        await adjust(connection, user_id=7, change_kopecks=500, operation_id="op", reason="a gift")
    metrics = Metrics()
    task = asyncio.create_task(BooksWatch(pool, metrics).run(period_seconds=0.01))
    told = b'rei_ledger_transferred_kopecks_total{kind="adjustment_credit"} 500.0'
    try:
        async with asyncio.timeout(60):
            while told not in metrics.exposition(pool):  # noqa: ASYNC110 - only a look tells
                await asyncio.sleep(0.01)
            text = metrics.exposition(pool)
            assert b'rei_orders_paused{circuit="provider",reason="r"} 1.0' in text
            assert b'rei_ledger_transfers_total{kind="capture"} 0.0' in text
            await pool.close()
            while told in metrics.exposition(pool):  # noqa: ASYNC110 - only a look tells
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


@pytest.mark.parametrize(("fails", "pause"), [(False, 6.0), (True, 1.0)])
async def test_what_takes_long_to_count_is_counted_less_often(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, fails: bool, pause: float
) -> None:
    """A count of 0.3 seconds, by a clock of its own; one that fails is tried again as ever."""
    pauses: list[float] = []
    loop = asyncio.get_running_loop()
    late = [0.0]
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + late[0])

    async def slow(connection: Connection) -> QueueState:
        late[0] += 0.3
        if fails:
            raise asyncpg.ConnectionDoesNotExistError
        return await queue_state(connection)

    async def paused(seconds: float) -> None:
        pauses.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(queue_watch, "queue_state", slow)
    monkeypatch.setattr(asyncio, "sleep", paused)
    began = time()
    with pytest.raises(asyncio.CancelledError):
        await watch_queue(pool, Metrics(), period_seconds=1)
    # The count itself takes its time too, by the machine's own clock.
    took = 0 if fails else time() - began
    [paused_seconds] = pauses
    assert pause - 0.01 <= paused_seconds <= pause + queue_watch.PAUSE_TO_COUNT * took + 0.01


async def test_a_log_tells_when_the_number_is_lost_and_when_it_is_back(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([OSError(), OSError(), TimeoutError(), None, None, OSError()])

    async def shaky(connection: Connection) -> QueueState:
        answer = next(answers, asyncio.CancelledError())
        if answer is None:
            return await queue_state(connection)
        raise answer

    monkeypatch.setattr(queue_watch, "queue_state", shaky)
    with structlog.testing.capture_logs() as lines, pytest.raises(asyncio.CancelledError):
        await watch_queue(pool, Metrics(), period_seconds=0)
    assert [(line["event"], line.get("error")) for line in lines] == [
        ("queue.not_counted", "OSError"),
        ("queue.not_counted", "TimeoutError"),
        ("queue.counted_again", None),
        ("queue.not_counted", "OSError"),
    ]
