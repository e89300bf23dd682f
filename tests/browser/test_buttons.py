"""Buttons and keyboards: what a press does, and what the bot's answer to it does."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.enums import ChatAction
from aiogram.types import (
    CopyTextButton,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReplyKeyboardMarkup,
    Update,
)
from playwright.async_api import expect

from rei_sandbox.app import Running
from rei_sandbox.telegram.users import UserSide

from .conftest import ANYA, JOHN
from .screen import Screen


async def _ask(bot: Bot, *buttons: InlineKeyboardButton) -> None:
    markup = InlineKeyboardMarkup(inline_keyboard=[[button] for button in buttons])
    await bot.send_message(ANYA, "Shall I draw?", reply_markup=markup)


async def _pressed(bot: Bot) -> Any:
    """The newest press, as the bot gets it; waits for one."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        updates: list[Update] = await bot.get_updates()
        for update in reversed(updates):
            if update.callback_query is not None:
                return update.callback_query
        await asyncio.sleep(0.02)
    pytest.fail("the bot heard of no press")


async def test_a_pressed_button_spins_until_the_bot_answers(screen: Screen, bot: Bot) -> None:
    await _ask(bot, InlineKeyboardButton(text="Yes", callback_data="yes"))
    await screen.reads("Shall I draw?")
    await screen.press("Yes")
    await expect(screen.button("Yes")).to_have_attribute("aria-busy", "true")
    query = await _pressed(bot)
    assert (query.data, query.from_user.id) == ("yes", ANYA)
    await query.answer("Your place: 3").as_(bot)
    await expect(screen.at("toast")).to_have_text("Your place: 3")
    await expect(screen.button("Yes")).to_have_attribute("aria-busy", "false")


async def test_an_alert_waits_for_its_ok(screen: Screen, bot: Bot) -> None:
    await _ask(bot, InlineKeyboardButton(text="Check", callback_data="check"))
    await screen.reads("Shall I draw?")
    await screen.press("Check")
    query = await _pressed(bot)
    await query.answer("Not paid yet", show_alert=True).as_(bot)
    await expect(screen.at("alert-text")).to_have_text("Not paid yet")
    await screen.at("alert-ok").click()
    await expect(screen.at("alert")).to_be_hidden()
    await expect(screen.button("Check")).to_have_attribute("aria-busy", "false")


async def test_an_answer_for_another_person_says_for_whom(
    screen: Screen, bot: Bot, users: UserSide
) -> None:
    await users.send_text(JOHN, "/start")
    markup = InlineKeyboardMarkup(
        inline_keyboard=[[InlineKeyboardButton(text="Go", callback_data="go")]]
    )
    sent = await bot.send_message(JOHN, "hello", reply_markup=markup)
    query = users.press(JOHN, sent.message_id, "go")
    await bot.answer_callback_query(query, text="gone")
    await expect(screen.at("toast")).to_have_text("John: gone")


async def test_a_button_copies_and_a_link_opens_elsewhere(screen: Screen, bot: Bot) -> None:
    await _ask(
        bot,
        InlineKeyboardButton(text="Copy", copy_text=CopyTextButton(text="number 1001")),
        InlineKeyboardButton(text="Site", url="https://example.com/"),
    )
    await screen.reads("Shall I draw?")
    await screen.press("Copy")
    await expect(screen.at("toast")).to_have_text("Copied")
    assert await screen.page.evaluate("navigator.clipboard.readText()") == "number 1001"
    await expect(screen.button("Site")).to_have_attribute("href", "https://example.com/")
    await expect(screen.button("Site")).to_have_attribute("target", "_blank")
    await expect(screen.button("Site")).to_have_attribute("rel", "noopener noreferrer")


async def _payment(sandbox: Running) -> str:
    settings = sandbox.sandbox.settings
    access = (settings.yookassa_shop_id, settings.yookassa_secret_key)
    body = {
        "amount": {"value": "500.00", "currency": "RUB"},
        "capture": True,
        "confirmation": {"type": "redirect", "return_url": "https://t.me/"},
        "description": "Top-up",
    }
    async with httpx.AsyncClient(base_url=sandbox.url, auth=access, trust_env=False) as http:
        answer = await http.post(
            "/yookassa/v3/payments", json=body, headers={"Idempotence-Key": "key"}
        )
        return str(answer.raise_for_status().json()["confirmation"]["confirmation_url"])


async def test_the_pay_page_opens_over_the_chat_which_lives_on(
    screen: Screen, bot: Bot, sandbox: Running
) -> None:
    await _ask(bot, InlineKeyboardButton(text="Pay 500 ₽", url=await _payment(sandbox)))
    await screen.reads("Shall I draw?")
    await screen.press("Pay 500")
    await bot.send_message(ANYA, "said meanwhile")
    await screen.reads("said meanwhile")
    await expect(screen.at("pay-frame")).to_be_visible()
    await screen.pay("pay")
    assert sandbox.sandbox.yookassa.shop.counts()["succeeded"] == 1
    await expect(screen.at("number-payments")).to_contain_text("1")
    await expect(screen.at("pay-iframe")).to_have_count(0)


async def test_the_pay_page_can_be_left_and_paid_later(
    screen: Screen, bot: Bot, sandbox: Running
) -> None:
    await _ask(bot, InlineKeyboardButton(text="Pay", url=await _payment(sandbox)))
    await screen.reads("Shall I draw?")
    await screen.press("Pay")
    await screen.pay("later")
    await screen.press("Pay")
    await screen.at("pay-close").click()
    await expect(screen.at("pay-frame")).to_be_hidden()
    assert sandbox.sandbox.yookassa.shop.counts()["pending"] == 1
    await screen.press("Pay")
    await screen.pay("decline")
    assert sandbox.sandbox.yookassa.shop.counts()["canceled"] == 1


async def test_the_pay_page_lets_in_its_own_style_and_script_only(sandbox: Running) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        policy = (await http.get(await _payment(sandbox))).headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    for rule in ("default-src 'none'", "script-src 'sha256-", "frame-ancestors 'self'"):
        assert rule in policy


async def test_the_bots_keyboard_writes_for_the_user(screen: Screen, bot: Bot) -> None:
    keyboard = ReplyKeyboardMarkup(
        keyboard=[[KeyboardButton(text="Draw"), KeyboardButton(text="Balance")]],
        one_time_keyboard=True,
        input_field_placeholder="Choose one",
    )
    await bot.send_message(ANYA, "What next?", reply_markup=keyboard)
    await expect(screen.at("reply-button")).to_have_text(["Draw", "Balance"])
    await expect(screen.at("text")).to_have_attribute("placeholder", "Choose one")
    await screen.at("keys").click()
    await expect(screen.at("reply-keyboard")).to_be_hidden()
    await screen.at("keys").click()
    await screen.at("reply-button").filter(has_text="Balance").click()
    await expect(screen.own.last).to_contain_text("Balance")
    await expect(screen.at("reply-keyboard")).to_be_hidden()
    await expect(screen.at("keys")).to_be_hidden()


async def test_it_is_seen_that_the_bot_is_at_work(screen: Screen, bot: Bot) -> None:
    await bot.send_chat_action(ANYA, ChatAction.UPLOAD_PHOTO)
    await expect(screen.at("subtitle")).to_have_text("sending a photo…")
    await expect(screen.at("acting")).to_be_visible()
    await bot.send_message(ANYA, "here it is")
    await expect(screen.at("subtitle")).to_have_text("bot")
    await expect(screen.at("acting")).to_be_hidden()
