"""What the process itself says to a customer, outside the conversation: "too fast", "sorry".

Guarantee: nothing here raises or takes long. These are courtesies; whether they arrive decides
nothing.
"""

from __future__ import annotations

import asyncio

import structlog
from aiogram import Bot
from aiogram.enums import ChatType
from aiogram.types import Update
from aiogram.types import User as TelegramUser

from rei_bot.replies import View, acknowledge, send
from rei_core.db import Pool
from rei_core.i18n import language_of
from rei_core.texts import Texts
from rei_core.users import queries as users

log = structlog.get_logger(__name__)

SECONDS_MAX = 5.0
LANGUAGE_SECONDS_MAX = 1.0


class Notices:
    """Short messages from the process to a customer."""

    def __init__(self, bot: Bot, pool: Pool) -> None:
        self._bot = bot
        self._pool = pool

    async def too_fast(self, update: Update) -> None:
        """More updates than allowed: a notice over the chat for a button, else a message."""
        sender = sender_of(update)
        if sender is None:
            return
        _ = await self._texts(sender)
        await self._say(
            update, _.plain("⏳ Too many messages at once. Please wait a minute and go on.")
        )

    async def gave_up(self, update: Update, *, support_contact: str) -> None:
        """An update could not be handled and will not be tried again."""
        sender = sender_of(update)
        if sender is None:
            return
        _ = await self._texts(sender)
        text = _("😔 Sorry, something is wrong on our side and I could not do this. Your money is "
                 "safe: /balance shows it. Please try again later or write to {contact}.",
                 contact=support_contact)  # fmt: skip
        await self._say(update, text, as_message=True)

    async def _say(self, update: Update, text: str, *, as_message: bool = False) -> None:
        """Say it in a private chat; `text` is HTML for a message and plain for a notice."""
        chat_id = private_chat_of(update)
        if chat_id is None:
            return
        callback = update.callback_query
        try:
            async with asyncio.timeout(SECONDS_MAX):
                if callback is not None:
                    await acknowledge(callback.as_(self._bot), None if as_message else text)
                if callback is None or as_message:
                    await send(self._bot, chat_id, View(text))
        except Exception as error:
            log.warning("notice not sent", error=type(error).__name__)

    async def _texts(self, sender: TelegramUser) -> Texts:
        """The language the customer chose; Telegram's if that cannot be found out now."""
        language = language_of(sender.language_code)
        try:
            async with (
                asyncio.timeout(LANGUAGE_SECONDS_MAX),
                self._pool.acquire(timeout=LANGUAGE_SECONDS_MAX) as connection,
            ):
                known = await users.find(connection, sender.id)
        except Exception as error:
            log.warning("language not read", error=type(error).__name__)
            known = None
        return Texts(language if known is None else known.language)


def sender_of(update: Update) -> TelegramUser | None:
    """Who caused an update; None for kinds we do not ask Telegram for."""
    event = update.message or update.callback_query
    return None if event is None else event.from_user


def private_chat_of(update: Update) -> int | None:
    """The private chat that an update belongs to, if it does to one."""
    callback = update.callback_query
    message = update.message if callback is None else callback.message
    if message is None or message.chat.type != ChatType.PRIVATE:
        return None
    return message.chat.id
