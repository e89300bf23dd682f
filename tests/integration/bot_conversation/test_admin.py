"""/admin: for admins only, asks before it does something, and does it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from rei_core.db import Pool
from rei_core.ledger.audit import audit
from rei_core.payments import queries as payments
from rei_core.payments.port import RemoteRefund
from rei_core.trail import queries as trail

from ..maintenance.conftest import LOST, crash_at, no_crash
from .conftest import CUSTOMER, Conversation, Shown, spaced

ADMIN, OTHER_ADMIN = 1007, 1008
CREDIT = f"/admin credit {CUSTOMER} 300 ticket 17: a broken picture"


@pytest.fixture
async def shop(pool: Pool) -> AsyncIterator[Conversation]:
    """A bot with two admins and a customer who has 100 ₽."""
    conversation = Conversation(pool, admin_ids=(ADMIN, OTHER_ADMIN))
    await conversation.give(10_000)
    yield conversation
    async with pool.acquire() as connection:
        assert (await audit(connection)).consistent


async def done(shop: Conversation) -> list[tuple[str, str, int]]:
    """What the trail tells, the oldest first: word, who, user."""
    async with shop.pool.acquire() as connection:
        found = [one.action for one in await trail.log(connection)]
    return [(a.word, a.actor.name, a.user_id) for a in reversed(found)]


async def press(shop: Conversation, shown: Shown, words: str, user_id: int = ADMIN) -> Shown:
    """The button as it was when the message was sent, however the message looks now."""
    await shop.feed(shop.press(shown, shown.button(words), user_id))
    return shop.shown(shown)


async def test_for_everybody_else_there_is_no_such_command(shop: Conversation) -> None:
    for text in ("/admin", "/admin status", CREDIT):
        answer = await shop.say(text)
        assert answer.text == (await shop.say("/nonsense")).text
    asked = await shop.say(CREDIT, ADMIN)
    before = len(shop.alerts)
    await press(shop, asked, "Выполнить", CUSTOMER)
    assert len(shop.alerts) == before + 1
    assert await shop.balance() == 10_000
    assert await done(shop) == []


async def test_in_a_group_an_admin_is_not_heard(shop: Conversation) -> None:
    calls = len(shop.telegram.calls)
    await shop.feed(shop.message(ADMIN, chat_type="group", text=CREDIT))
    assert len(shop.telegram.calls) == calls
    assert await shop.count("admin_requests") == 0


async def test_a_credit_is_asked_for_confirmed_and_made_once(shop: Conversation) -> None:
    asked = await shop.say(CREDIT, ADMIN)
    assert "Начислить 300 ₽" in spaced(asked.text)
    assert "ticket 17: a broken picture" in asked.text
    assert await shop.balance() == 10_000, "a question moves nothing"
    told = await press(shop, asked, "Выполнить")
    assert "Баланс: 400 ₽" in spaced(told.text)
    assert not told.buttons
    again = await press(shop, asked, "Выполнить")
    assert "сейчас ничего не изменилось" in again.text
    await asyncio.gather(*(press(shop, asked, "Выполнить") for _ in range(5)))
    assert await shop.balance() == 40_000
    assert await done(shop) == [("credit", f"telegram:{ADMIN}", CUSTOMER)]


async def test_presses_at_once_pay_once(shop: Conversation) -> None:
    asked = await shop.say(CREDIT, ADMIN)
    await asyncio.gather(*(press(shop, asked, "Выполнить") for _ in range(8)))
    assert await shop.balance() == 40_000


async def test_a_command_that_comes_twice_is_one_operation(shop: Conversation) -> None:
    update = shop.message(ADMIN, text=CREDIT)
    questions = []
    for _ in range(2):
        await shop.feed(update)
        questions.append(shop.last)
    for asked in questions:
        await press(shop, asked, "Выполнить")
    assert await shop.balance() == 40_000
    # The same words in another message are another credit: somebody has meant it.
    await press(shop, await shop.say(CREDIT, ADMIN), "Выполнить")
    assert await shop.balance() == 70_000


@pytest.mark.parametrize("table", ["balances", "transfers", "admin_actions"])
async def test_a_press_that_was_cut_is_made_by_the_next(
    shop: Conversation, pool: Pool, table: str
) -> None:
    asked = await shop.say(CREDIT, ADMIN)
    await crash_at(pool, table, nth=1)
    with pytest.raises(LOST):
        await press(shop, asked, "Выполнить")
    await no_crash(pool, table)
    assert await shop.balance() == 10_000
    await press(shop, asked, "Выполнить")
    assert await shop.balance() == 40_000
    assert len(await done(shop)) == 1


async def test_only_who_asked_can_confirm(shop: Conversation) -> None:
    asked = await shop.say(CREDIT, ADMIN)
    await press(shop, asked, "Выполнить", OTHER_ADMIN)
    assert await shop.balance() == 10_000


async def test_what_was_left_or_forgotten_is_not_done(shop: Conversation) -> None:
    asked = await shop.say(CREDIT, ADMIN)
    assert "Оставлено" in (await press(shop, asked, "Не надо")).text
    await press(shop, asked, "Выполнить")
    old = await shop.say(CREDIT, ADMIN)
    await shop.pool.execute("UPDATE admin_requests SET created_at = now() - interval '16 min'")
    await press(shop, old, "Выполнить")
    assert await shop.balance() == 10_000
    await shop.pool.execute("UPDATE admin_requests SET created_at = now() - interval '2 d'")
    await shop.say(CREDIT, ADMIN)
    assert await shop.count("admin_requests") == 1, "old ones go"


async def test_a_debit_that_the_balance_cannot_bear_moves_nothing(shop: Conversation) -> None:
    asked = await shop.say(f"/admin debit {CUSTOMER} 100.01 r", ADMIN)
    told = await press(shop, asked, "Выполнить")
    assert "у клиента 100 ₽, а нужно 100,01 ₽" in spaced(told.text)
    asked = await shop.say(f"/admin debit {CUSTOMER} 100 r", ADMIN)
    await press(shop, asked, "Выполнить")
    assert await shop.balance() == 0
    assert await done(shop) == [("debit", f"telegram:{ADMIN}", CUSTOMER)]


async def test_a_ban_whose_press_comes_again_after_the_unban_bans_nobody(
    shop: Conversation,
) -> None:
    ban = await shop.say(f"/admin ban {CUSTOMER} stolen cards", ADMIN)
    await press(shop, ban, "Выполнить")
    assert "stolen cards" in (await shop.say("a cat")).text
    lift = await shop.say(f"/admin unban {CUSTOMER}", OTHER_ADMIN)
    await press(shop, lift, "Выполнить", OTHER_ADMIN)
    await press(shop, ban, "Выполнить")
    assert await shop.pool.fetchval("SELECT banned_at FROM users WHERE id = $1", CUSTOMER) is None
    assert [(word, who) for word, who, _ in await done(shop)] == [
        ("ban", f"telegram:{ADMIN}"),
        ("unban", f"telegram:{OTHER_ADMIN}"),
    ]
    log = (await shop.say("/admin log", ADMIN)).text
    assert f"telegram:{ADMIN} · ban · {CUSTOMER}" in log
    assert "stolen cards" in log


async def paid(shop: Conversation) -> str:
    """A payment of 50 ₽ of the customer's; its id."""
    payment_id = UUID(int=5)
    async with shop.pool.acquire() as connection:
        await payments.open_payment(
            connection, payment_id, user_id=CUSTOMER, amount_kopecks=5_000, request_key="k",
            chat_id=CUSTOMER,
        )  # fmt: skip
        await payments.credit(
            connection, payment_id, provider_payment_id="remote", amount_kopecks=5_000,
            currency="RUB",
        )  # fmt: skip
    return str(payment_id)


