"""The progress message: edited on changes of state only, and never in anybody's way."""

from __future__ import annotations

import asyncio
from typing import Any

from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest, TelegramRetryAfter
from aiogram.methods import SendPhoto
from aiogram.methods.edit_message_text import EditMessageText

from rei_core.errors import FailureClass, ImageProviderError
from rei_core.jobs import read_queries
from rei_worker.progress import Progress, Stage

from .conftest import Studio, until


def heads(studio: Studio) -> list[str]:
    """The first line of each edit."""
    return [text.split("\n")[0] for text in studio.telegram.edits]


async def test_a_good_job_is_edited_twice_and_no_more(studio: Studio) -> None:
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    async with studio.working(lease_seconds=3):
        await studio.order(progress_message_id=7)
        await until(lambda: len(studio.telegram.edits) == 1)
        await studio.past_the_lease()  # leases are renewed, sweeps are made
        assert len(studio.telegram.edits) == 1
        studio.provider.gate.set()
        await studio.until_delivered()

    assert [head.split(" ")[0] for head in heads(studio)] == ["🎨", "✅"]
    assert all(
        call.message_id == 7 and call.chat_id == 1 for call in studio.telegram.sent(EditMessageText)
    )


async def test_a_refused_job_ends_with_its_refund_and_a_button_to_repeat(studio: Studio) -> None:
    await studio.customer(language="ru")
    studio.provider.outcomes = [studio.blocked()]
    async with studio.working():
        await studio.order(progress_message_id=7)
        await studio.until_delivered()

    last = studio.telegram.sent(EditMessageText)[-1]
    assert "Не получилось" in last.text
    assert "правилам безопасности" in last.text
    assert "вернули" in last.text
    [[button]] = last.reply_markup.inline_keyboard
    assert button.callback_data.endswith(":repeat")


async def test_while_it_waits_for_another_try_it_can_be_cancelled(studio: Studio) -> None:
    await studio.customer()
    busy = ImageProviderError(
        FailureClass.RETRY_LATER, "rate_limited", "429", retry_after_seconds=60
    )
    studio.provider.outcomes = [busy]
    async with studio.working():
        await studio.order(progress_message_id=7)
        await until(lambda: any("⏳" in head for head in heads(studio)))

    last = studio.telegram.sent(EditMessageText)[-1]
    assert "60" in last.text
    actions = [button.callback_data for row in last.reply_markup.inline_keyboard for button in row]
    assert any(action.endswith(":cancel") for action in actions)


async def test_edits_that_telegram_refuses_or_delays_hold_up_no_job(studio: Studio) -> None:
    await studio.customer()

    def refuse(method: Any) -> None:
        if isinstance(method, EditMessageText):
            if len(studio.telegram.edits) % 2:
                raise TelegramBadRequest(method=method, message="message is not modified")
            raise TelegramRetryAfter(method=method, message="Too Many Requests", retry_after=600)

    studio.telegram.fail = refuse
    async with studio.working():
        job = await studio.order(progress_message_id=7)
        await studio.until_status(job, "completed")
        await studio.until_delivered()

    assert len(studio.telegram.sent(SendPhoto)) == 1


class OnePermit:
    """A pace that gives a permit when the gate opens, and counts who asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()

    async def acquire(self, chat_id: int, *, deadline_seconds: float) -> bool:
        del chat_id, deadline_seconds
        self.asked += 1
        await self.gate.wait()
        return True


async def test_a_permit_goes_to_the_newest_report(studio: Studio) -> None:
    """What was reported first is over by then, and a permit is worth a second of the chat's time."""
    await studio.customer()
    number = await studio.order(progress_message_id=7)
    async with studio.pool.acquire() as connection:
        job = await read_queries.find(connection, number)
    assert job is not None
    pace: Any = OnePermit()
    progress = Progress(bot=Bot("42:TEST", session=studio.telegram), pool=studio.pool, pace=pace)
    progress.report(job, Stage.DRAWING)
    await until(lambda: pace.asked == 1)
    progress.report(job, Stage.READY)
    pace.gate.set()
    await progress.settle(seconds=30)
    assert [head.split(" ")[0] for head in heads(studio)] == ["✅"]
    assert pace.asked == 1


async def test_an_order_without_a_progress_message_is_not_edited(studio: Studio) -> None:
    await studio.customer()
    async with studio.working():
        await studio.order()
        await studio.until_delivered()

    assert studio.telegram.edits == []
