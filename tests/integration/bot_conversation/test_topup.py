"""Topping up: amounts, payment page, check; lost answers and refusals on the way."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Conversation


async def test_an_amount_becomes_a_payment_and_a_paid_one_is_credited_once(
    rei: Conversation,
) -> None:
    menu = await rei.say("/topup")
    assert {"200 ₽", "500 ₽", "1 000 ₽", "3 000 ₽"} <= set(menu.buttons)
    payment = await rei.tap(menu, "500")
    assert payment.button("Оплатить 500 ₽") == "https://pay.example/remote-0"
    assert "ещё не поступила" in (await rei.tap(payment, "Проверить")).text
    rei.provider.end("succeeded")
    presses = [rei.press(payment, payment.button("Проверить")) for _ in range(5)]
    await asyncio.gather(*(rei.feed(press) for press in presses))
    assert "Зачислено 500 ₽. Баланс: <b>500 ₽</b>" in rei.shown(payment).text
    assert await rei.balance() == 50_000
    assert await rei.count("transfers") == 1


async def test_the_same_press_twice_is_one_payment(rei: Conversation) -> None:
    menu = await rei.say("/topup")
    press = rei.press(menu, menu.button("200"))
    await rei.feed(press)
    await rei.feed(press)
    assert await rei.count("payments") == 1
    assert len(rei.provider.payments) == 1


async def test_a_cancelled_payment_offers_the_amounts_again(rei: Conversation) -> None:
    payment = await rei.tap(await rei.say("/topup"), "200")
    rei.provider.end("canceled")
    after = await rei.tap(payment, "Проверить")
    assert "отменён" in after.text
    assert "500 ₽" in (await rei.tap_for_new(after, "Пополнить")).buttons


async def test_a_cancelled_payment_of_the_same_amount_can_be_tried_again(rei: Conversation) -> None:
    menu = await rei.say("/topup")
    payment = await rei.tap(menu, "200")
    rei.provider.end("canceled")
    fresh = await rei.tap_for_new(await rei.tap(payment, "Проверить"), "Пополнить")
    again = await rei.tap(fresh, "200")
    assert again.button("Оплатить") == "https://pay.example/remote-1"


async def test_an_own_amount_is_asked_for_and_taken(rei: Conversation) -> None:
    asked = await rei.tap_for_new(await rei.say("/topup"), "Другая")
    assert "от 50 ₽" in asked.text
    for garbage in ("кот", "-5", "1e9", "10", "999999999", "١٢٣", "0x10", "NaN", "300.001"):
        assert "Не получается" in (await rei.say(garbage)).text
    assert await rei.count("payments") == 0
    update = rei.message(text="300")
    await rei.feed(update)
    assert "Оплатить 300 ₽" in " ".join(rei.last.buttons)
    assert await rei.pool.fetchval("SELECT awaiting FROM users") is None
    assert "✏️ 300" in (await rei.say("300")).text  # a prompt again


async def test_an_own_amount_that_is_repeated_after_a_crash_is_one_payment(
    rei: Conversation,
) -> None:
    await rei.tap(await rei.say("/topup"), "Другая")
    update = rei.message(text="300")
    rei.telegram.fail["SendMessage"] = RuntimeError("the process died here")
    with pytest.raises(RuntimeError):
        await rei.feed(update)
    await rei.feed(update)
    assert "Оплатить 300 ₽" in " ".join(rei.last.buttons)
    assert await rei.count("payments") == 1


async def test_any_command_leaves_the_question(rei: Conversation) -> None:
    await rei.tap(await rei.say("/topup"), "Другая")
    await rei.say("/balance")
    assert "заказ" in (await rei.say("300")).text


async def test_a_lost_answer_is_repeated_under_the_same_key(rei: Conversation) -> None:
    menu = await rei.say("/topup")
    rei.provider.lose_next_answer = True
    lost = await rei.tap(menu, "200")
    assert "дважды деньги не спишутся" in lost.text
    payment = await rei.tap(lost, "ещё раз")
    assert payment.button("Оплатить") == "https://pay.example/remote-0"
    assert len(rei.provider.payments) == 1


async def test_a_refused_payment_is_apologized_for(rei: Conversation) -> None:
    menu = await rei.say("/topup")
    rei.provider.refuse_next = True
    after = await rei.tap(menu, "200")
    assert "Извините" in after.text
    again = await rei.tap(await rei.tap_for_new(after, "Пополнить"), "200")
    assert again.button("Оплатить") == "https://pay.example/remote-0"


async def test_a_check_while_the_provider_is_away_loses_nothing(rei: Conversation) -> None:
    payment = await rei.tap(await rei.say("/topup"), "200")
    rei.provider.end("succeeded")
    rei.provider.away = True
    away = await rei.tap(payment, "Проверить")
    assert "не отвечает" in away.text
    rei.provider.away = False
    assert "Зачислено" in (await rei.tap(away, "Проверить")).text


async def test_a_payment_that_contradicts_ours_credits_nothing(rei: Conversation) -> None:
    payment = await rei.tap(await rei.say("/topup"), "200")
    rei.provider.end("succeeded")
    rei.provider.forge_amount(1)
    assert "не отвечает" in (await rei.tap(payment, "Проверить")).text
    assert await rei.balance() == 0


async def test_another_customers_payment_cannot_be_checked(rei: Conversation) -> None:
    payment = await rei.tap(await rei.say("/topup"), "200")
    await rei.feed(rei.press(payment, payment.button("Проверить"), user_id=8))
    assert "устарела" in rei.alerts[-1]


async def test_an_amount_out_of_bounds_opens_no_payment(rei: Conversation) -> None:
    menu = await rei.say("/topup")
    for kopecks in (0, -100, 100, 10**12):
        await rei.feed(rei.press(menu, f"ta:menu:{kopecks}"))
    assert await rei.count("payments") == 0
