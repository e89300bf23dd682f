"""A job after its order: place in the queue, cancel, repeat, the file once more.

The worker edits the same message when a job changes its state. To not paint an old state over a
new one, what was shown is compared with the database afterwards, and shown again if it differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from aiogram import Bot

from rei_bot import cards
from rei_bot.replies import edit
from rei_bot.services import Services
from rei_core.db import Connection
from rei_core.jobs import read_queries
from rei_core.jobs.model import Job
from rei_core.ledger.queries import balance_kopecks
from rei_core.texts import Texts

SHOWN_TIMES_MAX = 3


@dataclass(frozen=True, slots=True)
class JobState:
    """A job with what its message shows beside it."""

    job: Job
    place: int | None
    retry_seconds: float | None
    balance_kopecks: int
    has_file: bool


async def job_state(connection: Connection, job_id: int, *, user_id: int) -> JobState | None:
    """The user's own job, or None."""
    job = await read_queries.find(connection, job_id)
    if job is None or job.user_id != user_id:
        return None
    return JobState(
        job,
        place=await read_queries.place(connection, job_id),
        retry_seconds=_retry_seconds(job),
        balance_kopecks=await balance_kopecks(connection, user_id),
        has_file=job.status == "completed",
    )


async def show_job(
    bot: Bot,
    services: Services,
    job_id: int,
    *,
    user_id: int,
    chat_id: int,
    message_id: int,
    _: Texts,
) -> None:
    """Turn a message into the job's state, as it is at the end of the call."""
    shown = None
    for _again in range(SHOWN_TIMES_MAX):
        async with services.pool.acquire() as connection:
            state = await job_state(connection, job_id, user_id=user_id)
        if state is None or state.job.status == shown:
            return
        view = cards.job_message(
            state.job,
            place=state.place,
            retry_seconds=state.retry_seconds,
            balance_kopecks=state.balance_kopecks,
            has_file=state.has_file,
            _=_,
        )
        message_id = await edit(bot, chat_id, message_id, view)
        shown = state.job.status


def _retry_seconds(job: Job) -> float | None:
    """How long a job that failed once waits for its next attempt."""
    seconds = (job.run_after - datetime.now(UTC)).total_seconds()
    return seconds if job.error_code is not None and seconds > 0 else None
