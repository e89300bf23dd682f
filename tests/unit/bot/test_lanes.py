"""The order of polled updates, without any network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiogram.types import Update

from rei_bot import lanes
from rei_bot.lanes import Lanes
from rei_bot.updates import Result


def update(number: int, *, chat_id: int, album: str | None = None) -> Update:
    body: dict[str, Any] = {
        "message_id": number,
        "date": 0,
        "chat": {"id": chat_id, "type": "private"},
        "from": {"id": chat_id, "is_bot": False, "first_name": "A"},
        "media_group_id": album,
    }
    return Update.model_validate({"update_id": number, "message": body})


class Handler:
    """Handlers that end when they are told to, and how."""

    def __init__(self) -> None:
        self.running: dict[int, asyncio.Future[Result]] = {}
        self.started: list[int] = []

    async def __call__(self, incoming: Update) -> Result:
        number = incoming.update_id
        self.started.append(number)
        self.running[number] = asyncio.get_running_loop().create_future()
        try:
            return await self.running[number]
        finally:
            del self.running[number]

    async def end(self, number: int, result: Result = Result.HANDLED) -> None:
        self.running[number].set_result(result)
        await turns()


async def turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - any condition, not one event
            await asyncio.sleep(0.001)


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def settled() -> list[int]:
    return []


@pytest.fixture
async def queue(handler: Handler, settled: list[int], monkeypatch: pytest.MonkeyPatch) -> Lanes:
    monkeypatch.setattr(lanes, "RETRY_SECONDS_MIN", 0.001)
    monkeypatch.setattr(lanes, "BUSY_PAUSE_SECONDS", 0.001)
    return Lanes(handler, on_settled=settled.append, at_once_max=4)


async def test_a_chat_goes_one_by_one_and_chats_side_by_side(
    queue: Lanes, handler: Handler, settled: list[int]
) -> None:
    for number, chat_id in ((1, 7), (2, 7), (3, 8), (4, 7)):
        queue.add(update(number, chat_id=chat_id))
    await turns()
    assert handler.started == [1, 3]
    await handler.end(1)
    assert handler.started == [1, 3, 2]
    await handler.end(2)
    await handler.end(4)
    await handler.end(3)
    assert settled == [1, 2, 4, 3]


async def test_the_photos_of_an_album_run_at_once_also_those_that_come_later(
    queue: Lanes, handler: Handler, settled: list[int]
) -> None:
    queue.add(update(1, chat_id=7, album="a"))
    queue.add(update(2, chat_id=7, album="a"))
    await turns()
    assert handler.started == [1, 2]
    queue.add(update(3, chat_id=7, album="a"))
    queue.add(update(4, chat_id=7))
    await turns()
    assert handler.started == [1, 2, 3]
    await handler.end(1)
    await handler.end(3)
    assert 4 not in handler.started
    await handler.end(2)
    assert handler.started[-1] == 4
    await handler.end(4)
    assert settled == [1, 3, 2, 4]


async def test_two_albums_are_one_after_the_other(queue: Lanes, handler: Handler) -> None:
    queue.add(update(1, chat_id=7, album="a"))
    queue.add(update(2, chat_id=7, album="b"))
    await turns()
    assert handler.started == [1]
    await handler.end(1)
    assert handler.started == [1, 2]
    await handler.end(2)


@pytest.mark.parametrize("result", [Result.FAILED, Result.BUSY])
async def test_what_is_not_settled_is_tried_again_before_the_next(
    queue: Lanes, handler: Handler, settled: list[int], result: Result
) -> None:
    queue.add(update(1, chat_id=7))
    queue.add(update(2, chat_id=7))
    await turns()
    await handler.end(1, result)
    await reached(lambda: handler.started == [1, 1])
    await handler.end(1)
    await handler.end(2)
    assert settled == [1, 2]


async def test_only_so_many_run_at_once(queue: Lanes, handler: Handler) -> None:
    for number in range(10):
        queue.add(update(number, chat_id=100 + number))
    await turns()
    assert len(handler.running) == 4
    for number in range(10):
        await reached(lambda number=number: number in handler.running)  # type: ignore[misc]
        assert len(handler.running) <= 4
        await handler.end(number)


async def test_stopping_lets_end_what_runs_and_starts_nothing(
    queue: Lanes, handler: Handler, settled: list[int]
) -> None:
    queue.add(update(1, chat_id=7))
    queue.add(update(2, chat_id=7))
    queue.add(update(3, chat_id=8))
    await turns()
    stopping = asyncio.create_task(queue.stop(seconds=5))
    await turns()
    await handler.end(1)
    assert not stopping.done()
    await handler.end(3, Result.FAILED)
    await asyncio.wait_for(stopping, 5)
    assert handler.started == [1, 3]
    assert settled == [1]


async def test_what_does_not_end_in_time_is_cancelled(
    queue: Lanes, handler: Handler, settled: list[int]
) -> None:
    queue.add(update(1, chat_id=7))
    await turns()
    await queue.stop(seconds=0.01)
    assert handler.running == {}
    assert settled == []
