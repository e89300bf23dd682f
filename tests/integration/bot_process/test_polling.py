"""Long polling: in order within a chat, side by side between chats, and nothing lost."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from rei_bot import backoff, lanes, process

from .conftest import CUSTOMER, Stage, error, until

INTERNAL = error(500, "Internal Server Error")


@pytest.fixture(autouse=True)
def _quick_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "SECONDS_MAX", 0.2)
    monkeypatch.setattr(lanes, "RETRY_SECONDS_MAX", 0.2)
    monkeypatch.setattr(lanes, "BUSY_PAUSE_SECONDS", 0.1)


async def test_a_webhook_is_dropped_first_and_what_waits_is_kept(stage: Stage) -> None:
    waiting = stage.telegram.queue(stage.telegram.message("рыжий кот"))
    async with stage.bot("polling"):
        await until(lambda: stage.is_handled(waiting))
    [dropped] = stage.telegram.of("deleteWebhook")
    assert dropped.get("drop_pending_updates") in (None, False)
    methods = [call.method for call in stage.telegram.calls]
    assert methods.index("deleteWebhook") < methods.index("getUpdates")
    asked = stage.telegram.of("getUpdates")[0]
    assert set(asked["allowed_updates"]) == {"message", "callback_query"}


async def test_the_offset_stands_at_the_first_that_is_not_handled(stage: Stage) -> None:
    telegram = stage.telegram
    gate = telegram.gates["sendMessage"] = asyncio.Event()
    first = telegram.queue(telegram.message("рыжий кот"))
    async with stage.bot("polling"):
        await until(lambda: telegram.of("sendMessage"))
        # One of another kind, of somebody else, is over long before the first.
        other = telegram.queue(telegram.press("x", message_id=1, user_id=8))
        await until(lambda: stage.is_handled(other))
        polls = len(telegram.offsets)
        await until(lambda: len(telegram.offsets) > polls + 2)
        assert {offset for offset in telegram.offsets if offset} == {first["update_id"]}
        assert telegram.waiting == [first, other]
        gate.set()
        await until(lambda: not telegram.waiting)
    assert max(offset or 0 for offset in telegram.offsets) == other["update_id"] + 1


async def test_once_all_is_confirmed_no_offset_is_insisted_on(stage: Stage) -> None:
    """After a quiet week Telegram's ids start anew, perhaps below the last ones."""
    telegram = stage.telegram
    async with stage.bot("polling"):
        late = telegram.message("рыжий кот")
        late["update_id"] = 900_000
        telegram.queue(late)
        await until(lambda: not telegram.waiting)
        await until(lambda: telegram.offsets[-1] is None)
        early = telegram.queue(telegram.message("белый кот"))
        await until(lambda: stage.is_handled(early))
    assert len(telegram.texts()) == 2


async def test_a_chat_is_in_order_and_chats_do_not_wait_for_each_other(stage: Stage) -> None:
    telegram = stage.telegram
    telegram.refuse["sendMessage"] = [INTERNAL, INTERNAL]
    updates = [telegram.message(f"кот {n}") for n in range(5)]
    for update in updates:
        telegram.queue(update)
    async with stage.bot("polling"):
        await until(lambda: not telegram.waiting)
    shown = [text for text in telegram.texts() if "кот" in text]
    numbers = [next(n for n in range(5) if f"кот {n}" in text) for text in shown]
    assert numbers == [0, 0, 0, 1, 2, 3, 4]  # the first came through at its third attempt


async def test_a_chat_that_fails_holds_nobody_up(stage: Stage) -> None:
    telegram = stage.telegram
    gate = telegram.gates["sendMessage"] = asyncio.Event()
    slow = telegram.queue(telegram.message("рыжий кот"))
    async with stage.bot("polling"):
        await until(lambda: telegram.of("sendMessage"))
        quick = [
            telegram.queue(telegram.press("x", message_id=1, user_id=user_id))
            for user_id in range(20, 30)
        ]
        for update in quick:
            await until(lambda update=update: stage.is_handled(update))
        assert not await stage.is_handled(slow)
        gate.set()
        await until(lambda: stage.is_handled(slow))


async def test_an_album_is_one_order(stage: Stage) -> None:
    telegram = stage.telegram
    for n in range(10):
        telegram.queue(telegram.photo(f"photo-{n}", album="9"))
    loop = asyncio.get_running_loop()
    async with stage.bot("polling"):
        started = loop.time()
        await until(lambda: not telegram.waiting)
        # One quiet moment of 0.8 s for all, not one for each.
        assert loop.time() - started < 7
    assert await stage.count("drafts") == 1
    inputs = await stage.pool.fetchval("SELECT inputs FROM drafts")
    assert len(inputs) == 10
    assert len(telegram.texts()) == 1


