"""Sending and editing, with the answers of Telegram that are no failures taken as what they are.

Dangers: nothing here may hold a database connection. A customer who blocked the bot raises
`TelegramForbiddenError`, which the dispatcher ends the handler with, quietly.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiogram import Bot
from aiogram.enums import ParseMode
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import CallbackQuery, InlineKeyboardMarkup, LinkPreviewOptions

NO_PREVIEW = LinkPreviewOptions(is_disabled=True)

UNCHANGED = "message is not modified"
GONE = ("message to edit not found", "message can't be edited", "no text in the message to edit")
"""The message was deleted, is too old, or carries a picture: a new one takes its place."""


@dataclass(frozen=True, slots=True)
class View:
    """A message to be: HTML and buttons."""

    text: str
    keyboard: InlineKeyboardMarkup | None = None


async def send(bot: Bot, chat_id: int, view: View) -> int:
    """Send a new message; its id."""
    message = await bot.send_message(
        chat_id,
        view.text,
        reply_markup=view.keyboard,
        parse_mode=ParseMode.HTML,
        link_preview_options=NO_PREVIEW,
    )
    return message.message_id


async def edit(bot: Bot, chat_id: int, message_id: int, view: View) -> int:
    """Turn a message into `view`, or send that anew if it cannot be edited; the id it has now."""
    try:
        await bot.edit_message_text(
            view.text,
            chat_id=chat_id,
            message_id=message_id,
            reply_markup=view.keyboard,
            parse_mode=ParseMode.HTML,
            link_preview_options=NO_PREVIEW,
        )
    except TelegramBadRequest as error:
        problem = error.message.lower()
        if UNCHANGED in problem:
            return message_id
        if any(words in problem for words in GONE):
            return await send(bot, chat_id, view)
        raise
    return message_id


async def acknowledge(callback: CallbackQuery, text: str | None = None) -> None:
    """Stop the button's spinner; with `text`, a small window that has to be closed."""
    try:
        await callback.answer(text, show_alert=text is not None)
    except TelegramBadRequest as error:
        # An update handled again after a crash, or late: nobody waits for the answer any more.
        if "query" not in error.message.lower():
            raise


def spot(callback: CallbackQuery) -> tuple[int, int]:
    """(chat id, message id) of the message whose button was pressed."""
    assert callback.message is not None  # the middleware lets only private chats' messages through
    return callback.message.chat.id, callback.message.message_id
