"""The work queue, by a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from rei_operator.reconciler import BACKOFF_SECONDS_MAX, Key, LoopClock, Reconciler

A, B = Key("UserBan", "rei", "a"), Key("UserBan", "rei", "b")


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        return self._now

    async def wait(self, changed: asyncio.Event, until: float) -> None:
        while not changed.is_set() and self._now < until:
            self._moved.clear()
            waiting = [asyncio.create_task(one.wait()) for one in (changed, self._moved)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()

    async def move(self, seconds: float) -> None:
        self._now += seconds
        self._moved.set()
        await settle()


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(
    clock: MovedClock,
    work: Callable[[Key], Awaitable[float | None]],
    *,
    concurrency_max: int = 4,
) -> AsyncIterator[Reconciler]:
    reconciler = Reconciler(work, clock=clock, concurrency_max=concurrency_max, jitter=lambda: 1.0)
    task = asyncio.create_task(reconciler.run())
    try:
        yield reconciler
    finally:
        reconciler.stop()
        await task


async def test_it_looks_again_when_the_time_has_come_and_not_before() -> None:
    clock, looks = MovedClock(), []

    async def work(key: Key) -> float | None:
        looks.append((key, clock.now()))
        return 60.0

    async with running(clock, work) as reconciler:
        reconciler.wake(A)
        await settle()
        await clock.move(59)
        assert looks == [(A, 1000.0)]
        await clock.move(1)
        assert looks == [(A, 1000.0), (A, 1060.0)]


async def test_one_resource_is_never_worked_on_twice_at_once_and_no_wake_is_lost() -> None:
    clock, gate = MovedClock(), asyncio.Event()
    at_work: list[Key] = []
    looks = 0

    async def work(key: Key) -> float | None:
        nonlocal looks
        assert key not in at_work
        at_work.append(key)
        looks += 1
        await gate.wait()
        at_work.remove(key)
        return None

    async with running(clock, work) as reconciler:
        reconciler.wake(A)
        await settle()
        for _ in range(10):
            reconciler.wake(A)
        await settle()
        assert looks == 1
        gate.set()
        await settle()
        assert looks == 2  # ten wakes meanwhile make one more round
        assert reconciler.known == 0


async def test_no_more_than_so_many_at_a_time() -> None:
    clock, gate = MovedClock(), asyncio.Event()

    async def work(key: Key) -> float | None:
        await gate.wait()
        return None

    async with running(clock, work, concurrency_max=3) as reconciler:
        for number in range(10):
            reconciler.wake(Key("UserBan", "rei", str(number)))
        await settle()
        assert reconciler.working == 3
        gate.set()
        await settle()
        assert reconciler.known == 0


async def test_what_fails_comes_back_later_and_later_and_only_that() -> None:
    clock, failures, good = MovedClock(), [], []

    async def work(key: Key) -> float | None:
        if key == B:
            good.append(clock.now())
            return 1.0
        failures.append(clock.now())
        raise RuntimeError("no")

    async with running(clock, work) as reconciler:
        reconciler.wake(A)
        reconciler.wake(B)
        await settle()
        for _ in range(15):
            await clock.move(1)
        assert failures == [1000.0, 1001.0, 1003.0, 1007.0, 1015.0]
        assert len(good) == 16
        for _ in range(40):
            await clock.move(BACKOFF_SECONDS_MAX)
        assert failures[-1] - failures[-2] == BACKOFF_SECONDS_MAX


async def test_our_own_writing_does_not_cut_a_back_off_short_but_a_change_does() -> None:
    clock, looks = MovedClock(), []

    async def work(key: Key) -> float | None:
        looks.append(clock.now())
        raise RuntimeError("no")

    async with running(clock, work) as reconciler:
        reconciler.wake(A)
        await settle()
        reconciler.wake(A, changed=False)
        await settle()
        assert looks == [1000.0]
        reconciler.wake(A)
        await settle()
        assert looks == [1000.0, 1000.0]


async def test_success_forgets_earlier_failures() -> None:
    clock, looks = MovedClock(), []

    async def work(key: Key) -> float | None:
        looks.append(clock.now())
        if len(looks) == 3:
            return 10.0
        raise RuntimeError("no")

    async with running(clock, work) as reconciler:
        reconciler.wake(A)
        await settle()
        for _ in range(14):
            await clock.move(1)
        assert looks == [1000.0, 1001.0, 1003.0, 1013.0, 1014.0]


async def test_a_wake_comes_before_its_time() -> None:
    clock, looks = MovedClock(), []

    async def work(key: Key) -> float | None:
        looks.append(clock.now())
        return 100.0

    async with running(clock, work) as reconciler:
        reconciler.wake(A)
        await settle()
        await clock.move(10)
        reconciler.wake(A)
        await settle()
        await clock.move(90)
        assert looks == [1000.0, 1010.0]  # the time of the first look is not kept
        await clock.move(10)
        assert looks == [1000.0, 1010.0, 1110.0]


async def test_it_ends_in_order_and_lets_what_runs_end() -> None:
    clock, ended = MovedClock(), []
    begun = asyncio.Event()

    async def work(key: Key) -> float | None:
        begun.set()
        await settle()
        ended.append(key)
        return None

    async with running(clock, work) as reconciler:
        reconciler.wake(A)
        await begun.wait()
        reconciler.stop()
        reconciler.wake(B)
    assert ended == [A]


@pytest.mark.parametrize("set_before", [True, False])
async def test_the_loops_clock_waits_for_whichever_comes_first(set_before: bool) -> None:
    clock, changed = LoopClock(), asyncio.Event()
    if set_before:
        changed.set()
    began = clock.now()
    await clock.wait(changed, began + (30 if set_before else 0.05))
    waited = clock.now() - began
    assert waited < 5
    assert set_before or waited >= 0.04
