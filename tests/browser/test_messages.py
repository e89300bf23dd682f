"""What the bot says, as its customer sees it."""

from __future__ import annotations

import re
from pathlib import Path

from aiogram import Bot
from aiogram.types import (
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    MessageEntity,
    ReplyParameters,
)
from playwright.async_api import expect

from rei_sandbox.telegram.users import UserSide

from .conftest import ANYA, Open, picture
from .screen import Screen


def _buttons(*labels: str) -> InlineKeyboardMarkup:
    row = [InlineKeyboardButton(text=label, callback_data=label) for label in labels]
    return InlineKeyboardMarkup(inline_keyboard=[row])


async def test_formatting_is_shown(screen: Screen, bot: Bot) -> None:
    text = (
        "<b>bold <i>and italic</i></b> <u>under</u> <s>gone</s> <code>code</code> "
        '<a href="https://example.com/a">a link</a> https://example.com/b '
        '<tg-spoiler>secret</tg-spoiler><pre><code class="language-python">x = 1</code></pre>'
        "<blockquote>said</blockquote>"
    )
    await bot.send_message(ANYA, text, parse_mode="HTML")
    shown = await screen.reads("and italic")
    await expect(shown.locator("strong")).to_have_text("bold and italic")
    await expect(shown.locator("strong em")).to_have_text("and italic")
    await expect(shown.locator("u")).to_have_text("under")
    await expect(shown.locator("s")).to_have_text("gone")
    await expect(shown.locator("pre code")).to_have_text("x = 1")
    await expect(shown.locator("pre")).to_contain_text("python")
    await expect(shown.locator("blockquote")).to_have_text("said")
    await expect(shown.locator("a")).to_have_text(["a link", "https://example.com/b"])
    await expect(shown.locator("a").first).to_have_attribute("href", "https://example.com/a")
    await expect(shown.locator("a").first).to_have_attribute("rel", re.compile("noopener"))

    hidden = shown.get_by_text("secret")
    await expect(hidden).to_be_hidden()
    await shown.get_by_role("button", name="Hidden text").click()
    await expect(hidden).to_be_visible()

    await shown.get_by_role("button", name="code", exact=True).click()
    assert await screen.page.evaluate("navigator.clipboard.readText()") == "code"


async def test_offsets_count_as_telegram_counts(screen: Screen, bot: Bot) -> None:
    entity = MessageEntity(type="bold", offset=3, length=5)
    await bot.send_message(ANYA, "👨 после 👨", entities=[entity])
    shown = await screen.reads("после")
    await expect(shown.locator("strong")).to_have_text("после")


async def test_nothing_of_the_bots_becomes_html_or_a_script(screen: Screen, bot: Bot) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    await bot.send_message(
        ANYA, evil, reply_markup=_buttons("<b>not bold</b>"),
        entities=[MessageEntity(type="text_link", offset=0, length=4, url="javascript:alert(1)")],
    )  # fmt: skip
    await bot.send_photo(ANYA, BufferedInputFile(picture(), "a.png"), caption=evil)
    await expect(screen.theirs).to_have_count(2)
    for index in (0, 1):
        await expect(screen.theirs.nth(index).locator(".words")).to_have_text(evil)
        await expect(screen.theirs.nth(index).locator("script, a, .words img")).to_have_count(0)
    await expect(screen.button("<b>not bold</b>")).to_be_visible()
    assert await screen.page.title() != "owned"


async def test_edits_and_deletions_are_seen_at_once(screen: Screen, bot: Bot) -> None:
    sent = await bot.send_message(ANYA, "in line", reply_markup=_buttons("Cancel"))
    await screen.reads("in line")
    await expect(screen.at("edited")).to_have_count(0)
    await sent.edit_text("drawing", reply_markup=_buttons("Refresh", "More"))
    shown = await screen.reads("drawing")
    await expect(shown.locator(".inline")).to_have_text(["Refresh", "More"])
    await expect(shown.get_by_test_id("edited")).to_be_visible()
    await sent.edit_text("done")
    await expect(screen.message("done").locator(".inline")).to_have_count(0)
    await expect(screen.theirs).to_have_count(1)
    await expect(screen.at("person-1001")).to_contain_text("done")
    await sent.delete()
    await expect(screen.theirs).to_have_count(0)


async def test_a_button_keeps_the_focus_while_its_message_changes(screen: Screen, bot: Bot) -> None:
    sent = await bot.send_message(ANYA, "one", reply_markup=_buttons("Refresh"))
    await screen.reads("one")
    await screen.button("Refresh").focus()
    await sent.edit_text("two", reply_markup=_buttons("Refresh", "More"))
    await screen.reads("two")
    await expect(screen.button("Refresh")).to_be_focused()


