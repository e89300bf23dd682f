"""A run happens once, is taken over when its process dies, and never overlaps another."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from rei_core.db import Pool
from rei_core.errors import ReiError, UserUnknown
from rei_core.maintenance.model import NOTE_CHARS_MAX, NOTES_MAX, RunResult
from rei_core.maintenance.runs import queries
from rei_core.maintenance.runs.model import Run, RunBusy, RunLost, RunStatus, TryAgain
from rei_core.maintenance.runs.service import Outcome, carry_out

from .conftest import LOST, NOON, key

LAPSE = "UPDATE maintenance_runs SET lease_until = now() - interval '1 s' WHERE status = 'running'"


async def nothing(connection: Any, progress: Any) -> Outcome:
    del connection
    return Outcome(progress.result.plus(examined=1))


class Slow:
    """Work that begins, and goes on when it is told to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, connection: Any, progress: Any) -> Outcome:
        self.begun.set()
        await self.go_on.wait()
        async with connection.transaction():
            await progress.advance(connection, progress.result.plus(changed=1))
        return Outcome(progress.result)


async def test_a_run_that_has_ended_is_told_and_not_repeated(pool: Pool) -> None:
    calls = []

    async def work(connection: Any, progress: Any) -> Outcome:
        del connection, progress
        calls.append(1)
        return Outcome(RunResult(examined=3, notes=("all well",)), {"accounts": {"held": 5}})

    first = await carry_out(pool, key(), owner="a", work=work)
    again = await carry_out(pool, key(), owner="b", work=work)
    assert first == again
    assert len(calls) == 1
    assert first.status is RunStatus.SUCCEEDED
    assert first.result == RunResult(examined=3, notes=("all well",))
    assert first.detail == {"accounts": {"held": 5}}
    async with pool.acquire() as connection:
        found = await queries.latest(
            connection, kind="StuckJobPolicy", namespace="default", name="policy"
        )
    assert found == [first]


async def test_another_moment_is_another_run(pool: Pool) -> None:
    for minute in range(3):
        at = NOON + timedelta(minutes=minute)
        await carry_out(pool, key(at=at), owner="a", work=nothing)
    assert await pool.fetchval("SELECT count(*) FROM maintenance_runs") == 3


async def test_two_moments_of_one_resource_never_overlap_but_two_resources_may(pool: Pool) -> None:
    slow = Slow()
    running = asyncio.create_task(carry_out(pool, key(), owner="a", work=slow))
    await slow.begun.wait()
    for at in (NOON, NOON + timedelta(minutes=1)):
        with pytest.raises(RunBusy):
            await carry_out(pool, key(at=at), owner="b", work=nothing)
    await pool.execute(LAPSE)  # not even then: the lock stands while the process lives
    with pytest.raises(RunBusy):
        await carry_out(pool, key(), owner="b", work=nothing)
    other = await carry_out(pool, key("other"), owner="b", work=nothing)
    assert other.status is RunStatus.SUCCEEDED
    slow.go_on.set()
    assert (await running).result.changed == 1
    later = await carry_out(pool, key(at=NOON + timedelta(minutes=1)), owner="b", work=nothing)
    assert later.status is RunStatus.SUCCEEDED


async def test_a_lease_that_stands_is_waited_for_even_without_its_lock(pool: Pool) -> None:
    async with pool.acquire() as connection:
        dead = await queries.begin(connection, key(), owner="dead", lease_seconds=60)
        assert dead is not None
        with pytest.raises(RunBusy):
            await carry_out(pool, key(), owner="b", work=nothing)
        await connection.execute(LAPSE)
        taken = await carry_out(pool, key(), owner="b", work=nothing)
        assert (taken.attempt, taken.owner, taken.status) == (2, "b", RunStatus.SUCCEEDED)
        assert not await queries.renew(connection, dead, lease_seconds=60)
        assert not await queries.advance(connection, dead, RunResult(changed=99))
        assert await queries.finish(connection, dead, result=RunResult(), detail={}) is None
    assert (await carry_out(pool, key(), owner="c", work=nothing)).result.examined == 1


async def test_a_step_of_a_run_that_was_taken_over_is_rolled_back(pool: Pool) -> None:
    async def work(connection: Any, progress: Any) -> Outcome:
        async with connection.transaction():
            await connection.execute("INSERT INTO users (id) VALUES (1)")
            await pool.execute("UPDATE maintenance_runs SET attempt = attempt + 1")
            await progress.advance(connection, progress.result.plus(changed=1))
        raise AssertionError("the run was lost")

    with pytest.raises(RunLost):
        await carry_out(pool, key(), owner="a", work=work)
    assert await pool.fetchval("SELECT count(*) FROM users") == 0


async def test_an_error_of_the_procedure_fails_the_run_and_tells_no_secret(pool: Pool) -> None:
    async def breaks(connection: Any, progress: Any) -> Outcome:
        async with connection.transaction():
            await progress.advance(connection, RunResult(changed=2))
        raise ValueError("at postgresql://rei:geheim@db/rei\nand more")

    async def refused(connection: Any, progress: Any) -> Outcome:
        raise UserUnknown(7)

    run = await carry_out(pool, key(), owner="a", work=breaks)
    assert (run.status, run.result.changed) == (RunStatus.FAILED, 2)
    assert run.error == "ValueError: at postgresql://***@db/rei"
    run = await carry_out(pool, key("other"), owner="a", work=refused)
    assert run.error == "no user 7"


