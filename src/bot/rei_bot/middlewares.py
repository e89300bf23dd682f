"""What every handler finds ready: the customer, read once for each update, and their language.

Only private chats get through. A command ends whatever question was open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from aiogram import BaseMiddleware
from aiogram.enums import ChatType
from aiogram.types import CallbackQuery, Message, TelegramObject
from aiogram.types import User as TelegramUser

from rei_bot.replies import acknowledge
from rei_core.db import Pool
from rei_core.i18n import language_of
from rei_core.texts import Texts
from rei_core.users import queries as users
from rei_core.users.model import Language, User

Handler = Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]]


class Customer(BaseMiddleware):
    """Passes `user` (User) and `_` (Texts) on to the handlers of messages and buttons."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
        sender = _private_sender(event)
        if sender is None:
            if isinstance(event, CallbackQuery):
                await acknowledge(event)
            return None
        user = await self._see(sender, command=_is_command(event))
        return await handler(event, {**data, "user": user, "_": Texts(user.language)})

    async def _see(self, sender: TelegramUser, *, command: bool) -> User:
        async with self._pool.acquire() as connection:
            user = await users.see(
                connection,
                sender.id,
                username=sender.username,
                first_name=sender.first_name,
                language=cast("Language", language_of(sender.language_code)),
            )
            if command and user.awaiting is not None:
                await users.await_answer(connection, user.id, None)
                user = replace(user, awaiting=None)
        return user


def _private_sender(event: TelegramObject) -> TelegramUser | None:
    message = event.message if isinstance(event, CallbackQuery) else event
    chat = getattr(message, "chat", None)
    if chat is None or chat.type != ChatType.PRIVATE:
        return None
    sender: TelegramUser | None = getattr(event, "from_user", None)
    return None if sender is None or sender.is_bot else sender


def _is_command(event: TelegramObject) -> bool:
    return isinstance(event, Message) and (event.text or "").startswith("/")
