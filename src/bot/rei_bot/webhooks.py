"""What the outside world posts to us: Telegram's updates and YooKassa's notifications.

Guarantee: 200 means that it is safe with us, in the database, committed. Everything that may be
mended by time is answered 503, and both senders repeat for 24 hours. A notification is believed
in nothing but where to look: the truth is fetched from YooKassa (`rei_core.payments.service`).

Dangers: anybody may post here. The secret comes before the body, the body is read within bounds
of size and time, and only so many requests are worked on at a time: the rest is answered 503. A
slow sender takes nobody's place, because the body is read first.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pydantic
import structlog
from aiogram import Bot
from aiogram.types import Update
from aiohttp import web

from rei_bot.metrics import Metrics, kind_of
from rei_bot.polling import problems
from rei_bot.updates import DATABASE_SECONDS_MAX, Result
from rei_core.db import Pool
from rei_core.errors import PaymentMismatch, PaymentNotFound
from rei_core.payments import notifications
from rei_core.payments import queries as payments
from rei_core.payments.model import PaymentStatus, Settlement
from rei_core.payments.port import Notification, PaymentProvider
from rei_core.payments.service import settle_by_provider_id

log = structlog.get_logger(__name__)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the name of a header
UPDATE_BYTES_MAX = 1024 * 1024
NOTIFICATION_BYTES_MAX = 64 * 1024
BODY_SECONDS_MAX = 10.0
SETTLE_SECONDS_MAX = 20.0
UPDATES_AT_ONCE_MAX = 100
NOTIFICATIONS_AT_ONCE_MAX = 20
UPDATE_ID_MAX = 2**63 - 1
FINAL_EVENTS = ("payment.succeeded", "payment.canceled")


class Gate:
    """Lets so many in at a time, and nobody once it is closed."""

    def __init__(self, at_once_max: int) -> None:
        self._at_once_max = at_once_max
        self._inside = 0
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True

    @property
    def is_open(self) -> bool:
        """Whether there is a place."""
        return not self._closed and self._inside < self._at_once_max

    async def pass_through(self, work: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """Do `work`, or answer 503 if there is no place for it."""
        if not self.is_open:
            return answer(503, "stopping" if self._closed else "busy")
        self._inside += 1
        self._empty.clear()
        try:
            return await work()
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._empty.set()

    async def empty(self) -> None:
        """Return once nobody is inside."""
        await self._empty.wait()


class TelegramWebhook:
    """POST /webhook/telegram."""

    def __init__(
        self,
        *,
        bot: Bot,
        secret: str,
        handle: Callable[[Update], Awaitable[Result]],
        metrics: Metrics,
        gate: Gate,
    ) -> None:
        self._bot = bot
        self._secret = secret.encode()
        self._handle = handle
        self._metrics = metrics
        self._gate = gate

    async def take(self, request: web.Request) -> web.Response:
        """Answer 200 once the update is safely handled."""
        shown = request.headers.get(SECRET_HEADER, "").encode(errors="surrogateescape")
        if not hmac.compare_digest(shown, self._secret):
            log.warning("update with a wrong secret", peer=request.remote)
            self._metrics.update("other", "unauthorized", 0)
            return answer(401, "wrong secret")
        body = await read_body(request, bytes_max=UPDATE_BYTES_MAX)
        try:
            update = Update.model_validate_json(body, context={"bot": self._bot})
        except pydantic.ValidationError as error:
            # No traceback: it would hold what the customer wrote.
            log.error("not an update", problems=problems(error))  # noqa: TRY400
            self._metrics.update("other", "unreadable", 0)
            return answer(400, "not an update")
        if not 0 <= update.update_id <= UPDATE_ID_MAX:
            log.error("not an update", problems="update_id is out of range")
            self._metrics.update("other", "unreadable", 0)
            return answer(400, "not an update")
        if not self._gate.is_open:
            self._metrics.update(kind_of(update), "turned_away", 0)
        return await self._gate.pass_through(lambda: self._work(update))

    async def _work(self, update: Update) -> web.Response:
        result = await self._handle(update)
        return answer(200 if result.settled else 503, result)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a notification ended: a metric's label, and whether it has to come again."""

    outcome: str
    settled: bool


