"""Chromium on the chat page; the sandbox in this process, or the whole of Rei in its own.

Every page is watched: a script's error, a refusal of the content policy or a request to elsewhere
fails the test that it happened in. Without Chromium the tests are skipped, under CI they fail.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from PIL import Image
from playwright.async_api import Browser, async_playwright, expect

from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.telegram.users import UserSide

from .screen import Screen, Troubles

TOKEN = "7000000001:test-token"  # of a stand-in; it opens nothing
ANYA, JOHN = 1001, 1002
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")
EXPECT_MS_MAX = 10_000

Open = Callable[..., Awaitable[Screen]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; they share one event loop, and so one browser."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        problem = "no Chromium: `tools/setup browser` installs one"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One browser for all tests; each page has a context of its own, with its own storage."""
    expect.set_options(timeout=EXPECT_MS_MAX)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_at(browser: Browser) -> AsyncIterator[Open]:
    """`await open_at(url, width=…)`: the page in a window of its own."""
    async with AsyncExitStack() as stack:
        watched: list[Troubles] = []

        async def opened(
            url: str, *, width: int = 1440, height: int = 900, dark: bool = False
        ) -> Screen:
            context = await browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",
                has_touch=width < 600,
                accept_downloads=True,
            )
            stack.push_async_callback(context.close)
            await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
            page = await context.new_page()
            troubles = Troubles(url)
            troubles.watch(page)
            watched.append(troubles)
            await page.goto(f"{url}/")
            screen = Screen(page)
            await screen.ready()
            return screen

        yield opened
    assert [trouble for each in watched for trouble in each.seen] == []


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox() -> AsyncIterator[Running]:
    async with running(SandboxSettings(port=0, telegram_bot_token=TOKEN)) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def bot(sandbox: Running) -> AsyncIterator[Bot]:
    """A bot that does what the test tells it, through aiogram."""
    made = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(sandbox.url)))
    yield made
    await made.session.close()


@pytest.fixture
def users(sandbox: Running) -> UserSide:
    """What people do when nobody has to see how."""
    return sandbox.sandbox.telegram.users


@pytest.fixture
def open_page(open_at: Open, sandbox: Running) -> Open:
    """`await open_page(width=…)`: the chat page of `sandbox`."""

    async def opened(*, width: int = 1440, height: int = 900, dark: bool = False) -> Screen:
        return await open_at(sandbox.url, width=width, height=height, dark=dark)

    return opened


@pytest_asyncio.fixture(loop_scope="session")
async def screen(open_page: Open, users: UserSide) -> Screen:
    """A desktop's page on the chat of Anya, who has started the bot."""
    await users.send_text(ANYA, "/start")
    opened: Screen = await open_page()
    return opened


def picture(width: int = 320, height: int = 240, *, colour: str = "teal") -> bytes:
    """A plain PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()
