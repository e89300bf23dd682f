"""A button's data is anybody's to write: naming what is another customer's changes and tells nothing.

A thief with money of his own presses, in his own chat, every button of a victim's. Each answer has
to be the very one he gets for a number that does not exist, and no row of the victim's may differ.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pytest
from aiogram.filters.callback_data import CallbackData
from aiogram.methods import AnswerCallbackQuery

from rei_bot import callbacks
from rei_bot.callbacks import (
    AdminConfirm,
    AdminDrop,
    JobAction,
    OrderCard,
    OrderConfirm,
    OrderDrop,
    OrderMenu,
    OrderPick,
    PaymentCheck,
    TopUpRetry,
    token,
)
from rei_core.admin import requests
from rei_core.admin.requests import Request
from rei_core.jobs import claim_queries, end_queries
from rei_core.jobs.model import Output
from rei_core.trail.model import Word

from ..bot_conversation.conftest import Conversation, Shown

VICTIM, THIEF = 7, 8
NOBODYS_ID = 2**40
NOBODYS_PAYMENT = "00000000-0000-4000-8000-000000000000"
NOBODYS_OPERATION = "bot-1-1-1"
PRICE_KOPECKS = 1_500
TABLES = (
    "users", "balances", "drafts", "jobs", "payments", "deliveries", "transfers",
    "admin_requests", "admin_actions",
)  # fmt: skip
NAMES_A_ROW = {"draft", "job", "payment", "operation"}
OF_ADMINS = ("ac", "ax")
"""Buttons of admins, which the victim is none of."""
CHOICES_AND_SUMS = {
    "field", "token", "action", "page", "source", "to", "price_kopecks", "amount_kopecks", "message",
}  # fmt: skip
"""What names no row. A message's number means something in one chat only: see the test of top-ups."""


@dataclass(frozen=True)
class Loot:
    """What the victim has."""

    draft: int
    queued: int
    processing: int
    completed: int
    payment: str
    payment_url: str
    operation: str
    """What an admin was asked to confirm about the victim."""


async def victims(rei: Conversation) -> Loot:
    """A customer with an open draft, a job in every state, and a payment that waits."""
    await rei.give(100_000, VICTIM)
    for prompt in ("кот готов", "кот в работе"):
        await rei.tap(await rei.say(prompt, VICTIM), "Нарисовать", VICTIM)
    async with rei.pool.acquire() as connection, connection.transaction():
        done, working = await claim_queries.claim(
            connection, worker="w", lease_seconds=3600, limit=2, processing_max=10
        )
        output = Output("image/png", 1, 1, b"the victim's picture")
        assert await end_queries.complete(connection, done.id, attempt=done.attempt, output=output)
    await rei.tap(await rei.say("кот в очереди", VICTIM), "Нарисовать", VICTIM)
    await rei.say("секретный замысел", VICTIM)
    bill = await rei.tap(await rei.say("/topup", VICTIM), "200", VICTIM)
    operation = f"bot-{VICTIM}-1-1"
    asked = Request(
        operation_id=operation, admin_id=VICTIM, word=Word.CREDIT, user_id=THIEF, reason="a gift",
        amount_kopecks=100_000,
    )  # fmt: skip
    async with rei.pool.acquire() as connection:
        await requests.ask(connection, asked)
    return Loot(
        operation=operation,
        draft=await rei.pool.fetchval("SELECT max(id) FROM drafts"),
        queued=await rei.pool.fetchval("SELECT id FROM jobs WHERE status = 'queued'"),
        processing=working.id,
        completed=done.id,
        payment=str(await rei.pool.fetchval("SELECT id FROM payments")),
        payment_url=bill.button("Оплатить"),
    )


def presses(*, draft: int, jobs: tuple[int, ...], payment: str, operation: str) -> list[str]:
    """The data of every button that names a draft, a job, a payment or an admin's request."""
    data: list[CallbackData] = [
        *(OrderMenu(draft=draft, field=field) for field in ("model", "ratio", "size")),
        OrderPick(draft=draft, field="ratio", token=token("16:9")),
        OrderPick(draft=draft, field="size", token=token("2K")),
        OrderPick(draft=draft, field="model", token=token("gemini-3-pro-image")),
        OrderCard(draft=draft),
        OrderConfirm(draft=draft, price_kopecks=PRICE_KOPECKS),
        OrderDrop(draft=draft),
        PaymentCheck(payment=payment),  # type: ignore[arg-type] # a text becomes a UUID
        AdminConfirm(operation=operation),
        AdminDrop(operation=operation),
    ]
    for job in jobs:
        data += [
            JobAction(job=job, action=action) for action in ("refresh", "cancel", "repeat", "file")
        ]
    return [each.pack() for each in data]


def test_every_button_that_names_a_row_is_pressed() -> None:
    """A button that somebody adds tomorrow has to be added here."""
    pressed = {
        data.partition(":")[0]
        for data in presses(
            draft=1, jobs=(1,), payment=NOBODYS_PAYMENT, operation=NOBODYS_OPERATION
        )
    }
    kinds = [
        kind
        for _, kind in inspect.getmembers(callbacks, inspect.isclass)
        if issubclass(kind, CallbackData) and kind is not CallbackData
    ]
    assert pressed == {kind.__prefix__ for kind in kinds if set(kind.model_fields) & NAMES_A_ROW}
    assert {name for kind in kinds for name in kind.model_fields} == NAMES_A_ROW | CHOICES_AND_SUMS


