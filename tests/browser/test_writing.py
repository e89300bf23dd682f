"""What a person says to the bot: words, commands, pictures, files, and that it shall be quiet."""

from __future__ import annotations

import base64
import io
from typing import Any

from aiogram import Bot
from aiogram.types import BotCommand
from PIL import Image
from playwright.async_api import FilePayload, expect

from rei_sandbox.app import Running
from rei_sandbox.telegram.users import UserSide

from .conftest import ANYA, Open, picture
from .screen import Screen

COMMANDS = [
    BotCommand(command="balance", description="What is left"),
    BotCommand(command="topup", description="Add money"),
    BotCommand(command="help", description="How it works"),
]


def _file(name: str, data: bytes, kind: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}


def _said(sandbox: Running) -> list[dict[str, Any]]:
    """What Anya has sent, as the bot gets it."""
    messages = sandbox.sandbox.telegram.chats[ANYA].messages.values()
    return [message for message in messages if not message["from"]["is_bot"]]


async def test_a_new_chat_greets_and_begins_with_start(open_page: Open, bot: Bot) -> None:
    await bot.set_my_description("I draw pictures.")
    await bot.set_my_name("Rei the painter")
    screen = await open_page()
    await expect(screen.at("welcome")).to_contain_text("I draw pictures.")
    await expect(screen.at("bot-name")).to_have_text("Rei the painter")
    await expect(screen.at("composer")).to_be_hidden()
    await screen.start()
    await expect(screen.own).to_contain_text(["/start"])
    await expect(screen.at("welcome")).to_be_hidden()


async def test_enter_sends_and_shift_enter_begins_a_line(screen: Screen, sandbox: Running) -> None:
    text = screen.at("text")
    await text.fill("a cat")
    await text.press("Shift+Enter")
    await text.press_sequentially("in a hat")
    await expect(screen.own).to_have_count(1)
    await text.press("Enter")
    await expect(screen.own.last).to_contain_text("a cat\nin a hat", use_inner_text=True)
    await expect(text).to_have_value("")
    assert _said(sandbox)[-1]["text"] == "a cat\nin a hat"
    await text.press("Enter")
    await text.fill("  \n ")
    await text.press("Enter")
    await screen.say("the end")
    await expect(screen.own.last).to_contain_text("the end")
    await expect(screen.own).to_have_count(3)  # nothing empty went out


async def test_messages_keep_the_order_in_which_they_were_written(
    screen: Screen, sandbox: Running
) -> None:
    words = [f"word {number}" for number in range(8)]
    for word in words:
        await screen.say(word)
    await expect(screen.own.last).to_contain_text(words[-1])
    assert [message["text"] for message in _said(sandbox)][1:] == words


async def test_a_refused_text_comes_back_to_be_mended(screen: Screen) -> None:
    await screen.say("x" * 5000)
    await expect(screen.at("toast")).to_contain_text("longer than 4096")
    await expect(screen.at("text")).to_have_value("x" * 5000)


async def test_the_menu_lists_the_commands_and_sends_the_chosen_one(
    screen: Screen, bot: Bot
) -> None:
    await bot.set_my_commands(COMMANDS)
    await screen.at("slash").click()
    await expect(screen.at("command")).to_have_count(3)
    await expect(screen.at("command").first).to_contain_text("What is left")
    await screen.at("command").filter(has_text="/topup").click()
    await expect(screen.own.last).to_contain_text("/topup")
    await expect(screen.at("commands")).to_be_hidden()


async def test_a_command_is_completed_from_the_keyboard(screen: Screen, bot: Bot) -> None:
    await bot.set_my_commands(COMMANDS)
    await screen.at("text").press_sequentially("/")
    await expect(screen.at("command")).to_have_count(3)
    await screen.at("text").press_sequentially("he")
    await expect(screen.at("command")).to_have_text(["/helpHow it works"])
    await screen.at("text").press("Enter")
    await expect(screen.own.last).to_contain_text("/help")
    await screen.at("text").press_sequentially("/b")
    await expect(screen.at("commands")).to_be_visible()
    await screen.at("text").press("Escape")
    await expect(screen.at("commands")).to_be_hidden()
    await expect(screen.at("text")).to_have_value("/b")


async def test_a_command_in_a_message_can_be_pressed(screen: Screen, bot: Bot) -> None:
    await bot.send_message(ANYA, "To pay, send /topup")
    await (await screen.reads("To pay")).get_by_role("button", name="/topup").click()
    await expect(screen.own.last).to_contain_text("/topup")


async def test_a_photo_goes_out_with_its_caption(screen: Screen, sandbox: Running) -> None:
    await screen.at("text").fill("make it blue")
    await screen.at("files").set_input_files([_file("cat.png", picture())])
    await expect(screen.at("preview")).to_have_count(1)
    await expect(screen.at("caption")).to_have_value("make it blue")
    await screen.at("caption").press("Enter")
    await expect(screen.own.last.get_by_test_id("photo")).to_have_count(1)
    await expect(screen.own.last).to_contain_text("make it blue")
    await expect(screen.at("text")).to_have_value("")
    assert _said(sandbox)[-1]["caption"] == "make it blue"
    assert _said(sandbox)[-1]["photo"][-1]["width"] == 320


