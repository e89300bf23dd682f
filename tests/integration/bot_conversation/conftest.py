"""A bot with a recorded Telegram and a payment provider in memory; PostgreSQL is real.

Updates are real aiogram updates fed to the real dispatcher, so what is tested is all between
Telegram's JSON and the database.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.exceptions import TelegramBadRequest
from aiogram.methods import TelegramMethod
from aiogram.methods.base import TelegramType
from aiogram.types import CallbackQuery, Chat, InlineKeyboardMarkup, Message, PhotoSize, Update
from aiogram.types import User as TelegramUser

from rei_bot.dispatcher import build_dispatcher
from rei_bot.metrics import Metrics
from rei_bot.services import Services
from rei_core.catalog import load_catalog
from rei_core.db import Pool
from rei_core.errors import PaymentNotFound, PaymentOutcomeUnknown, PaymentRejected
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.payments.port import Receipt, RemotePayment, RemoteRefund, RemoteStatus
from rei_core.payments.service import TopUpTerms
from rei_core.settings import BotSettings
from rei_core.users import queries as users

CUSTOMER = 7
ALBUM_QUIET_SECONDS = 0.25


class Shown:
    """A message as the chat shows it now."""

    def __init__(self, message_id: int, method: Any) -> None:
        self.message_id = message_id
        self.method = method

    @property
    def text(self) -> str:
        return spaced(str(getattr(self.method, "text", None) or ""))

    @property
    def buttons(self) -> dict[str, str]:
        """Callback data or URL by label."""
        markup = self.method.reply_markup
        if not isinstance(markup, InlineKeyboardMarkup):
            return {}
        return {
            spaced(b.text): b.callback_data or b.url or ""
            for row in markup.inline_keyboard
            for b in row
        }

    def button(self, words: str) -> str:
        """The data of the one button whose label holds `words`."""
        found = [data for label, data in self.buttons.items() if words in label]
        assert len(found) == 1, f"{words!r} in {list(self.buttons)}"
        return found[0]


def spaced(text: str) -> str:
    """The text with ordinary spaces: sums of money hold unbreakable ones."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def photo(file_id: str) -> list[PhotoSize]:
    """A photo in two sizes, as Telegram sends it."""
    return [
        PhotoSize(file_id=f"{file_id}-s", file_unique_id="s", width=90, height=90, file_size=10),
        PhotoSize(file_id=file_id, file_unique_id="l", width=900, height=900, file_size=1000),
    ]


