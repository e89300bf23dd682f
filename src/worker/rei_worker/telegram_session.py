"""aiogram's HTTP session, strict where aiogram lets through what is no answer of Telegram's.

An outage in front of Telegram speaks HTML with a 5xx: to aiogram that is an answer it cannot
decode, to us it is Telegram being away, which is held against no delivery. And "ok" without the
message that was sent is no success: there would be no message to remember.
"""

from __future__ import annotations

from typing import Final

from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramServerError,
)
from aiogram.methods import Response, TelegramMethod
from aiogram.methods.base import TelegramType

from rei_core.http import without_secret
from rei_core.logs import MASK
from rei_telegram.session import BoundedSession, OnCall

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""The message that was sent, or where a file lies: some kilobytes."""


class StrictSession(BoundedSession):
    """Raises `TelegramAPIError` with words in it, or `ClientDecodeError`; returns no half answers."""

    def __init__(self, *, api: TelegramAPIServer, on_call: OnCall | None = None) -> None:
        super().__init__(answer_bytes_max=ANSWER_BYTES_MAX, on_call=on_call, api=api)

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
