"""How the page stands on a phone and on a desktop, by light and dark, by hand and by ear."""

from __future__ import annotations

import re

import httpx
import pytest
from aiogram import Bot
from aiogram.types import BufferedInputFile, InlineKeyboardButton, InlineKeyboardMarkup
from playwright.async_api import expect

from rei_sandbox.app import Running
from rei_sandbox.telegram.users import UserSide

from .conftest import ANYA, JOHN, Open, picture
from .screen import Screen

LONG = "Donaudampfschifffahrtsgesellschaftskapitän" * 6


async def _busy_chat(bot: Bot, users: UserSide) -> None:
    """A chat with everything that could be too wide."""
    await users.send_text(ANYA, "/start")
    await users.send_text(ANYA, LONG)
    rows = [[InlineKeyboardButton(text=LONG[:60], callback_data=str(row))] * 3 for row in range(2)]
    markup = InlineKeyboardMarkup(inline_keyboard=rows)
    text = f"<b>{LONG}</b>\n<pre>{LONG * 3}</pre>"
    await bot.send_message(ANYA, text, parse_mode="HTML", reply_markup=markup)
    await bot.send_photo(ANYA, _input(picture(3000, 400)), caption="wide")
    await bot.send_photo(ANYA, _input(picture(300, 3000)), caption="high")
    await bot.send_document(ANYA, _input(b"bytes", name=f"{LONG[:110]}.bin"))


def _input(data: bytes, *, name: str = "a.png") -> BufferedInputFile:
    return BufferedInputFile(data, name)


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
async def test_nothing_sticks_out(open_page: Open, bot: Bot, users: UserSide, width: int) -> None:
    await _busy_chat(bot, users)
    screen = await open_page(width=width, height=844)
    await expect(screen.theirs).to_have_count(4)
    assert await screen.overflow() <= 0
    edges: list[float] = await screen.page.evaluate(
        "[...document.querySelectorAll('.bubble, .inline, .composer, .chat-head')]"
        ".map((node) => node.getBoundingClientRect())"
        ".flatMap(({left, right}) => [left, innerWidth - right])"
    )
    assert min(edges) >= 0
    timeline = "node => node.scrollWidth - node.clientWidth"
    assert await screen.at("timeline").evaluate(timeline) <= 0


async def test_on_a_desktop_everything_stands_side_by_side(screen: Screen) -> None:
    for part in ("people", "chat", "tools"):
        await expect(screen.at(part)).to_be_in_viewport(ratio=0.9)
    for opener in ("open-people", "open-tools"):
        await expect(screen.at(opener)).to_be_hidden()


async def test_on_a_phone_the_sides_are_drawers(open_page: Open, users: UserSide) -> None:
    await users.send_text(JOHN, "/start")
    phone = await open_page(width=390, height=844)
    for name in ("people", "tools"):
        drawer, opener = phone.at(name), phone.at(f"open-{name}")
        await expect(drawer).not_to_be_in_viewport()
        assert await drawer.evaluate("node => node.inert")
        await opener.click()
        await expect(drawer).to_be_in_viewport()
        await expect(opener).to_have_attribute("aria-expanded", "true")
        await expect(drawer.locator("[data-close-drawer]")).to_be_focused()
        await phone.page.keyboard.press("Escape")
        await expect(drawer).not_to_be_in_viewport()
        await expect(opener).to_be_focused()
    await phone.switch_to(JOHN)
    await expect(phone.at("people")).not_to_be_in_viewport()
    await expect(phone.own).to_have_count(1)


async def test_light_and_dark_follow_the_system_or_the_button(open_page: Open) -> None:
    ground = "() => getComputedStyle(document.getElementById('people')).backgroundColor"
    light = await open_page()
    dark = await open_page(dark=True)
    bright, dim = await light.page.evaluate(ground), await dark.page.evaluate(ground)
    assert bright != dim
    await dark.at("theme").click()  # as the system → dark
    assert await dark.page.evaluate(ground) == dim
    await dark.at("theme").click()  # dark → light
    assert await dark.page.evaluate(ground) == bright
    await dark.page.reload()
    await dark.ready()
    assert await dark.page.evaluate(ground) == bright