class RecordedTelegram(BaseSession):
    """Answers as Telegram would and keeps the chat; `fail` raises an error for one method once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[TelegramMethod[Any]] = []
        self.chat: dict[int, Shown] = {}
        self.fail: dict[str, Exception] = {}
        self._ids = itertools.count(1000)

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 - aiogram's own signature
    ) -> TelegramType:
        self.calls.append(method)
        kind = type(method).__name__
        if kind in self.fail:
            raise self.fail.pop(kind)
        answer: Any = True
        if kind in {"SendMessage", "SendDocument", "SendPhoto"}:
            message_id = next(self._ids)
            self.chat[message_id] = Shown(message_id, method)
            answer = _message(message_id)
        elif kind == "EditMessageText":
            message_id = getattr(method, "message_id")  # noqa: B009
            before = self.chat.get(message_id)
            if before is None:
                raise TelegramBadRequest(method, "Bad Request: message to edit not found")
            now = Shown(message_id, method)
            if (before.text, before.buttons) == (now.text, now.buttons):
                raise TelegramBadRequest(method, "Bad Request: message is not modified: …")
            self.chat[message_id] = now
            answer = _message(message_id)
        return answer  # type: ignore[no-any-return]

    async def stream_content(
        self,
        url: str,
        headers: dict[str, Any] | None = None,
        timeout: int = 30,  # noqa: ASYNC109 - aiogram's own signature
        chunk_size: int = 65536,
        raise_for_status: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        for chunk in (b"",):  # the bot downloads nothing: that is the worker's part
            yield chunk

    async def close(self) -> None:
        pass

    def named(self, kind: str) -> list[Any]:
        """All calls of a method, e.g. SendMessage."""
        return [call for call in self.calls if type(call).__name__ == kind]


class FakeProvider:
    """A payment provider in memory; keeps its promise on idempotence keys, fails on request."""

    def __init__(self) -> None:
        self.payments: dict[str, RemotePayment] = {}
        self.keys: dict[str, str] = {}
        self.lose_next_answer = False
        self.refuse_next = False
        self.away = False

    async def create(
        self,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        return_url: str,
        metadata: dict[str, str],
        receipt: Receipt | None = None,
    ) -> RemotePayment:
        if self.refuse_next:
            self.refuse_next = False
            raise PaymentRejected("no", http_status=400)
        if idempotence_key not in self.keys:
            remote_id = f"remote-{len(self.payments)}"
            self.keys[idempotence_key] = remote_id
            self.payments[remote_id] = RemotePayment(
                id=remote_id,
                status="pending",
                amount_kopecks=amount_kopecks,
                currency="RUB",
                created_at=datetime.now(UTC),
                confirmation_url=f"https://pay.example/{remote_id}",
                metadata=metadata,
            )
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise PaymentOutcomeUnknown("timeout")
        return self.payments[self.keys[idempotence_key]]

    async def get(self, payment_id: str) -> RemotePayment:
        if self.away:
            raise PaymentOutcomeUnknown("timeout")
        if payment_id not in self.payments:
            raise PaymentNotFound(payment_id)
        return self.payments[payment_id]

    def end(self, status: RemoteStatus, payment_id: str = "remote-0") -> None:
        """The payer paid, or did not."""
        self.payments[payment_id] = replace(self.payments[payment_id], status=status)

    def forge_amount(self, kopecks: int, payment_id: str = "remote-0") -> None:
        """The provider speaks of another amount than ours."""
        self.payments[payment_id] = replace(self.payments[payment_id], amount_kopecks=kopecks)

    async def cancel(self, payment_id: str, *, idempotence_key: str) -> RemotePayment:
        raise NotImplementedError

    async def refund(
        self,
        payment_id: str,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        receipt: Receipt | None = None,
    ) -> RemoteRefund:
        raise NotImplementedError

    async def get_refund(self, refund_id: str) -> RemoteRefund:
        raise NotImplementedError

    async def list(
        self, *, created_since: datetime, status: RemoteStatus | None = None
    ) -> AsyncIterator[RemotePayment]:
        for payment in self.payments.values():
            yield payment

    async def list_refunds(
        self, *, payment_id: str | None = None, created_since: datetime | None = None
    ) -> AsyncIterator[RemoteRefund]:
        nothing: list[RemoteRefund] = []
        for refund in nothing:
            yield refund

    async def check_credentials(self) -> str:
        return "shop"


class Bell:
    """Remembers its rings."""

    def __init__(self) -> None:
        self.rung: list[int] = []

        self.on_ring: Callable[[int], Awaitable[None]] | None = None

    async def ring(self, job_id: int) -> None:
        self.rung.append(job_id)
        if self.on_ring is not None:
            await self.on_ring(job_id)


class Conversation:
    """What a customer does, and what they see."""

    def __init__(self, pool: Pool, **settings: object) -> None:
        self.pool = pool
        self.telegram = RecordedTelegram()
        self.provider = FakeProvider()
        self.bell = Bell()
        self.bot = Bot("42:TEST", session=self.telegram)
        self.services = Services(
            settings=BotSettings.model_validate(
                {
                    "database_url": "postgresql://unused",
                    "BOT_TOKEN": "42:TEST",
                    "YOOKASSA_SHOP_ID": "1",
                    "YOOKASSA_SECRET_KEY": "s",
                    **settings,
                }
            ),
            pool=pool,
            catalog=load_catalog(),
            payments=self.provider,
            doorbell=self.bell,
            topup_terms=TopUpTerms(return_url="https://t.me/rei", description="Top-up"),
            metrics=Metrics(),
        )
        self.dispatcher = build_dispatcher(self.services, album_quiet_seconds=ALBUM_QUIET_SECONDS)
        self._updates = itertools.count(1)
        self._messages = itertools.count(1)
        self.language = "ru"

    def orders(self, outcome: str) -> float | None:
        """How many confirmed orders were counted with this end."""
        return self.services.metrics.registry.get_sample_value(
            "rei_bot_orders_total", {"outcome": outcome}
        )

    def person(self, user_id: int) -> TelegramUser:
        return TelegramUser(
            id=user_id, is_bot=False, first_name="Аня <b>", language_code=self.language
        )

    def message(
        self, user_id: int = CUSTOMER, *, chat_type: str = "private", **content: Any
    ) -> Update:
        """An update with a message of the customer's."""
        message = Message(
            message_id=next(self._messages),
            date=datetime.now(UTC),
            chat=Chat(id=user_id, type=chat_type),
            from_user=self.person(user_id),
            **content,
        )
        return Update(update_id=next(self._updates), message=message)

    def press(self, shown: Shown, data: str, user_id: int = CUSTOMER) -> Update:
        """An update with a pressed button."""
        callback = CallbackQuery(
            id=str(next(self._updates)),
            from_user=self.person(user_id),
            chat_instance="1",
            data=data,
            message=_message(shown.message_id, user_id),
        )
        return Update(update_id=next(self._updates), callback_query=callback)

    async def feed(self, update: Update) -> None:
        await self.dispatcher.feed_update(self.bot, update)

    async def say(self, text: str, user_id: int = CUSTOMER) -> Shown:
        """Send a text; what the bot shows last."""
        await self.feed(self.message(user_id, text=text))
        return self.last

    async def tap(self, shown: Shown, words: str, user_id: int = CUSTOMER) -> Shown:
        """Press the button whose label holds `words`; the same message afterwards."""
        await self.feed(
            self.press(self.telegram.chat[shown.message_id], shown.button(words), user_id)
        )
        return self.telegram.chat[shown.message_id]

    async def tap_for_new(self, shown: Shown, words: str) -> Shown:
        """Press a button that is answered by a new message."""
        before = max(self.telegram.chat)
        await self.tap(shown, words)
        assert self.last.message_id > before
        return self.last

    def shown(self, shown: Shown) -> Shown:
        """A message as it is now."""
        return self.telegram.chat[shown.message_id]

    @property
    def last(self) -> Shown:
        """The newest message of the chat."""
        return self.telegram.chat[max(self.telegram.chat)]

    @property
    def alerts(self) -> list[str]:
        """What popped up over the chat."""
        return [call.text for call in self.telegram.named("AnswerCallbackQuery") if call.text]

    async def give(self, kopecks: int, user_id: int = CUSTOMER) -> None:
        """Money on the customer's balance."""
        async with self.pool.acquire() as connection, connection.transaction():
            await users.see(connection, user_id, first_name="Аня <b>")
            await adjust(
                connection,
                user_id=user_id,
                change_kopecks=kopecks,
                operation_id=f"gift-{next(self._updates)}",
                reason="test",
            )

    async def ban(self, reason: str, user_id: int = CUSTOMER) -> None:
        async with self.pool.acquire() as connection:
            assert await users.ban(connection, user_id, until=None, reason=reason)

    async def balance(self, user_id: int = CUSTOMER) -> int:
        value: int = await self.pool.fetchval(
            "SELECT balance_kopecks FROM balances WHERE user_id = $1", user_id
        )
        return value

    async def count(self, table: str) -> int:
        value: int = await self.pool.fetchval(f"SELECT count(*) FROM {table}")
        return value


def _message(message_id: int, chat_id: int = CUSTOMER) -> Message:
    return Message(
        message_id=message_id,
        date=datetime.now(UTC),
        chat=Chat(id=chat_id, type="private"),
        text="…",
    )


@pytest.fixture
async def rei(pool: Pool) -> AsyncIterator[Conversation]:
    """A conversation; whatever happens in it, the ledger is consistent at its end."""
    conversation = Conversation(pool)
    yield conversation
    async with pool.acquire() as connection:
        report = await audit(connection)
    assert report.violations == ()
