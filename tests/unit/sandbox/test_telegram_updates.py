"""The queue of updates: polling, confirmation, limits, faults."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_sandbox.faults import Faults
from rei_sandbox.telegram.errors import BotApiError
from rei_sandbox.telegram.updates import UPDATE_SECONDS_MAX, UPDATES_MAX, UpdateQueue

CHAT = 1001


def say(queue: UpdateQueue, *texts: str) -> None:
    for text in texts:
        queue.push("message", {"text": text}, chat_id=CHAT)


async def poll(queue: UpdateQueue, *, offset: int | None = None, seconds: float = 0) -> list[Any]:
    return await queue.poll(offset=offset, limit=100, timeout_seconds=seconds)


def texts(updates: list[Any]) -> list[str]:
    return [update["message"]["text"] for update in updates]


async def test_an_update_stays_until_a_later_offset_confirms_it() -> None:
    queue = UpdateQueue()
    say(queue, "one", "two")
    first = await poll(queue)
    assert texts(first) == texts(await poll(queue)) == ["one", "two"]
    assert texts(await poll(queue, offset=first[0]["update_id"] + 1)) == ["two"]
    assert await poll(queue, offset=first[1]["update_id"] + 1) == []


async def test_a_negative_offset_counts_from_the_end_and_forgets_the_rest() -> None:
    queue = UpdateQueue()
    say(queue, "one", "two", "three")
    assert texts(await poll(queue, offset=-1)) == ["three"]
    assert texts(await poll(queue)) == ["three"]


async def test_a_waiting_poll_gets_an_update_at_once() -> None:
    queue = UpdateQueue()
    waiting = asyncio.create_task(poll(queue, seconds=50))
    await asyncio.sleep(0)
    say(queue, "hello")
    async with asyncio.timeout(5):
        assert texts(await waiting) == ["hello"]


async def test_a_second_poller_ends_the_first() -> None:
    queue = UpdateQueue()
    first = asyncio.create_task(poll(queue, seconds=50))
    await asyncio.sleep(0)
    second = asyncio.create_task(poll(queue, seconds=50))
    with pytest.raises(BotApiError) as conflict:
        async with asyncio.timeout(5):
            await first
    assert conflict.value.error_code == 409
    assert "make sure that only one bot instance is running" in conflict.value.description
    say(queue, "for the second")
    assert texts(await second) == ["for the second"]


async def test_closing_ends_a_poll() -> None:
    queue = UpdateQueue()
    waiting = asyncio.create_task(poll(queue, seconds=50))
    await asyncio.sleep(0)
    await queue.close()
    with pytest.raises(BotApiError, match="502"):
        async with asyncio.timeout(5):
            await waiting


@given(st.lists(st.sampled_from(["message", "callback_query", "my_chat_member"]), max_size=20))
def test_numbers_rise_and_only_what_was_asked_for_is_kept(kinds: list[str]) -> None:
    queue = UpdateQueue()
    queue.allowed = ("message", "callback_query")
    for kind in kinds:
        queue.push(kind, {}, chat_id=CHAT)
    kept = [kind for kind in kinds if kind != "my_chat_member"]
    assert [next(k for k in entry.update if k != "update_id") for entry in queue.pending] == kept
    numbers = [entry.update_id for entry in queue.pending]
    assert numbers == sorted(set(numbers))


def test_rare_kinds_come_only_when_asked_for() -> None:
    queue = UpdateQueue()
    queue.push("message_reaction", {}, chat_id=CHAT)
    assert not queue.pending
    queue.allowed = ("message_reaction",)
    queue.push("message_reaction", {}, chat_id=CHAT)
    assert len(queue.pending) == 1


def test_the_queue_is_bounded_and_the_oldest_go_first() -> None:
    queue = UpdateQueue()
    say(queue, *map(str, range(UPDATES_MAX + 3)))
    assert len(queue.pending) == UPDATES_MAX
    assert queue.pending[0].update["message"]["text"] == "3"


def test_updates_older_than_a_day_are_dropped() -> None:
    queue = UpdateQueue()
    say(queue, "old", "new")
    queue.pending[0].created -= UPDATE_SECONDS_MAX + 1
    queue.drop_expired()
    assert [entry.update["message"]["text"] for entry in queue.pending] == ["new"]


async def test_a_duplicated_update_comes_twice_with_one_number() -> None:
    faults = Faults()
    faults.add("telegram", "duplicated")
    queue = UpdateQueue(faults)
    say(queue, "one", "two")
    got = await poll(queue)
    assert texts(got) == ["one", "one", "two"]
    assert got[0]["update_id"] == got[1]["update_id"] < got[2]["update_id"]


@pytest.mark.parametrize(("webhook", "born_first"), [(False, "two"), (True, "one")])
async def test_a_reordered_update_is_overtaken_by_the_next(
    *, webhook: bool, born_first: str
) -> None:
    faults = Faults()
    faults.add("telegram", "reordered", subject=str(CHAT))
    queue = UpdateQueue(faults)
    queue.number_at_birth = webhook
    say(queue, "one", "two")
    assert [entry.update["message"]["text"] for entry in queue.pending] == ["two", "one"]
    lowest = min(queue.pending, key=lambda entry: entry.update_id)
    assert lowest.update["message"]["text"] == born_first
    await queue.close()


@pytest.mark.parametrize("kind", ["late", "reordered"])
async def test_a_held_update_comes_by_itself_too(kind: str) -> None:
    faults = Faults()
    faults.add("telegram", kind, delay_seconds=0.01)
    queue = UpdateQueue(faults)
    say(queue, "one")
    assert not queue.pending
    assert texts(await poll(queue, seconds=10)) == ["one"]


async def test_a_late_update_comes_after_the_next_ones() -> None:
    faults = Faults()
    faults.add("telegram", "late", delay_seconds=0.05)
    queue = UpdateQueue(faults)
    say(queue, "one", "two")
    got = await poll(queue)
    assert texts(got) == ["two"]
    assert texts(await poll(queue, offset=got[0]["update_id"] + 1, seconds=10)) == ["one"]


async def test_clearing_drops_what_is_held_back() -> None:
    faults = Faults()
    faults.add("telegram", "late", delay_seconds=0.01)
    queue = UpdateQueue(faults)
    say(queue, "one", "two")
    queue.clear()
    say(queue, "three")
    got = await poll(queue)
    assert texts(got) == ["three"]
    assert await poll(queue, offset=got[0]["update_id"] + 1, seconds=0.1) == []