async def test_a_refund_is_sent_once(shop: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []

    async def refund(payment_id: str, *, amount_kopecks: int, **rest: Any) -> RemoteRefund:
        del rest
        sent.append(amount_kopecks)
        return RemoteRefund(f"there-{len(sent)}", payment_id, "succeeded", amount_kopecks, "RUB")

    monkeypatch.setattr(shop.provider, "refund", refund)
    payment_id = await paid(shop)
    assert payment_id in (await shop.say(f"/admin payments {CUSTOMER}", ADMIN)).text
    asked = await shop.say(f"/admin refund {payment_id} all ticket 18", ADMIN)
    assert "Вернуть 50 ₽" in spaced(asked.text)
    for _ in range(2):
        told = await press(shop, asked, "Выполнить")
        assert "сделано" in told.text
    assert sent == [5_000]
    assert await shop.balance() == 10_000
    nothing = await shop.say("/admin refund remote all once more", ADMIN)
    assert "nothing left to refund" in nothing.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/admin", "Для администраторов"),
        ("/admin help", "/admin credit ID"),
        ("/admin frobnicate", "Такой команды нет"),
        ("/admin user", "номера клиента"),
        ("/admin user 99", "Клиента 99 нет"),
        (f"/admin credit {CUSTOMER} much r", "Не хватает суммы"),
        (f"/admin credit {CUSTOMER} 5", "Причины нет"),
        (f"/admin credit {CUSTOMER} 5 {'x' * 201}", "Причины нет"),
        ("/admin credit 99 5 r", "Клиента 99 нет"),
        (f"/admin ban {CUSTOMER}", "Причины нет"),
        ("/admin refund", "номера платежа"),
        ("/admin refund x", "Не хватает суммы"),
        ("/admin refund x all r", "Такого платежа нет"),
    ],
)
async def test_what_is_wrong_with_a_command_is_told(
    shop: Conversation, text: str, said: str
) -> None:
    assert said in (await shop.say(text, ADMIN)).text
    assert await shop.count("admin_requests") == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("status", "Queue: 0 waiting"),
        (f"user {CUSTOMER}", "Balance: 100 ₽"),
        ("payments", "Payments of 30 days"),
        ("jobs", "Jobs of 30 days"),
        ("top", "Spent most"),
        ("log", "Done by hand"),
    ],
)
async def test_questions_are_answered(shop: Conversation, text: str, said: str) -> None:
    shop.language = "en"
    assert said in spaced((await shop.say(f"/admin {text}", ADMIN)).text)


