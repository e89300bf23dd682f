"""The workbench: ordering faults, seeing them wait and happen, and the numbers."""

from __future__ import annotations

import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramRetryAfter
from playwright.async_api import expect

from rei_sandbox.app import Running
from rei_sandbox.faults import KINDS

from .conftest import ANYA, Open
from .screen import Screen


async def test_a_fault_is_ordered_waits_happens_and_is_counted(
    screen: Screen, sandbox: Running, bot: Bot
) -> None:
    await screen.at("service-telegram").check()
    await screen.at("fault-kind").select_option("rate_limited")
    await screen.at("fault-operation").select_option("sendMessage")
    await screen.at("fault-count").fill("2")
    await screen.at("fault-delay").fill("7")
    await screen.at("fault-subject").fill(str(ANYA))
    await screen.at("fault-order").click()
    waiting = screen.at("waiting-fault")
    await expect(waiting).to_have_count(1)
    await expect(waiting).to_contain_text("sendMessage · 7 s · only 1001")
    await expect(waiting).to_contain_text("×2")
    [order] = sandbox.sandbox.faults.active()
    assert (order.kind, order.count, order.delay_seconds) == ("rate_limited", 2, 7.0)

    with pytest.raises(TelegramRetryAfter) as refused:
        await bot.send_message(ANYA, "refused")
    assert refused.value.retry_after == 7
    await expect(waiting).to_contain_text("×1")
    await expect(screen.at("taken-fault")).to_contain_text("429, come back later")
    await screen.at("clear-faults").click()
    await expect(waiting).to_have_count(0)
    await expect(screen.at("clear-faults")).to_be_hidden()
    await bot.send_message(ANYA, "all is well")
    await screen.reads("all is well")


async def test_every_kind_of_every_service_can_be_ordered(screen: Screen, sandbox: Running) -> None:
    number = 0
    for service, kinds in KINDS.items():
        await screen.at(f"service-{service}").check()
        options = screen.at("fault-kind").locator("option")
        await expect(options).to_have_count(len(kinds))
        for kind in kinds:
            await screen.at("fault-kind").select_option(kind)
            await expect(screen.at("fault-about")).not_to_be_empty()
            await screen.at("fault-order").click()
            number += 1
            await expect(screen.at("waiting-fault")).to_have_count(number)
            await expect(screen.at("toast").last).to_contain_text("Ordered")
            await expect(screen.at("fault-problem")).to_be_hidden()
    ordered = {(order.service, order.kind) for order in sandbox.sandbox.faults.active()}
    assert ordered == {(service, kind) for service, kinds in KINDS.items() for kind in kinds}


async def test_each_preset_is_an_order_that_is_taken(screen: Screen, sandbox: Running) -> None:
    presets = screen.at("preset")
    number = await presets.count()
    assert number >= 5
    for index in range(number):
        await presets.nth(index).click()
        await expect(screen.at("waiting-fault")).to_have_count(index + 1)
    assert len(sandbox.sandbox.faults.active()) == number


async def test_an_order_that_makes_no_sense_is_refused_with_words(screen: Screen) -> None:
    await screen.page.evaluate(
        "document.getElementById('fault-kind').append(new Option('no such kind', 'nonsense'))"
    )
    await screen.at("fault-kind").select_option("nonsense")
    await screen.at("fault-order").click()
    await expect(screen.at("fault-problem")).to_contain_text("gemini has no 'nonsense'")
    await expect(screen.at("waiting-fault")).to_have_count(0)


async def test_the_numbers_and_the_last_calls_are_live(screen: Screen, bot: Bot) -> None:
    await expect(screen.at("number-updates")).to_contain_text("1")  # /start waits for a poll
    await bot.send_message(ANYA, "hello")
    await screen.at("calls-toggle").click()
    await expect(screen.at("calls").locator("li").first).to_contain_text("telegram sendMessage")
    [update] = await bot.get_updates()
    await bot.get_updates(offset=update.update_id + 1)
    await expect(screen.at("number-updates").locator("b")).to_have_text("0")


async def test_on_a_phone_the_badge_tells_how_many_faults_wait(
    open_page: Open, sandbox: Running
) -> None:
    phone = await open_page(width=390, height=844)
    await expect(phone.at("faults-total")).to_be_hidden()
    sandbox.sandbox.faults.add("gemini", "unavailable", count=3)
    await expect(phone.at("faults-total")).to_have_text("3")