async def test_a_connection_that_is_cut_leaves_the_run_to_the_next(pool: Pool) -> None:
    async def cut(connection: Any, progress: Any) -> Outcome:
        async with connection.transaction():
            await progress.advance(connection, RunResult(changed=2))
        pid = connection.get_server_pid()
        await pool.execute("SELECT pg_terminate_backend($1)", pid)
        await connection.execute("SELECT 1")
        raise AssertionError("the connection was cut")

    with pytest.raises(LOST):
        await carry_out(pool, key(), owner="a", work=cut)
    await pool.execute(LAPSE)
    run = await once_the_lock_is_let_go(pool)
    assert run.result == RunResult(examined=1, changed=2)


async def once_the_lock_is_let_go(pool: Pool) -> Run:
    """A server says that it hangs up before it lets go of the lock."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(RunBusy):
                return await carry_out(pool, key(), owner="b", work=nothing)
            await asyncio.sleep(0.01)


async def test_a_process_that_stops_in_order_gives_its_run_back_at_once(pool: Pool) -> None:
    slow = Slow()
    running = asyncio.create_task(carry_out(pool, key(), owner="a", work=slow))
    await slow.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    run = await carry_out(pool, key(), owner="b", work=nothing)
    assert (run.attempt, run.status) == (2, RunStatus.SUCCEEDED)


async def test_a_run_whose_process_died_is_closed_by_the_next_moment(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await queries.begin(connection, key(), owner="dead", lease_seconds=-1)
    later = key(at=NOON + timedelta(minutes=1))
    assert (await carry_out(pool, later, owner="b", work=nothing)).status is RunStatus.SUCCEEDED
    old = await carry_out(pool, key(), owner="b", work=nothing)
    assert old.status is RunStatus.FAILED
    assert old.error is not None
    assert "later run took its place" in old.error


async def test_a_run_that_kills_every_process_is_not_tried_for_ever(pool: Pool) -> None:
    async with pool.acquire() as connection:
        for _ in range(queries.ATTEMPTS_MAX):
            assert await queries.begin(connection, key(), owner="dead", lease_seconds=-1)
    run = await carry_out(pool, key(), owner="b", work=nothing)
    assert (run.status, run.error) == (RunStatus.FAILED, "every process that tried this run died")


async def test_the_lease_is_renewed_while_the_work_goes_on(pool: Pool) -> None:
    slow = Slow()
    running = asyncio.create_task(carry_out(pool, key(), owner="a", work=slow, lease_seconds=0.3))
    await slow.begun.wait()
    first = await pool.fetchval("SELECT lease_until FROM maintenance_runs")
    deadline = time.monotonic() + 30
    while await pool.fetchval("SELECT lease_until FROM maintenance_runs") <= first:
        assert time.monotonic() < deadline, "the lease was not renewed"
        await asyncio.sleep(0.01)
    slow.go_on.set()
    await running


async def test_ten_processes_at_once_do_the_work_once(pool: Pool) -> None:
    calls = []

    async def work(connection: Any, progress: Any) -> Outcome:
        del connection, progress
        calls.append(1)
        return Outcome(RunResult(changed=1))

    async def insist(owner: str) -> RunResult:
        deadline = time.monotonic() + 60
        while True:
            try:
                return (await carry_out(pool, key(), owner=owner, work=work)).result
            except RunBusy:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    ends = await asyncio.gather(*(insist(f"o{n}") for n in range(8)))
    assert set(ends) == {RunResult(changed=1)}
    assert len(calls) == 1


def test_notes_are_few_short_and_without_secrets() -> None:
    result = RunResult()
    for number in range(100):
        result = result.noting(f"{number} redis://user:geheim@host/0 " + "x" * 1000)
    assert len(result.notes) == NOTES_MAX
    assert {len(note) for note in result.notes} == {NOTE_CHARS_MAX}
    assert "geheim" not in str(result)
    assert result.noting(result.notes[0]) == result
    assert RunResult.of(result.document()) == result
    assert RunResult.of({}) == RunResult()
    with pytest.raises(ValueError, match="noting"):
        RunResult(notes=("x" * 301,))


async def test_runs_asked_for_with_a_date_to_come_stand_behind_all_others(pool: Pool) -> None:
    now: datetime = await pool.fetchval("SELECT now()")
    for days in range(1, 5):
        await carry_out(pool, key(at=now + timedelta(days=365 * days)), owner="a", work=nothing)
    for hours in (2, 1):
        await carry_out(pool, key(at=now - timedelta(hours=hours)), owner="a", work=nothing)
    async with pool.acquire() as connection:
        found = await queries.latest(
            connection, kind="StuckJobPolicy", namespace="default", name="policy", limit=3
        )
    due = [round((run.key.scheduled_for - now) / timedelta(hours=1)) for run in found]
    assert due[:2] == [-1, -2]
    assert sorted(due[2:]) == [24 * 365 * days for days in (2, 3, 4)]  # the last that began


async def test_what_may_pass_leaves_the_run_open_until_the_last_attempt(pool: Pool) -> None:
    async def away(connection: Any, progress: Any) -> Outcome:
        del connection, progress
        raise TryAgain(ReiError("the storage is away"))

    for attempt in (1, 2):
        with pytest.raises(TryAgain, match="the storage is away"):
            await carry_out(pool, key(), owner="a", work=away, attempts_max=3)
        row = await pool.fetchrow(
            "SELECT status, attempt, lease_until < now() FROM maintenance_runs"
        )
        assert row is not None
        assert tuple(row) == ("running", attempt, True)
    ended = await carry_out(pool, key(), owner="a", work=away, attempts_max=3)
    assert (ended.status, ended.error) == (RunStatus.FAILED, "the storage is away")