class YooKassaWebhook:
    """POST /webhook/yookassa."""

    def __init__(
        self,
        *,
        pool: Pool,
        provider: PaymentProvider,
        metrics: Metrics,
        gate: Gate,
        check_sender: bool,
        trusted_proxies: tuple[str, ...],
    ) -> None:
        self._pool = pool
        self._provider = provider
        self._metrics = metrics
        self._gate = gate
        self._check_sender = check_sender
        self._trusted_proxies = trusted_proxies

    async def take(self, request: web.Request) -> web.Response:
        """Answer 200 once the payment stands in our books as it does in YooKassa's."""
        if self._check_sender and not self._is_trusted(request):
            self._metrics.notification("other", "untrusted", 0)
            return answer(403, "unknown sender")
        notification = notifications.parse(
            await read_body(request, bytes_max=NOTIFICATION_BYTES_MAX)
        )
        if notification is None:
            log.warning("not a notification", peer=request.remote)
            self._metrics.notification("other", "malformed", 0)
            return answer(400, "not a notification")
        if not self._gate.is_open:
            self._metrics.notification(notification.event, "turned_away", 0)
        return await self._gate.pass_through(lambda: self._work(notification))

    def _is_trusted(self, request: web.Request) -> bool:
        forwarded = request.headers.getall("X-Forwarded-For", [])
        address = notifications.client_address(
            request.remote or "", ", ".join(forwarded) or None, self._trusted_proxies
        )
        if notifications.is_trusted_sender(address):
            return True
        log.warning("notification of an unknown sender", address=address[:64])
        return False

    async def _work(self, notification: Notification) -> web.Response:
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(
            provider_payment_id=notification.payment_id, notification=notification.event
        ):
            verdict = await self._settle(notification)
            log.info("notification answered", outcome=verdict.outcome, settled=verdict.settled)
        self._metrics.notification(
            notification.event, verdict.outcome, time.monotonic() - started
        )  # fmt: skip
        return answer(200 if verdict.settled else 503, verdict.outcome)

    async def _settle(self, notification: Notification) -> Verdict:
        """Bring the payment to where YooKassa says it is; raises nothing."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS_MAX):
                try:
                    settlement = await settle_by_provider_id(
                        self._pool, self._provider, notification.payment_id
                    )
                except PaymentNotFound:
                    return await self._unknown_there(notification)
        except PaymentMismatch as error:
            # The same comparison fails the next time: a person has to look.
            log.exception("payment contradicts ours", payment_id=error.payment_id)
            return Verdict("mismatch", settled=True)
        except Exception as error:
            log.warning("payment not settled", error=type(error).__name__, detail=str(error))
            return Verdict("failed", settled=False)
        if settlement is None:
            log.info("notification of a payment that is none of ours")
            return Verdict("foreign", settled=True)
        return self._judge(notification, settlement)

    async def _unknown_there(self, notification: Notification) -> Verdict:
        """YooKassa knows no such payment: a forged one, unless it is one of ours."""
        async with self._pool.acquire(timeout=DATABASE_SECONDS_MAX) as connection:
            ours = await payments.find_by_provider_id(connection, notification.payment_id)
        if ours is None:
            log.warning("notification of a payment that does not exist")
            return Verdict("unknown", settled=True)
        # Another shop's credentials, perhaps. Whatever it is, the truth has not been fetched.
        log.error("YooKassa does not know a payment of ours", payment_id=str(ours.id))
        return Verdict("failed", settled=False)

    def _judge(self, notification: Notification, settlement: Settlement) -> Verdict:
        payment = settlement.payment
        if settlement.credited_now:
            self._metrics.credited(payment.amount_kopecks)
            return Verdict("credited", settled=True)
        if payment.status in {PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED}:
            return Verdict("settled", settled=True)
        if notification.event in FINAL_EVENTS:
            # Forged, or ahead of what YooKassa tells us: ask again rather than lose a credit.
            log.warning("payment is still open", payment_id=str(payment.id))
            return Verdict("early", settled=False)
        return Verdict("open", settled=True)


async def read_body(request: web.Request, *, bytes_max: int) -> bytes:
    """The body, unpacked; raises the HTTP error that answers what is too large, slow or broken."""
    if (request.content_length or 0) > bytes_max:
        raise _refusal(web.HTTPRequestEntityTooLarge(bytes_max, request.content_length or 0))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > bytes_max:
                    raise _refusal(web.HTTPRequestEntityTooLarge(bytes_max, len(body)))
    except TimeoutError:
        raise _refusal(web.HTTPRequestTimeout()) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        log.warning("body not read", error=type(error).__name__, path=request.path)
        raise _refusal(web.HTTPBadRequest()) from None
    return bytes(body)


def _refusal(error: web.HTTPException) -> web.HTTPException:
    error.force_close()  # what is left of the body is not waited for
    return error


def answer(status: int, text: str) -> web.Response:
    """A short answer in plain text."""
    return web.Response(status=status, text=text)
