"""aiogram's HTTP session, strict where aiogram lets through what is no answer of Telegram's.

An outage in front of Telegram speaks HTML with a 5xx: to aiogram that is an answer it cannot
decode, to us it is Telegram being away, which is held against no delivery. And "ok" without the
message that was sent is no success: there would be no message to remember. An answer is read up to
a bound: it may come from anything that stands in Telegram's place.
"""

from __future__ import annotations

from typing import Final, cast

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramNetworkError,
    TelegramServerError,
)
from aiogram.methods import Response, TelegramMethod
from aiogram.methods.base import TelegramType
from aiohttp import ClientError, ClientResponse, ClientTimeout

from rei_core.http import without_secret
from rei_core.logs import MASK

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""The message that was sent, or where a file lies: some kilobytes."""


class StrictSession(AiohttpSession):
    """Raises `TelegramAPIError` with words in it, or `ClientDecodeError`; returns no half answers."""

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 - aiogram's own signature
    ) -> TelegramType:
        # aiogram's own reads the whole answer, however long it is; else this is the same.
        session = await self.create_session()
        url = self.api.api_url(token=bot.token, method=method.__api_method__)
        seconds_max = self.timeout if timeout is None else timeout
        try:
            async with session.post(
                url,
                data=self.build_form_data(bot=bot, method=method),
                timeout=ClientTimeout(total=seconds_max),
            ) as answer:
                content = await _text_of(answer)
        except TimeoutError as error:
            raise TelegramNetworkError(method, "Request timeout error") from error
        except ClientError as error:
            raise TelegramNetworkError(method, f"{type(error).__name__}: {error}") from error
        response = self.check_response(bot, method, answer.status, content)
        return cast("TelegramType", response.result)

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


async def _text_of(answer: ClientResponse) -> str:
    """The text of an answer; raises `ClientDecodeError` for one that is too long or is none."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            too_long = ValueError(f"more than {ANSWER_BYTES_MAX} bytes")
            raise ClientDecodeError("Answer too long", too_long, "")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ClientDecodeError("Answer is no text", error, "") from error