@pytest.mark.parametrize("dark", [False, True])
async def test_words_stand_out_from_their_ground(
    open_page: Open, bot: Bot, users: UserSide, dark: bool
) -> None:
    """WCAG AA: 4.5 to 1 for text, measured on what the browser has computed."""
    await users.send_text(ANYA, "/start")
    await bot.send_message(ANYA, "words <a href='https://example.com'>link</a>", parse_mode="HTML")
    screen = await open_page(dark=dark)
    await screen.reads("words")
    for selector, ground in (
        (".theirs .words", ".theirs .bubble"),
        (".theirs .words a", ".theirs .bubble"),
        (".theirs .meta", ".theirs .bubble"),
        (".chat-title p", ".people"),
        (".person-last", ".people"),
        (".tile small", ".tile"),
        (".about", ".tools"),
    ):
        ratio = await screen.page.evaluate(_CONTRAST, [selector, ground])
        assert ratio >= 4.5, (selector, ratio)


_CONTRAST = """([text, ground]) => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = (selector) => getComputedStyle(document.querySelector(selector));
  const pair = [luminance(style(text).color), luminance(style(ground).backgroundColor)].sort();
  const [low, high] = pair[0] < pair[1] ? pair : pair.reverse();
  return (high + 0.05) / (low + 0.05);
}"""


async def test_everything_that_can_be_pressed_has_a_name(
    open_page: Open, bot: Bot, users: UserSide
) -> None:
    await _busy_chat(bot, users)
    screen = await open_page()
    await expect(screen.theirs).to_have_count(4)
    nameless: list[str] = await screen.page.evaluate(
        """[...document.querySelectorAll("button, a, input, select, textarea")]
          .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim()
            || node.labels?.[0]?.textContent.trim()))
          .map((node) => node.outerHTML)"""
    )
    assert nameless == []
    await expect(screen.page.get_by_role("log", name="Chat with the bot")).to_be_visible()
    await expect(screen.page.get_by_role("textbox", name="Caption")).to_be_hidden()


async def test_the_chat_can_be_used_with_nothing_but_a_keyboard(screen: Screen, bot: Bot) -> None:
    markup = InlineKeyboardMarkup(
        inline_keyboard=[[InlineKeyboardButton(text="Yes", callback_data="y")]]
    )
    await bot.send_message(ANYA, "Shall I?", reply_markup=markup)
    await screen.reads("Shall I?")
    await screen.at("timeline").focus()
    for _ in range(5):
        await screen.page.keyboard.press("Tab")
        if await screen.button("Yes").evaluate("node => node === document.activeElement"):
            break
    await screen.page.keyboard.press("Enter")
    await expect(screen.button("Yes")).to_have_attribute("aria-busy", "true")
    await expect(screen.button("Yes")).to_be_focused()


async def test_page_and_parts_come_with_their_protection(sandbox: Running) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as http:
        page = await http.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "unsafe-inline" not in page.headers["content-security-policy"]
        assert "script-src 'self'" in page.headers["content-security-policy"]
        names = set(re.findall(r"/chat/([\w.-]+)", page.text))
        assert len(names) > 5
        for name in names:
            part = await http.get(f"/chat/{name}")
            assert part.status_code == 200
            assert part.headers["x-content-type-options"] == "nosniff"
            known = {"If-None-Match": part.headers["etag"]}
            assert (await http.get(f"/chat/{name}", headers=known)).status_code == 304
        for name in ("nothing.js", "..%2froutes.py", "__init__.py"):
            assert (await http.get(f"/chat/{name}")).status_code == 404
        assert not re.search(r"https?://", page.text), "nothing is loaded from elsewhere"
        assert (await http.get("/_sandbox/chat/bot/404")).status_code == 404