async def test_a_photo_fills_the_screen_and_arrows_turn_to_the_next(
    screen: Screen, bot: Bot
) -> None:
    for index, colour in enumerate(("red", "blue")):
        file = BufferedInputFile(picture(1600, 1200, colour=colour), "a.png")
        await bot.send_photo(ANYA, file, caption=f"number {index}")
    await screen.reads("number 1")
    await screen.at("photo").first.click()
    viewer = screen.at("viewer")
    await expect(viewer).to_contain_text("number 0")
    await expect(viewer).to_contain_text("1 of 2")
    await expect(screen.at("viewer-before")).to_be_hidden()
    await screen.page.keyboard.press("ArrowRight")
    await expect(viewer).to_contain_text("number 1")
    image = screen.at("viewer-image")
    await expect(image).to_have_js_property("naturalWidth", 1600)
    box = await image.bounding_box()
    assert box is not None
    assert 500 < box["height"] <= 900, "as large as the window lets it be"
    await screen.page.keyboard.press("Escape")
    await expect(viewer).to_be_hidden()


async def test_a_file_comes_down_as_it_was_sent(screen: Screen, bot: Bot, tmp_path: Path) -> None:
    data = picture(900, 600, colour="orange")
    await bot.send_document(ANYA, BufferedInputFile(data, "rei-7.png"), caption="the original")
    shown = await screen.reads("the original")
    await expect(shown).to_contain_text("rei-7.png")
    async with screen.page.expect_download() as coming:
        await shown.get_by_test_id("document").click()
    download = await coming.value
    assert download.suggested_filename == "rei-7.png"
    await download.save_as(tmp_path / "down.png")
    assert (tmp_path / "down.png").read_bytes() == data
    await shown.get_by_test_id("thumb").click()
    await expect(screen.at("viewer-image")).to_have_js_property("naturalWidth", 900)


async def test_an_album_is_one_bubble(screen: Screen, bot: Bot) -> None:
    media = [
        InputMediaPhoto(
            media=BufferedInputFile(picture(colour=colour), f"{colour}.png"),
            caption="five of them" if colour == "red" else None,
        )
        for colour in ("red", "green", "blue", "black", "white")
    ]
    await bot.send_media_group(ANYA, [*media])
    album = await screen.reads("five of them")
    await expect(screen.theirs).to_have_count(1)
    await expect(album.get_by_test_id("photo")).to_have_count(5)


async def test_an_answer_quotes_what_it_answers(screen: Screen, bot: Bot, users: UserSide) -> None:
    asked = await users.send_text(ANYA, "how much is it?")
    answer = ReplyParameters(message_id=asked["message_id"])
    await bot.send_message(ANYA, "15 ₽", reply_parameters=answer)
    shown = await screen.reads("15 ₽")
    await expect(shown.locator(".quote")).to_contain_text("how much is it?")


async def test_a_long_chat_shows_its_end_and_gives_the_rest_on_request(
    open_page: Open, bot: Bot, users: UserSide
) -> None:
    await users.send_text(ANYA, "/start")
    for number in range(150):
        await bot.send_message(ANYA, f"line {number}.")
    screen = await open_page()
    await expect(screen.message("line 149.")).to_be_in_viewport()
    await expect(screen.messages).to_have_count(60)
    await screen.at("earlier").click()
    await expect(screen.messages).to_have_count(120)
    await expect(screen.message("line 90.")).to_be_visible()
    await screen.at("earlier").click()
    await expect(screen.messages).to_have_count(151)
    await expect(screen.at("earlier")).to_be_hidden()


async def test_who_reads_above_is_not_torn_down_by_a_new_message(
    open_page: Open, bot: Bot, users: UserSide
) -> None:
    await users.send_text(ANYA, "/start")
    for number in range(40):
        await bot.send_message(ANYA, f"line {number}.")
    screen = await open_page()
    await expect(screen.message("line 39.")).to_be_in_viewport()
    await screen.at("timeline").evaluate("node => node.scrollTo(0, 0)")
    await expect(screen.at("jump")).to_be_visible()
    await bot.send_message(ANYA, "news!")
    await expect(screen.at("jump")).to_have_text("1")
    await expect(screen.own.first).to_be_in_viewport()
    await screen.at("jump").click()
    await expect(screen.message("news!")).to_be_in_viewport()
    await expect(screen.at("jump")).to_be_hidden()