async def test_the_longest_report_fits_a_message(shop: Conversation, pool: Pool) -> None:
    long, big = "<&>" * 60, 10**15
    await pool.execute("UPDATE users SET first_name = $1, username = $1", long)
    await pool.execute("UPDATE balances SET balance_kopecks = 0")
    await pool.execute("""
        INSERT INTO user_bans (source, user_id, reason)
        SELECT 'userban/' || repeat('n', 63) || '/' || repeat('b', 250) || n, $1, repeat('<', 200)
        FROM generate_series(1, 20) AS n
    """, CUSTOMER)  # fmt: skip
    await pool.execute("""
        INSERT INTO payments (id, user_id, amount_kopecks, request_key, chat_id, status)
        SELECT gen_random_uuid(), $1, $2, n::text, 1, 'pending' FROM generate_series(1, 20) AS n
    """, CUSTOMER, big)  # fmt: skip
    await pool.execute("""
        INSERT INTO admin_actions (operation_id, word, actor, via, user_id, amount_kopecks, reason)
        SELECT n::text, 'credit', repeat('<', 300), 'v', $1, $2, repeat('&', 500)
        FROM generate_series(1, 20) AS n
    """, CUSTOMER, big)  # fmt: skip
    await pool.execute("UPDATE balances SET balance_kopecks = 10000")
    for text in (f"user {CUSTOMER}", "payments", "log"):
        shown = await shop.say(f"/admin {text}", ADMIN)
        plain = shown.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        assert 100 < len(plain) <= 4096
