"""/history: the customer's orders, five to a page."""

from __future__ import annotations

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from rei_bot import keyboards
from rei_bot.callbacks import Go, HistoryPage
from rei_bot.handlers.refusals import out_of_date
from rei_bot.replies import View, acknowledge, edit, send, spot
from rei_bot.services import Services
from rei_core.jobs import read_queries
from rei_core.jobs.model import Job, JobStatus
from rei_core.money import format_rubles
from rei_core.texts import Texts, excerpt
from rei_core.users.model import User

PAGE_LENGTH = 5
PAGES_MAX = 40
PROMPT_SHOWN_MAX = 120


def router() -> Router:
    """The routes of this topic."""
    routes = Router(name="history")
    routes.message.register(history, Command("history"))
    routes.callback_query.register(history_pressed, Go.filter(F.to == "history"))
    routes.callback_query.register(turn_page, HistoryPage.filter())
    return routes


async def history(message: Message, bot: Bot, user: User, services: Services, _: Texts) -> None:
    """The newest page."""
    await send(bot, message.chat.id, await _view(user, services, _, page=0))


async def history_pressed(
    callback: CallbackQuery, bot: Bot, user: User, services: Services, _: Texts
) -> None:
    """The same from a button."""
    await acknowledge(callback)
    await send(bot, spot(callback)[0], await _view(user, services, _, page=0))


async def turn_page(
    callback: CallbackQuery,
    callback_data: HistoryPage,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """An older or newer page in the same message."""
    if not 0 <= callback_data.page < PAGES_MAX:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    view = await _view(user, services, _, page=callback_data.page)
    await edit(bot, *spot(callback), view)


async def _view(user: User, services: Services, _: Texts, *, page: int) -> View:
    # Counted from the newest: a page turned back needs no memory of where it came from.
    first = page * PAGE_LENGTH
    async with services.pool.acquire() as connection:
        jobs = await read_queries.history(connection, user.id, limit=first + PAGE_LENGTH + 1)
    older = len(jobs) > first + PAGE_LENGTH and page + 1 < PAGES_MAX
    return history_view(jobs[first : first + PAGE_LENGTH], _, page=page, older=older)


def history_view(jobs: list[Job], _: Texts, *, page: int, older: bool) -> View:
    """A page; each order numbered as on its buttons."""
    if not jobs:
        text = _(
            "There is nothing here yet. Describe what you would like to see, and I will draw it."
        )
        return View(text, keyboards.history([], _, page=page, older=False))
    numbered = [(page * PAGE_LENGTH + i, job) for i, job in enumerate(jobs, start=1)]
    blocks = [_("🖼 <b>My pictures</b>")]
    blocks += [f"<b>{number}.</b> {job_block(job, _)}" for number, job in numbered]
    blocks.append(_("<i>🔁 repeat · 📎 get the file</i>"))
    return View("\n\n".join(blocks), keyboards.history(numbered, _, page=page, older=older))


def job_block(job: Job, _: Texts) -> str:
    """An order in the history, as HTML."""
    prompt = _("“{prompt}”", prompt=excerpt(job.prompt, PROMPT_SHOWN_MAX))
    return f"{prompt}\n{_status(job, _)} · {format_rubles(job.price_kopecks)} · {_.date(job.created_at)}"


def _status(job: Job, _: Texts) -> str:
    match job.status:
        case JobStatus.QUEUED:
            return _("⏳ in line")
        case JobStatus.PROCESSING:
            return _("🎨 being drawn")
        case JobStatus.COMPLETED:
            return _("✅ done")
        case JobStatus.FAILED:
            return _("😔 failed, money back")
        case JobStatus.CANCELLED:
            return _("✖️ cancelled, money back")
