"""aiogram's HTTP session, strict where aiogram lets through what is no answer of Telegram's.

An outage in front of Telegram speaks HTML with a 5xx: to aiogram that is an answer it cannot
decode, to us it is Telegram being away, which is held against no delivery. And "ok" without the
message that was sent is no success: there would be no message to remember.
"""

from __future__ import annotations

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.exceptions import ClientDecodeError, TelegramAPIError, TelegramServerError
from aiogram.methods import Response, TelegramMethod
from aiogram.methods.base import TelegramType

from rei_core.http import without_secret
from rei_core.logs import MASK


class StrictSession(AiohttpSession):
    """Raises `TelegramAPIError` with words in it, or `ClientDecodeError`; returns no half answers."""

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 - aiogram's own signature
    ) -> TelegramType:
        try:
            return await super().make_request(bot, method, timeout)
        except UnicodeDecodeError as error:
            raise ClientDecodeError("Answer is no text", error, "") from error

    def check_response(
        self, bot: Bot, method: TelegramMethod[TelegramType], status_code: int, content: str
    ) -> Response[TelegramType]:
        try:
            response = super().check_response(bot, method, status_code, content)
        except (ClientDecodeError, TypeError) as error:  # TypeError: a refusal without a word
            if status_code >= 500:
                raise TelegramServerError(
                    method, f"HTTP {status_code} without a readable answer"
                ) from error
            raise
        except TelegramAPIError as error:
            said = error.message or f"HTTP {status_code} without a word"
            error.message = without_secret(said, bot.token, mask=MASK)
            raise
        if response.result is None:
            nothing = ValueError("ok, and nothing else")
            raise ClientDecodeError("Answer without a result", nothing, content)
        return response
