"""aiogram's HTTP session, but an answer is read up to a bound: it may come from anything that stands
in Telegram's place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.exceptions import ClientDecodeError, TelegramNetworkError
from aiogram.methods import TelegramMethod
from aiogram.methods.base import TelegramType
from aiohttp import ClientError, ClientResponse, ClientTimeout

from rei_telegram.calls import outcome_of

OnCall = Callable[[str, str, float], None]
"""Told each call's method, outcome (`calls.outcome_of`, or "ok") and seconds."""


class BoundedSession(AiohttpSession):
    """Raises `ClientDecodeError` for an answer that is longer than `answer_bytes_max` or no text."""

    def __init__(
        self, *, answer_bytes_max: int, on_call: OnCall | None = None, **options: Any
    ) -> None:
        """`options` are `AiohttpSession`'s."""
        super().__init__(**options)
        self._answer_bytes_max = answer_bytes_max
        self._on_call = on_call

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 - aiogram's own signature
    ) -> TelegramType:
        began, outcome = time.monotonic(), "ok"
        try:
            return await self._request(bot, method, timeout)
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            if self._on_call is not None:
                self._on_call(method.__api_method__, outcome, time.monotonic() - began)

    async def _request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None,  # noqa: ASYNC109 - aiogram's own signature
    ) -> TelegramType:
        # aiogram's own reads the whole answer, however long it is; else this is the same.
        session = await self.create_session()
        seconds_max = self.timeout if timeout is None else timeout
        try:
            async with session.post(
                self.api.api_url(token=bot.token, method=method.__api_method__),
                data=self.build_form_data(bot=bot, method=method),
                timeout=ClientTimeout(total=seconds_max),
            ) as answer:
                content = await self._text_of(answer)
        except TimeoutError as error:
            raise TelegramNetworkError(method, "Request timeout error") from error
        except ClientError as error:
            raise TelegramNetworkError(method, f"{type(error).__name__}: {error}") from error
        response = self.check_response(bot, method, answer.status, content)
        return cast("TelegramType", response.result)

    async def _text_of(self, answer: ClientResponse) -> str:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > self._answer_bytes_max:
                too_long = ValueError(f"more than {self._answer_bytes_max} bytes")
                raise ClientDecodeError("Answer too long", too_long, "")
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise ClientDecodeError("Answer is no text", error, "") from error
