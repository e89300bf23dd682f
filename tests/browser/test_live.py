"""Live without reload: over a restart of the sandbox, a cut stream, a reset, a slow page."""

from __future__ import annotations

import json

import httpx
from aiogram import Bot
from playwright.async_api import Route, expect

from rei_sandbox.app import Running, running
from rei_sandbox.chat.feed import Feed
from rei_sandbox.services import free_port
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.telegram.events import BACKLOG_MAX
from rei_sandbox.telegram.users import UserSide

from .conftest import ANYA, Open
from .screen import Screen


async def test_after_a_restart_the_page_comes_back_and_shows_what_is_true(open_at: Open) -> None:
    settings = SandboxSettings(port=free_port())
    async with running(settings) as first:
        await first.sandbox.telegram.users.send_text(ANYA, "before")
        screen = await open_at(first.url)
        await expect(screen.own).to_contain_text(["before"])
    await expect(screen.at("subtitle")).to_have_text("connecting…")
    async with running(settings) as second:
        await second.sandbox.telegram.users.send_text(ANYA, "after")
        await expect(screen.own).to_contain_text(["after"], timeout=20_000)
        await expect(screen.own).to_have_count(1)
        await expect(screen.at("subtitle")).to_have_text("bot")
        await screen.say("still the same page")
        await expect(screen.own.last).to_contain_text("still the same page")
    await screen.page.close()


async def test_what_was_said_while_the_stream_was_cut_is_shown_after_it(
    screen: Screen, sandbox: Running, bot: Bot
) -> None:
    cut = True

    async def pass_on(route: Route) -> None:
        await (route.abort() if cut else route.continue_())

    edited = await bot.send_message(ANYA, "old words")
    gone = await bot.send_message(ANYA, "soon gone")
    await screen.reads("soon gone")
    await screen.page.route("**/_sandbox/chat/events", pass_on)
    sandbox.sandbox.telegram.events.close()  # as a proxy does that ends a stream
    await expect(screen.at("subtitle")).to_have_text("connecting…")
    await bot.send_message(ANYA, "said meanwhile")
    await edited.edit_text("new words")
    await gone.delete()
    await expect(screen.theirs).to_have_count(2)  # nobody has told the page
    cut = False
    await screen.reads("said meanwhile", seconds_max=20)
    await screen.reads("new words")
    await expect(screen.message("soon gone")).to_have_count(0)
    await expect(screen.theirs).to_have_count(2)


async def test_a_page_that_fell_behind_starts_anew(
    screen: Screen, sandbox: Running, bot: Bot
) -> None:
    events = sandbox.sandbox.telegram.events
    for _ in range(BACKLOG_MAX + 10):  # in one step: no stream gets a turn in between
        events.publish("action", user_id=ANYA, action="typing")
    await bot.send_message(ANYA, "after the flood")
    await screen.reads("after the flood", seconds_max=20)
    await expect(screen.theirs).to_have_count(1)


async def test_a_reset_is_seen_at_once(screen: Screen, sandbox: Running, bot: Bot) -> None:
    await bot.send_message(ANYA, "to be forgotten")
    await screen.reads("to be forgotten")
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as http:
        (await http.post("/_sandbox/reset")).raise_for_status()
    await expect(screen.messages).to_have_count(0)
    await expect(screen.at("start")).to_be_visible()


async def test_a_stream_begins_with_everything_and_tells_what_is_new(
    sandbox: Running, users: UserSide
) -> None:
    await users.send_text(ANYA, "/start")
    async with (
        httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=10) as http,
        http.stream("GET", "/_sandbox/chat/events") as stream,
    ):
        assert stream.headers["content-type"] == "text/event-stream"
        events = (
            json.loads(line.removeprefix("data: "))
            async for line in stream.aiter_lines()
            if line.startswith("data: ")
        )
        snapshot = await anext(events)
        assert snapshot["event"] == "snapshot"
        anya = next(user for user in snapshot["users"] if user["id"] == ANYA)
        assert anya["last_message"]["text"] == "/start"
        sandbox.sandbox.faults.add("gemini", "hang")
        status = await anext(events)
        assert status["event"] == "status"
        assert [order["kind"] for order in status["status"]["waiting"]] == ["hang"]
        await users.send_text(ANYA, "more")
        assert (await anext(events))["message"]["text"] == "more"


async def test_the_numbers_cost_nothing_that_grows(sandbox: Running) -> None:
    for number in range(300):
        sandbox.sandbox.calls.record("gemini", "made", "a model")
        sandbox.sandbox.calls.record("gemini", "generate", "ok", detail=str(number))
    status = Feed(sandbox.sandbox)._status()
    assert len(status["last_calls"]) == 30
    assert status["last_calls"][0]["detail"] == "299"
    assert status["calls"] == {"gemini": 300}
    assert status["pictures"] == 300