async def test_several_photos_are_an_album_and_one_can_be_left_out(
    screen: Screen, sandbox: Running
) -> None:
    colours = ("red", "green", "blue", "black")
    files = [_file(f"{colour}.png", picture(colour=colour)) for colour in colours]
    await screen.at("files").set_input_files(files)
    await screen.page.get_by_role("button", name="Leave out green.png").click()
    await screen.at("caption").fill("mix them")
    await screen.at("attachment-send").click()
    await expect(screen.own.last.get_by_test_id("photo")).to_have_count(3)
    sent = _said(sandbox)[-3:]
    assert len({message["media_group_id"] for message in sent}) == 1
    assert [message.get("caption") for message in sent] == ["mix them", None, None]


async def test_more_than_ten_photos_are_two_albums(screen: Screen, sandbox: Running) -> None:
    files = [_file(f"{number}.png", picture(40, 40)) for number in range(12)]
    await screen.at("files").set_input_files(files)
    await screen.at("attachment-send").click()
    await expect(screen.own).to_have_count(3)  # /start and two albums
    await expect(screen.own.last.get_by_test_id("photo")).to_have_count(2)
    groups = [message["media_group_id"] for message in _said(sandbox)[-12:]]
    assert len(set(groups)) == 2
    assert groups.count(groups[0]) == 10


async def test_as_a_file_a_picture_keeps_its_bytes(screen: Screen, sandbox: Running) -> None:
    data = picture(500, 400)
    await screen.at("files").set_input_files(
        [_file("cat.png", data), _file("b.pdf", b"%PDF", "a/b")]
    )
    await expect(screen.page.get_by_role("heading", name="Send 1 photo and 1 file")).to_be_visible()
    await screen.at("as-file").check()
    await screen.at("attachment-send").click()
    await expect(screen.own.last).to_contain_text("b.pdf")
    first, second = _said(sandbox)[-2:]
    stored = sandbox.sandbox.telegram.files.get(first["document"]["file_id"])
    assert stored is not None
    assert stored.data == data
    assert second["document"]["file_name"] == "b.pdf"


_FILES_OF = """async (bytes) => {
  const data = new DataTransfer();
  const blob = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
  data.items.add(new File([blob], "given.png", {type: "image/png"}));
  return data;
}"""


async def test_a_picture_can_be_dropped_and_pasted(screen: Screen, sandbox: Running) -> None:
    data = await screen.page.evaluate_handle(_FILES_OF, base64.b64encode(picture()).decode())
    chat = screen.at("chat")
    await chat.dispatch_event("dragenter", {"dataTransfer": data})
    await expect(screen.at("drop")).to_be_visible()
    await chat.dispatch_event("drop", {"dataTransfer": data})
    await expect(screen.at("drop")).to_be_hidden()
    await expect(screen.at("preview")).to_contain_text(["given.png"])
    await screen.at("attachment-send").click()
    await expect(screen.own.last.get_by_test_id("photo")).to_have_count(1)

    await screen.page.evaluate(
        "data => document.dispatchEvent("
        "new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}))",
        data,
    )
    await expect(screen.at("preview")).to_have_count(1)
    await screen.at("attachment-send").click()
    await expect(screen.own).to_have_count(3)
    file_id = _said(sandbox)[-1]["photo"][-1]["file_id"]
    stored = sandbox.sandbox.telegram.files.get(file_id)
    assert stored is not None
    assert Image.open(io.BytesIO(stored.data)).size == (320, 240)


async def test_a_picture_that_is_none_is_refused_with_words(screen: Screen) -> None:
    await screen.at("files").set_input_files([_file("cat.png", b"no picture at all")])
    await screen.at("attachment-send").click()
    await expect(screen.at("toast")).to_have_text("IMAGE_PROCESS_FAILED")
    await expect(screen.own).to_have_count(1)


async def test_who_blocks_the_bot_hears_nothing_until_unblocking(
    screen: Screen, sandbox: Running, users: UserSide
) -> None:
    await screen.at("block").click()
    await expect(screen.at("unblock")).to_be_visible()
    await expect(screen.at("composer")).to_be_hidden()
    await expect(screen.at("block")).to_have_attribute("aria-pressed", "true")
    assert sandbox.sandbox.telegram.chats[ANYA].blocked
    await screen.at("unblock").click()
    await expect(screen.at("composer")).to_be_visible()
    assert not sandbox.sandbox.telegram.chats[ANYA].blocked
    users.set_blocked(ANYA, blocked=True)  # as a test or a second page would
    await expect(screen.at("unblock")).to_be_visible()
