"""The one message in which a customer watches the job. Best effort, by choice.

Each report replaces the one before it for the same job, is edited in by a task of its own, and
is dropped whenever Telegram does not want it. No job waits for it, fails or slows down by it.
What must arrive (picture, reason, refund) is a delivery.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, replace

import structlog
from aiogram import Bot
from aiogram.exceptions import TelegramAPIError
from aiogram.types import InlineKeyboardMarkup

from rei_core.db import Pool
from rei_core.jobs import wording
from rei_core.jobs.model import Job, JobStatus
from rei_core.texts import Texts
from rei_core.users import queries as users
from rei_worker import buttons
from rei_worker.telegram_pace import TelegramPace

logger = structlog.get_logger(__name__)

EDIT_SECONDS_MAX = 15.0
PERMIT_SECONDS_MAX = 5.0
EDITS_MAX = 200
"""Edits in flight; beyond that reports are dropped."""


class Stage(enum.Enum):
    """The states a customer sees, each with the status that it shows."""

    DRAWING = JobStatus.PROCESSING
    RETRYING = JobStatus.QUEUED
    READY = JobStatus.COMPLETED
    FAILED = JobStatus.FAILED

    @property
    def status(self) -> JobStatus:
        return self.value


@dataclass(frozen=True, slots=True)
class Report:
    """The newest thing to show about a job."""

    job: Job
    stage: Stage
    delay_seconds: float


class Progress:
    """Edits progress messages."""

    def __init__(self, *, bot: Bot, pool: Pool, pace: TelegramPace) -> None:
        self._bot = bot
        self._pool = pool
        self._pace = pace
        self._newest: dict[int, Report] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def report(self, job: Job, stage: Stage, *, delay_seconds: float = 0) -> None:
        """Show this soon, if it can be. Never blocks or raises."""
        if job.progress_message_id is None:
            return
        if job.id not in self._tasks and len(self._tasks) >= EDITS_MAX:
            return
        self._newest[job.id] = Report(job, stage, delay_seconds)
        if job.id not in self._tasks:
            task = asyncio.create_task(self._show(job.id), name=f"progress-{job.id}")
            self._tasks[job.id] = task

    async def _show(self, job_id: int) -> None:
        """Edit until nothing newer is there."""
        try:
            await self._show_newest(job_id)
        finally:
            # Here, and not in a callback a moment later, in which a report would be taken by
            # a task that has ended.
            self._newest.pop(job_id, None)
            self._tasks.pop(job_id, None)

    async def _show_newest(self, job_id: int) -> None:
        while (report := self._newest.get(job_id)) is not None:
            try:
                async with asyncio.timeout(EDIT_SECONDS_MAX):
                    permitted = await self._pace.acquire(
                        report.job.chat_id, deadline_seconds=PERMIT_SECONDS_MAX
                    )
                    if permitted:
                        # A permit is worth a second of this chat's time: it goes to what is newest by now.
                        report = self._newest[job_id]
                        await self._edit(report)
            except TelegramAPIError as error:
                logger.info("progress.skipped", job_id=job_id, error=type(error).__name__)
            except Exception as error:
                logger.warning("progress.skipped", job_id=job_id, error=type(error).__name__)
            if self._newest.get(job_id) is report:
                del self._newest[job_id]

    async def _edit(self, report: Report) -> None:
        job = report.job
        async with self._pool.acquire(timeout=PERMIT_SECONDS_MAX) as connection:
            user = await users.find(connection, job.user_id)
        if user is None:
            return
        text, keyboard = render(report, user.language, user.balance_kopecks)
        await self._bot.edit_message_text(
            text,
            chat_id=job.chat_id,
            message_id=job.progress_message_id,
            reply_markup=keyboard,
            parse_mode="HTML",
            request_timeout=int(EDIT_SECONDS_MAX),
        )

    async def settle(self, *, seconds: float) -> None:
        """Let edits in flight end, for a while."""
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()


def render(report: Report, language: str, balance_kopecks: int) -> tuple[str, InlineKeyboardMarkup]:
    """The message's text and buttons."""
    _ = Texts(language)
    job = replace(report.job, status=report.stage.status)
    waiting = report.stage is Stage.RETRYING
    text = wording.standing(
        job,
        _,
        balance_kopecks=balance_kopecks,
        retry_seconds=report.delay_seconds if waiting else None,
    )
    match report.stage:
        case Stage.DRAWING:
            return text, buttons.running(job.id, _)
        case Stage.RETRYING:
            return text, buttons.waiting(job.id, _)
        case Stage.READY | Stage.FAILED:
            return text, buttons.ended(job.id, _)