async def test_an_update_that_cannot_be_read_stops_nobody(stage: Stage) -> None:
    telegram = stage.telegram
    broken = telegram.queue({"update_id": 50, "message": {"text": "a secret, and no chat"}})
    good = telegram.queue(telegram.message("рыжий кот"))
    with capture_logs() as lines:
        async with stage.bot("polling"):
            await until(lambda: not telegram.waiting)
    assert await stage.is_handled(good)
    [line] = [line for line in lines if line["event"] == "update cannot be read"]
    assert line["update_id"] == broken["update_id"]
    assert "a secret" not in str(line)


async def test_repeats_change_nothing(stage: Stage) -> None:
    telegram = stage.telegram
    update = telegram.message("рыжий кот")
    telegram.queue(update)
    telegram.queue(update)
    async with stage.bot("polling"):
        await until(lambda: not telegram.waiting)
        telegram.queue(update)
        await until(lambda: not telegram.waiting)
    assert len(telegram.texts()) == 1


async def test_a_second_poller_is_told_of_in_plain_words(stage: Stage) -> None:
    telegram = stage.telegram
    telegram.refuse["getUpdates"] = [error(409, "Conflict: terminated by other getUpdates request")]
    with capture_logs() as lines:
        async with stage.bot("polling"):
            update = telegram.queue(telegram.message("рыжий кот"))
            await until(lambda: stage.is_handled(update))
    [line] = [line for line in lines if line["event"] == "refused"]
    assert "another process polls" in line["problem"]


@pytest.mark.parametrize(
    ("answer", "event"),
    [
        (error(502, "Bad Gateway"), "out of reach"),
        (error(429, "Too Many Requests: retry after 1", retry_after=1), "out of reach"),
        (error(401, "Unauthorized"), "refused"),
        (error(404, "Not Found"), "refused"),
    ],
)
async def test_polling_outlives_every_refusal(
    stage: Stage, answer: tuple[int, dict[str, object]], event: str
) -> None:
    telegram = stage.telegram
    telegram.refuse["deleteWebhook"] = [answer]
    telegram.refuse["getUpdates"] = [answer, answer]
    with capture_logs() as lines:
        async with stage.bot("polling") as rei:
            update = telegram.queue(telegram.message("рыжий кот"))
            await until(lambda: stage.is_handled(update))
            assert rei.count("rei_bot_polls_total", outcome="failed") == 3
    assert len([line for line in lines if line["event"] == event]) >= 3


async def test_polling_outlives_the_database(stage: Stage) -> None:
    telegram = stage.telegram
    async with stage.bot("polling") as rei:
        await rei.database_wire.cut()
        update = telegram.queue(telegram.message("рыжий кот"))
        await until(
            lambda: rei.count("rei_bot_updates_total", kind="message", outcome="failed") >= 2
        )
        assert telegram.waiting == [update]
        await rei.database_wire.mend()
        await until(lambda: not telegram.waiting)
    assert len(telegram.texts()) == 1


async def test_stopping_lets_the_handler_end_and_fetches_nothing_more(stage: Stage) -> None:
    telegram = stage.telegram
    gate = telegram.gates["sendMessage"] = asyncio.Event()
    first = telegram.queue(telegram.message("рыжий кот"))
    second = telegram.queue(telegram.message("белый кот"))  # waits for the first
    async with stage.bot("polling") as rei:
        await until(lambda: telegram.of("sendMessage"))
        rei.process.stop()
        gate.set()
        await asyncio.wait_for(rei.task, 10)
    assert await stage.is_handled(first)
    assert not await stage.is_handled(second)
    assert second in telegram.waiting
    async with stage.bot("polling"):
        await until(lambda: not telegram.waiting)
    assert [("рыжий" in text, "белый" in text) for text in telegram.texts()] == [
        (True, False),
        (False, True),
    ]


async def test_who_stops_asking_since_it_stops_is_not_stuck(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart in the middle of a drain would cut off what it is for."""
    monkeypatch.setattr(process, "POLL_AGE_SECONDS_MAX", 0.2)
    gate = stage.telegram.gates["sendMessage"] = asyncio.Event()
    stage.telegram.queue(stage.telegram.message("рыжий кот"))
    async with stage.bot("polling") as rei:
        await until(lambda: stage.telegram.of("sendMessage"))
        rei.process.stop()
        await asyncio.sleep(0.5)
        assert (await rei.status.get("/readyz")).text == "stopping"
        assert (await rei.status.get("/healthz")).text == "ok"
        gate.set()


async def test_updates_are_no_business_of_http_when_polling(stage: Stage) -> None:
    async with stage.bot("polling") as rei:
        assert await rei.post_update(stage.telegram.message("/help")) == 404
        assert (await rei.status.get("/healthz")).status_code == 200
    assert stage.telegram.texts(CUSTOMER) == []
