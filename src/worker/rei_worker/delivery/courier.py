"""One delivery: render, send, mark. At least once, by choice.

Telegram's sends have no idempotency key. When a process dies between the send and the mark another
sends again after the delivery's lease, so a customer may get one copy too many but never waits for
a picture that nobody will send. The picture itself is never made again. A process that was frozen
notices right before the send that its lease is over, and leaves the delivery to the others.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from uuid import UUID

import structlog
from aiogram import Bot
from aiogram.types import BufferedInputFile, Message

from rei_core.db import Pool
from rei_core.deliveries import queries
from rei_core.deliveries.model import Delivery, DeliveryKind
from rei_core.errors import ReiError
from rei_core.jobs import read_queries, wording
from rei_core.jobs.model import Job
from rei_core.jobs.read_queries import StoredOutput
from rei_core.payments import queries as payments
from rei_core.texts import Texts
from rei_core.users import queries as users
from rei_worker import buttons, texts
from rei_worker.delivery.outcome import GiveUp, Postpone, outcome_of, photo_refused
from rei_worker.metrics import Metrics
from rei_worker.storage import ACQUIRE_SECONDS_MAX, persist
from rei_worker.telegram_pace import TelegramPace

logger = structlog.get_logger(__name__)

SEND_SECONDS_MAX = 60
PERMIT_SECONDS_MAX = 20.0
MARK_SECONDS_MAX = 30.0
PHOTO_BYTES_MAX = 10 * 1024 * 1024
PHOTO_SIDES_MAX = 10_000
"""Width and height together."""
NO_MESSAGE = 0
"""Stands for the message of a photo that was not sent because only the file can be."""
SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class NothingToDeliver(ReiError):
    """What the delivery is about is not there (any more)."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"nothing to deliver: {what}")


class LeaseOver(ReiError):
    """Another worker may be sending this by now."""


