"""Operations that really overlap, and the question whether some order of them explains the end.

Real overlap does not come by itself: a statement takes a millisecond. So a step may close a gate
first: it locks all balance rows, lets everything run into them, waits until each operation has
either ended or stands in line, and opens.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self, TypeVar

from rei_core.db import Pool

STANDSTILL_SECONDS_MAX = 10.0
LOCK_BALANCES = "SELECT user_id FROM balances ORDER BY user_id FOR UPDATE"
STANDING_IN_LINE = """
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


class State(Protocol):
    """What a reference keeps."""

    def copy(self) -> Self: ...


StateT = TypeVar("StateT", bound=State)


async def at_once(
    pool: Pool, work: Sequence[Coroutine[Any, Any, object]], *, gated: bool
) -> list[object]:
    """The answers of all, run at the same time; behind a gate for certain overlap."""
    if not gated:
        return list(await asyncio.gather(*work))
    async with _closed_gate(pool):
        tasks = [asyncio.create_task(one) for one in work]
        await standstill(pool, tasks)
    return list(await asyncio.gather(*tasks))


@asynccontextmanager
async def _closed_gate(pool: Pool) -> AsyncIterator[None]:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(LOCK_BALANCES)
        yield


async def standstill(pool: Pool, tasks: Sequence[asyncio.Task[object]]) -> None:
    """Wait until each task has either ended or stands in line for a lock."""
    deadline = time.monotonic() + STANDSTILL_SECONDS_MAX
    async with pool.acquire() as connection:
        while True:
            moving = sum(not task.done() for task in tasks)
            if await connection.fetchval(STANDING_IN_LINE) >= moving:
                return
            assert time.monotonic() < deadline, "the operations neither ended nor stood in line"
            await asyncio.sleep(0.001)


def explained(
    before: StateT,
    operations: Sequence[Any],
    answers: Sequence[object],
    after: StateT,
) -> bool:
    """Whether one order of the operations, one after the other, gives these answers and this end.

    An operation that is several transactions (a refund: debit, then ask) tells its pieces; others
    may come in between.
    """
    pieces = tuple(getattr(operation, "PIECES", 1) for operation in operations)
    return any(
        _replay(before.copy(), operations, answers, order) == after for order in _orders(pieces)
    )


def _orders(left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every order of the pieces, by the index of their operation."""
    if not any(left):
        yield ()
    for index, count in enumerate(left):
        if count:
            fewer = (*left[:index], count - 1, *left[index + 1 :])
            yield from ((index, *rest) for rest in _orders(fewer))


def _replay(
    state: StateT, operations: Sequence[Any], answers: Sequence[object], order: Sequence[int]
) -> StateT | None:
    running = [_in_pieces(operation, state) for operation in operations]
    ended: set[int] = set()
    for index in order:
        if index in ended:
            continue
        try:
            next(running[index])
        except StopIteration as end:
            ended.add(index)
            if end.value != answers[index]:
                return None
    return state


def _in_pieces(operation: Any, state: StateT) -> Generator[None, None, object]:
    """The operation, stopping where others may come in between."""
    if hasattr(operation, "PIECES"):
        return (yield from operation.in_pieces(state))
    return operation.apply(state)
