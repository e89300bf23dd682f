"""Several people in one browser: each with a chat, a language and unread messages of their own."""

from __future__ import annotations

from aiogram import Bot
from playwright.async_api import expect

from rei_sandbox.app import Running
from rei_sandbox.telegram.users import UserSide

from .conftest import ANYA, JOHN, Open
from .screen import Screen


async def test_unread_messages_are_counted_until_they_are_looked_at(
    screen: Screen, bot: Bot, users: UserSide
) -> None:
    await users.send_text(JOHN, "/start")
    await bot.send_message(JOHN, "one")
    await bot.send_message(JOHN, "two")
    await expect(screen.at(f"unread-{JOHN}")).to_have_text("2 unread")
    await expect(screen.at(f"person-{JOHN}")).to_contain_text("two")
    await screen.switch_to(JOHN)
    await expect(screen.at(f"unread-{JOHN}")).to_have_count(0)
    await expect(screen.theirs.last).to_contain_text("two")
    await screen.page.reload()
    await screen.ready()
    await expect(screen.at(f"person-{JOHN}")).to_have_attribute("aria-current", "true")
    await expect(screen.at(f"unread-{JOHN}")).to_have_count(0)
    await bot.send_message(ANYA, "for Anya")
    await expect(screen.at(f"unread-{ANYA}")).to_have_text("1 unread")


async def test_each_chat_shows_its_own_messages(screen: Screen, users: UserSide) -> None:
    await users.send_text(JOHN, "John was here")
    await expect(screen.own).to_have_count(1)
    await screen.switch_to(JOHN)
    await expect(screen.own).to_have_count(1)
    await expect(screen.own).to_contain_text(["John was here"])
    await screen.switch_to(ANYA)
    await expect(screen.own).to_contain_text(["/start"])


async def test_what_was_begun_waits_in_its_chat(screen: Screen, users: UserSide) -> None:
    await users.send_text(JOHN, "/start")
    await screen.at("text").fill("half a sentence")
    await screen.switch_to(JOHN)
    await expect(screen.at("text")).to_have_value("")
    await screen.at("text").fill("John's half")
    await screen.switch_to(ANYA)
    await expect(screen.at("text")).to_have_value("half a sentence")


async def test_a_person_is_added_with_name_and_language(screen: Screen, sandbox: Running) -> None:
    user_id = await screen.add_person("Grace", language="en")
    await expect(screen.at(f"person-{user_id}")).to_contain_text("Grace")
    await screen.start()
    await expect(screen.own).to_have_count(1)
    sender = next(iter(sandbox.sandbox.telegram.chats[user_id].messages.values()))["from"]
    assert (sender["first_name"], sender["language_code"]) == ("Grace", "en")


async def test_two_pages_on_one_chat_see_the_same(
    screen: Screen, open_page: Open, bot: Bot
) -> None:
    phone = await open_page(width=390, height=844)
    await screen.say("from the desktop")
    await expect(phone.own.last).to_contain_text("from the desktop")
    await phone.say("from the phone")
    await expect(screen.own.last).to_contain_text("from the phone")
    await bot.send_message(ANYA, "to both")
    await screen.reads("to both")
    await phone.reads("to both")
