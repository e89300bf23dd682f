"""The buttons of a job: its place, cancel, repeat, the file once more.

Guarantee: a cancel that came too late changes nothing and says so; one that comes twice shows
the refund of the first.
"""

from __future__ import annotations

import structlog
from aiogram import Bot, F, Router
from aiogram.types import BufferedInputFile, CallbackQuery

from rei_bot.callbacks import JobAction
from rei_bot.handlers.order import draft_of_job_exists, present
from rei_bot.handlers.progress import job_state, show_job
from rei_bot.handlers.refusals import ban_notice, out_of_date
from rei_bot.replies import View, acknowledge, send, spot
from rei_bot.services import Services
from rei_core.db import Connection
from rei_core.drafts import queries as drafts
from rei_core.drafts.model import Draft
from rei_core.jobs import end_queries, read_queries
from rei_core.jobs.model import Job, JobStatus
from rei_core.jobs.read_queries import StoredOutput
from rei_core.texts import Texts
from rei_core.users.model import User

log = structlog.get_logger(__name__)

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def router() -> Router:
    """The routes of this topic."""
    routes = Router(name="job")
    routes.callback_query.register(refresh, JobAction.filter(F.action == "refresh"))
    routes.callback_query.register(cancel, JobAction.filter(F.action == "cancel"))
    routes.callback_query.register(repeat, JobAction.filter(F.action == "repeat"))
    routes.callback_query.register(get_file, JobAction.filter(F.action == "file"))
    return routes


async def refresh(
    callback: CallbackQuery,
    callback_data: JobAction,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Show where the job stands."""
    async with services.pool.acquire() as connection:
        state = await job_state(connection, callback_data.job, user_id=user.id)
    if state is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    await _show(callback, bot, services, state.job, _)


async def cancel(
    callback: CallbackQuery,
    callback_data: JobAction,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Cancel while queued, with the money back in the same statement."""
    async with services.pool.acquire() as connection, connection.transaction():
        ended = await end_queries.cancel(connection, callback_data.job, user_id=user.id)
        state = await job_state(connection, callback_data.job, user_id=user.id)
    if state is None:
        await out_of_date(callback, _)
        return
    if ended is not None:
        log.info("job cancelled", job_id=ended.id, transfer=f"release/job/{ended.id}")
    too_late = ended is None and state.job.status is JobStatus.PROCESSING
    await acknowledge(
        callback, _.plain("Too late: it is being drawn already.") if too_late else None
    )
    await _show(callback, bot, services, state.job, _)


async def repeat(
    callback: CallbackQuery,
    callback_data: JobAction,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Put the same order on a new card."""
    if user.banned:
        await acknowledge(callback)
        notice = ban_notice(user, services.settings.support_contact, _)
        await send(bot, spot(callback)[0], View(notice))
        return
    async with services.pool.acquire() as connection, connection.transaction():
        state = await job_state(connection, callback_data.job, user_id=user.id)
        draft = None
        if state is not None:
            draft = await _repeated(connection, callback, state.job, services)
    if draft is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    await present(bot, services, draft, balance_kopecks=user.balance_kopecks, _=_)


async def get_file(
    callback: CallbackQuery,
    callback_data: JobAction,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Send the result once more, from Telegram's own copy if it has one."""
    async with services.pool.acquire() as connection:
        state = await job_state(connection, callback_data.job, user_id=user.id)
        output = None
        if state is not None:
            output = await read_queries.output(connection, state.job.id)
    if state is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    chat_id, _message = spot(callback)
    if output is None or not await _send_output(bot, chat_id, state.job.id, output):
        await send(bot, chat_id, View(_("Sorry, this picture is not kept any more.")))


async def _show(
    callback: CallbackQuery, bot: Bot, services: Services, job: Job, _: Texts
) -> None:  # fmt: skip
    chat_id, message_id = spot(callback)
    await show_job(
        bot, services, job.id, user_id=job.user_id, chat_id=chat_id, message_id=message_id, _=_
    )


async def _repeated(
    connection: Connection, callback: CallbackQuery, job: Job, services: Services
) -> Draft:
    """The draft of this press. A second press finds the same, unless that has been ordered."""
    chat_id, message_id = spot(callback)
    model, ratio, size = services.catalog.fit(
        model=job.model, aspect_ratio=job.aspect_ratio, image_size=job.image_size
    )
    key = f"repeat:{message_id}:{job.id}"
    for source_key in (key, f"{key}:{callback.id}"):
        draft = await drafts.gather(
            connection,
            user_id=job.user_id,
            chat_id=chat_id,
            source_key=source_key,
            prompt=job.prompt,
            inputs=job.inputs,
            model=model,
            aspect_ratio=ratio,
            image_size=size,
        )
        if not await draft_of_job_exists(connection, draft):
            break
    return draft


async def _send_output(bot: Bot, chat_id: int, job_id: int, output: StoredOutput) -> bool:
    if output.document_file_id is not None:
        await bot.send_document(chat_id, output.document_file_id)
    elif output.data is not None:
        name = f"rei-{job_id}.{EXTENSIONS.get(output.mime_type, 'png')}"
        await bot.send_document(chat_id, BufferedInputFile(output.data, name))
    elif output.photo_file_id is not None:
        await bot.send_photo(chat_id, output.photo_file_id)
    else:
        return False
    return True