async def test_what_is_another_customers_is_as_if_it_were_not_there(rei: Conversation) -> None:
    loot = await victims(rei)
    await rei.give(100_000, THIEF)
    shown = await rei.say("/start", THIEF)
    for number, data in enumerate(
        presses(
            draft=loot.draft,
            jobs=(loot.queued, loot.processing, loot.completed),
            payment=loot.payment,
            operation=loot.operation,
        )
    ):
        before = await everything(rei)
        answer = await answers(rei, shown, data)
        assert [type(call) for call in answer] == [AnswerCallbackQuery], (data, answer)
        assert "устарела" in answer[0].text, data
        assert await everything(rei) == before, data
        # Real and unreal look the same: nobody finds out which numbers are taken.
        nowhere = presses(
            draft=NOBODYS_ID, jobs=(NOBODYS_ID,) * 3, payment=NOBODYS_PAYMENT,
            operation=NOBODYS_OPERATION,
        )[number]  # fmt: skip
        unreal = await answers(rei, shown, nowhere)
        assert [_told(call) for call in answer] == [_told(call) for call in unreal], data
    assert rei.bell.rung  # the victim's own orders; and none of them is the thief's:
    assert await rei.pool.fetchval("SELECT count(*) FROM jobs WHERE user_id = $1", THIEF) == 0
    assert await rei.balance(THIEF) == 100_000


async def test_the_victims_own_presses_still_work_afterwards(rei: Conversation) -> None:
    """So that the refusals above are about whose they are, and not about the buttons."""
    loot = await victims(rei)
    await rei.give(100_000, THIEF)
    shown = await rei.say("/start", VICTIM)
    for data in presses(
        draft=loot.draft, jobs=(loot.queued, loot.completed), payment=loot.payment,
        operation=loot.operation,
    ):  # fmt: skip
        if data.startswith(("ox", *OF_ADMINS)):
            continue  # nothing is left to press after the first
        calls = await answers(rei, shown, data, user_id=VICTIM)
        # A confirmed draft has become a job, whose buttons are the job's from now on.
        told = [call.text or "" for call in calls if isinstance(call, AnswerCallbackQuery)]
        assert not any("устарела" in text for text in told), data


async def test_a_retried_topup_of_anothers_message_is_the_thiefs_own(rei: Conversation) -> None:
    """A message's number is a chat's own, so this key names a payment of the presser's, not the victim's."""
    loot = await victims(rei)
    await rei.give(1, THIEF)
    key = str(await rei.pool.fetchval("SELECT request_key FROM payments"))
    _topup, source, message, amount = key.split(":")
    data = TopUpRetry(
        source=source,  # type: ignore[arg-type]
        message=int(message),
        amount_kopecks=int(amount),
    ).pack()
    theirs = "SELECT p::text FROM payments p WHERE user_id = $1"
    before = await rei.pool.fetch(theirs, VICTIM)
    shown = await rei.say("/start", THIEF)
    calls = await answers(rei, shown, data)
    assert loot.payment_url not in repr(calls)
    assert loot.payment not in repr(calls)
    assert await rei.pool.fetch(theirs, VICTIM) == before
    assert len(await rei.pool.fetch(theirs, THIEF)) == 1


async def test_a_history_and_a_balance_are_the_askers_own(rei: Conversation) -> None:
    await victims(rei)
    await rei.give(5_500, THIEF)
    for command in ("/history", "/balance"):
        text = (await rei.say(command, THIEF)).text
        assert "кот" not in text
    assert "55 ₽" in text


async def test_a_chat_that_is_not_the_pressers_own_is_not_talked_to(rei: Conversation) -> None:
    """A card forwarded into a group has buttons too; whoever presses them there sees no prompt."""
    loot = await victims(rei)
    jobs_before = await rei.count("jobs")
    shown = await rei.say("/start", VICTIM)
    update = rei.press(shown, OrderConfirm(draft=loot.draft, price_kopecks=PRICE_KOPECKS).pack())
    assert update.callback_query is not None
    message = update.callback_query.message
    assert message is not None
    group = message.model_copy(
        update={"chat": message.chat.model_copy(update={"id": -5, "type": "group"})}
    )
    press = update.callback_query.model_copy(
        update={"message": group, "from_user": rei.person(THIEF)}
    )
    rei.telegram.calls.clear()
    await rei.feed(update.model_copy(update={"callback_query": press}))
    assert await rei.count("jobs") == jobs_before
    assert not any(getattr(call, "chat_id", None) == -5 for call in rei.telegram.calls)


@pytest.mark.parametrize("price", [1, PRICE_KOPECKS - 1, PRICE_KOPECKS + 1, 10**12])
async def test_nobody_chooses_the_price(rei: Conversation, price: int) -> None:
    await rei.give(100_000, VICTIM)
    card = await rei.say("кот", VICTIM)
    draft = int(await rei.pool.fetchval("SELECT max(id) FROM drafts"))
    await rei.feed(rei.press(card, OrderConfirm(draft=draft, price_kopecks=price).pack(), VICTIM))
    assert await rei.count("jobs") == 0
    assert await rei.balance(VICTIM) == 100_000


async def answers(rei: Conversation, shown: Shown, data: str, *, user_id: int = THIEF) -> list[Any]:
    """All that the bot sends to Telegram for a press."""
    rei.telegram.calls.clear()
    await rei.feed(rei.press(shown, data, user_id))
    return list(rei.telegram.calls)


async def everything(rei: Conversation) -> dict[str, list[str]]:
    """Every row there is, but for when a user was last seen."""
    return {
        table: [
            row["row"]
            for row in await rei.pool.fetch(
                f"SELECT (to_jsonb(t) - 'last_seen_at' - 'updated_at')::text AS row "
                f"FROM {table} t ORDER BY 1"
            )
        ]
        for table in TABLES
    }


def _told(call: Any) -> dict[str, Any]:
    told: dict[str, Any] = call.model_dump()
    told.pop("callback_query_id", None)
    return told
