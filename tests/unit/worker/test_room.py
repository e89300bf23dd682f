"""Room for customers' pictures: never more than there is, in the order of arrival, and never lost."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from rei_core.jobs.model import InputRef
from rei_worker.inputs import FILE_BYTES_MAX, TOTAL_BYTES_MAX, Room, size_bytes


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=30))
def test_never_more_is_held_than_there_is_room_for(jobs: list[tuple[int, bool]]) -> None:
    """Some of the jobs are cancelled while they wait or hold."""

    async def play() -> None:
        room, held, most = Room(100), 0, 0

        async def hold(size: int) -> None:
            nonlocal held, most
            async with room.take(size):
                held += min(size, 100)
                most = max(most, held)
                try:
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                finally:
                    held -= min(size, 100)

        tasks = [asyncio.create_task(hold(size)) for size, _ in jobs]
        for task, (_, cancelled) in zip(tasks, jobs, strict=True):
            await asyncio.sleep(0)
            if cancelled:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert held == 0
        assert most <= 100
        async with asyncio.timeout(1), room.take(100):  # all of it came back
            pass

    asyncio.run(play())


def test_what_telegram_did_not_measure_counts_as_the_largest() -> None:
    assert size_bytes((InputRef("a", "image/png", 0),)) == FILE_BYTES_MAX
    assert size_bytes((InputRef("a", "image/png", 5), InputRef("b", "image/png", 6))) == 11
    assert size_bytes((InputRef("a", "image/png", 0),) * 14) == TOTAL_BYTES_MAX