class Courier:
    """Carries out claimed deliveries."""

    def __init__(
        self, *, bot: Bot, pool: Pool, pace: TelegramPace, metrics: Metrics, attempts_max: int
    ) -> None:
        self._bot = bot
        self._pool = pool
        self._pace = pace
        self._metrics = metrics
        self._attempts_max = attempts_max

    async def deliver(self, delivery: Delivery, *, is_ours: Callable[[], bool]) -> None:
        """Send and mark; whatever goes wrong is remembered with the delivery. Raises nothing.

        `is_ours` tells, without asking anybody, whether the lease still stands.
        """
        with structlog.contextvars.bound_contextvars(
            delivery_id=delivery.id,
            user_id=delivery.user_id,
            **{_ref_name(delivery): delivery.ref_id},
        ):
            began = time.monotonic()
            try:
                outcome = await self._deliver(delivery, is_ours)
            except LeaseOver:
                outcome = "lease_over"
            except NothingToDeliver as error:
                outcome = await self._give_up(delivery, str(error))
            except Exception as error:
                outcome = await self._failed(delivery, error)
            self._metrics.delivery(delivery.kind.value, outcome, time.monotonic() - began)
            logger.info("delivery.attempted", kind=delivery.kind.value, outcome=outcome)

    async def _deliver(self, delivery: Delivery, is_ours: Callable[[], bool]) -> str:
        if delivery.failures > self._attempts_max:
            # Attempts that nobody could tell the end of: each may have killed its process.
            return await self._give_up(delivery, "out of attempts, the last of them without an end")
        if not await self._pace.acquire(delivery.chat_id, deadline_seconds=PERMIT_SECONDS_MAX):
            detail = "waiting for our share of Telegram's limits"
            await self._postpone(delivery, Postpone(1.0, detail, counts=False))
            return "paced"
        if not is_ours():
            raise LeaseOver
        match delivery.kind:
            case DeliveryKind.RESULT:
                await self._result(delivery)
            case DeliveryKind.ORIGINAL:
                await self._original(delivery)
            case DeliveryKind.JOB_FAILED:
                await self._job_failed(delivery)
            case DeliveryKind.PAYMENT_CREDITED | DeliveryKind.PAYMENT_CANCELED:
                await self._payment(delivery)
        return "delivered"

    async def _result(self, delivery: Delivery) -> None:
        job, output = await self._job(delivery), await self._output(delivery)
        message: Message | None = None
        if fits_photo(output):
            try:
                message = await self._bot.send_photo(
                    delivery.chat_id,
                    _file(job, output, output.photo_file_id),
                    caption=wording.caption(job, Texts(delivery.language)),
                    parse_mode="HTML",
                    request_timeout=SEND_SECONDS_MAX,
                )
            except Exception as error:
                if not photo_refused(error):
                    raise
                logger.warning("delivery.photo_refused", error=str(error)[:200])
        shown = message.photo[-1].file_id if message is not None and message.photo else None
        message_id = message.message_id if message is not None else NO_MESSAGE
        await persist(
            self._pool,
            lambda connection: queries.photo_delivered(
                connection, delivery, message_id=message_id, file_id=shown
            ),
            within_seconds=MARK_SECONDS_MAX,
        )

    async def _original(self, delivery: Delivery) -> None:
        job, output = await self._job(delivery), await self._output(delivery)
        _ = Texts(delivery.language)
        # Nobody saw a photo: then the file says what it is.
        shown = output.photo_file_id is not None
        message = await self._bot.send_document(
            delivery.chat_id,
            _file(job, output, output.document_file_id),
            caption=texts.original_caption(_) if shown else wording.caption(job, _),
            parse_mode="HTML",
            disable_content_type_detection=True,
            reply_markup=buttons.ended(job.id, _),
            request_timeout=SEND_SECONDS_MAX,
        )
        document = message.document
        if document is None:  # then there is no file id to rely on: the bytes stay
            await self._mark(delivery, message)
            return
        await persist(
            self._pool,
            lambda connection: queries.original_delivered(
                connection, delivery, message_id=message.message_id, file_id=document.file_id
            ),
            within_seconds=MARK_SECONDS_MAX,
        )

    async def _job_failed(self, delivery: Delivery) -> None:
        job, balance = await self._job(delivery), await self._balance_kopecks(delivery)
        _ = Texts(delivery.language)
        message = await self._bot.send_message(
            delivery.chat_id,
            texts.failed(job, _, balance_kopecks=balance),
            parse_mode="HTML",
            reply_markup=buttons.ended(job.id, _),
            request_timeout=SEND_SECONDS_MAX,
        )
        await self._mark(delivery, message)

    async def _payment(self, delivery: Delivery) -> None:
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            payment = await payments.find(connection, UUID(delivery.ref_id))
        if payment is None:
            raise NothingToDeliver(f"no payment {delivery.ref_id}")
        balance = await self._balance_kopecks(delivery)
        render = (
            texts.credited if delivery.kind is DeliveryKind.PAYMENT_CREDITED else texts.canceled
        )
        message = await self._bot.send_message(
            delivery.chat_id,
            render(payment.amount_kopecks, Texts(delivery.language), balance_kopecks=balance),
            parse_mode="HTML",
            request_timeout=SEND_SECONDS_MAX,
        )
        await self._mark(delivery, message)

    async def _mark(self, delivery: Delivery, message: Message) -> None:
        await persist(
            self._pool,
            lambda connection: queries.delivered(
                connection, delivery, message_id=message.message_id
            ),
            within_seconds=MARK_SECONDS_MAX,
        )

    async def _failed(self, delivery: Delivery, error: Exception) -> str:
        jitter = random.random()  # noqa: S311 - spreads retries, keeps no secret
        outcome = outcome_of(error, delivery, attempts_max=self._attempts_max, jitter=jitter)
        if isinstance(outcome, GiveUp):
            return await self._give_up(delivery, outcome.detail)
        logger.warning("delivery.postponed", delay_seconds=round(outcome.delay_seconds, 1),
                       detail=outcome.detail)  # fmt: skip
        await self._postpone(delivery, outcome)
        return "postponed"

    async def _give_up(self, delivery: Delivery, detail: str) -> str:
        logger.warning("delivery.undeliverable", detail=detail)
        await self._remember(
            persist(
                self._pool,
                lambda connection: queries.undeliverable(connection, delivery, error_detail=detail),
                within_seconds=MARK_SECONDS_MAX,
            )
        )
        return "undeliverable"

    async def _postpone(self, delivery: Delivery, outcome: Postpone) -> None:
        await self._remember(
            persist(
                self._pool,
                lambda connection: queries.postpone(
                    connection,
                    delivery,
                    delay_seconds=outcome.delay_seconds,
                    error_detail=outcome.detail,
                    counts=outcome.counts,
                ),
                within_seconds=MARK_SECONDS_MAX,
            )
        )

    async def _remember(self, write: object) -> None:
        """If the database stays away, the lease ends and the delivery is due again: no harm."""
        assert asyncio.iscoroutine(write)
        try:
            await write
        except Exception as error:
            logger.warning("delivery.not_marked", error=type(error).__name__)

    async def _job(self, delivery: Delivery) -> Job:
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            job = await read_queries.find(connection, int(delivery.ref_id))
        if job is None:
            raise NothingToDeliver(f"no job {delivery.ref_id}")
        return job

    async def _output(self, delivery: Delivery) -> StoredOutput:
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            output = await read_queries.output(connection, int(delivery.ref_id))
        if output is None:
            raise NothingToDeliver(f"no result of job {delivery.ref_id}")
        return output

    async def _balance_kopecks(self, delivery: Delivery) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            user = await users.find(connection, delivery.user_id)
        if user is None:
            raise NothingToDeliver(f"no user {delivery.user_id}")
        return user.balance_kopecks


def fits_photo(output: StoredOutput) -> bool:
    """Would Telegram take it as a photo?"""
    return output.size_bytes <= PHOTO_BYTES_MAX and output.width + output.height <= PHOTO_SIDES_MAX


def file_name(job_id: int, mime_type: str) -> str:
    """What the customer's file is called."""
    return f"rei-{job_id}.{SUFFIXES.get(mime_type, 'png')}"


def _file(job: Job, output: StoredOutput, file_id: str | None) -> BufferedInputFile | str:
    if output.data is not None:
        return BufferedInputFile(output.data, file_name(job.id, output.mime_type))
    if file_id is None:
        raise NothingToDeliver(f"the bytes of job {job.id} are gone")
    return file_id


def _ref_name(delivery: Delivery) -> str:
    of_payment = {DeliveryKind.PAYMENT_CREDITED, DeliveryKind.PAYMENT_CANCELED}
    return "payment_id" if delivery.kind in of_payment else "job_id"
