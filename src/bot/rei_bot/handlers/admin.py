"""/admin, for the people in REI_ADMIN_IDS. For everybody else there is no such command.

Guarantee: what changes something is asked for by one message and done by one button, under an
operation id that is made of that message. Updates that come twice, a button pressed twice, a repeat
after a crash find it done. Danger: who has an admin's telephone has their rights; the log tells them
apart by their Telegram ids.
"""

from __future__ import annotations

from aiogram import Bot, Router
from aiogram.filters import Command, CommandObject
from aiogram.types import CallbackQuery, Message

from rei_bot import admin_views as views
from rei_bot.admin_words import Ask, Look, Wrong, read
from rei_bot.callbacks import AdminConfirm, AdminDrop
from rei_bot.handlers.refusals import out_of_date
from rei_bot.replies import View, acknowledge, edit, send, spot
from rei_bot.services import Services
from rei_core.admin import asking, queries, requests, service
from rei_core.admin.requests import Request
from rei_core.admin.service import Changed
from rei_core.db import Connection
from rei_core.errors import (
    InsufficientFunds,
    PaymentOutcomeUnknown,
    PaymentUnknown,
    ReiError,
    UserUnknown,
)
from rei_core.ledger.queries import balance_kopecks
from rei_core.money import format_rubles
from rei_core.payments.service import Asked
from rei_core.texts import Texts
from rei_core.trail import queries as trail
from rei_core.trail.model import Actor, Word
from rei_core.users import queries as users
from rei_core.users.model import User

DAYS = 30


def router() -> Router:
    """The routes of this topic, for admins only."""
    routes = Router(name="admin")
    routes.message.register(admin, Command("admin"), is_admin)
    routes.callback_query.register(confirmed, AdminConfirm.filter(), is_admin)
    routes.callback_query.register(dropped, AdminDrop.filter(), is_admin)
    return routes


async def is_admin(event: Message | CallbackQuery, user: User, services: Services) -> bool:
    """Whether the settings name them."""
    del event
    return user.id in services.settings.admin_ids


async def admin(
    message: Message, command: CommandObject, bot: Bot, user: User, services: Services, _: Texts
) -> None:
    """Answer a question, or ask back what is to be done."""
    wanted = read(command.args or "")
    if isinstance(wanted, Wrong):
        view = views.wrong_view(wanted.problem, _)
    else:
        try:
            if isinstance(wanted, Look):
                async with services.pool.acquire() as connection:
                    view = await _look(connection, wanted, _)
            else:
                # A message has one id and one date: its repeat is the same operation, and a bot that
                # starts to count anew (another token) makes others.
                operation_id = f"bot-{user.id}-{message.message_id}-{message.date.timestamp():.0f}"
                view = await _ask(services, wanted, user, operation_id, _)
        except ReiError as error:
            view = _refusal(error, _)
    await send(bot, message.chat.id, view)


async def _look(connection: Connection, wanted: Look, _: Texts) -> View:
    limit, user_id = views.LINES_MAX, wanted.user_id
    match wanted.topic:
        case "help":
            view = views.help_view(_)
        case "status":
            view = views.status_view(await queries.glance(connection), _)
        case "user":
            assert user_id is not None
            view = views.user_view(await queries.user_report(connection, user_id, limit=limit), _)
        case "payments":
            payments = await queries.payments_report(
                connection, days=DAYS, user_id=user_id, limit=limit
            )
            view = views.payments_view(payments, _)
        case "jobs":
            jobs = await queries.jobs_report(connection, days=DAYS, user_id=user_id, limit=limit)
            view = views.jobs_view(jobs, _)
        case "top":
            top = await queries.top_users(connection, days=DAYS, limit=limit)
            view = views.top_view(top, DAYS, _)
        case "log":
            view = views.log_view(await trail.log(connection, user_id=user_id, limit=limit), _)
    return view


async def _ask(
    services: Services, wanted: Ask, admin_: User, operation_id: str, _: Texts
) -> View:  # fmt: skip
    user_id, amount_kopecks, subject = wanted.user_id, wanted.amount_kopecks, ""
    if wanted.word is Word.REFUND:
        refund = await service.refund_wanted(
            services.pool,
            wanted.payment,
            amount_kopecks=amount_kopecks,
            reason=wanted.reason,
            operation_id=operation_id,
        )
        user_id, subject = refund.payment.user_id, str(refund.payment.id)
        amount_kopecks = refund.amount_kopecks
    assert user_id is not None
    if amount_kopecks is not None and wanted.word is not Word.CREDIT:
        amount_kopecks = -amount_kopecks
    request = Request(
        operation_id=operation_id,
        admin_id=admin_.id,
        word=wanted.word,
        user_id=user_id,
        reason=wanted.reason,
        subject=subject,
        amount_kopecks=amount_kopecks,
    )
    async with services.pool.acquire() as connection:
        user = await users.find(connection, user_id)
        if user is None:
            raise UserUnknown(user_id)
        async with connection.transaction():
            await requests.ask(connection, request)
    return views.question_view(request, user, _)


async def confirmed(
    callback: CallbackQuery,
    callback_data: AdminConfirm,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Do what was asked for, once."""
    operation_id = callback_data.operation
    async with services.pool.acquire() as connection:
        request = await requests.find(connection, operation_id, admin_id=user.id)
        done_before = await trail.find(connection, operation_id) is not None
    if request is None or not (request.fresh or done_before):
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    try:
        changed = await _do(services, request, _actor(user))
    except PaymentOutcomeUnknown:
        text = _("⏳ YooKassa has not answered. It is debited and will be finished by itself; "
                 "pressing again does not send it twice.")  # fmt: skip
        await edit(bot, *spot(callback), View(text, views.question_view(request, user, _).keyboard))
        return
    except ReiError as error:
        await edit(bot, *spot(callback), _refusal(error, _))
        return
    async with services.pool.acquire() as connection:
        balance = await balance_kopecks(connection, request.user_id)
    await edit(bot, *spot(callback), views.changed_view(changed, balance, _))


async def _do(services: Services, request: Request, actor: Actor) -> Changed:
    operation_id, user_id, reason = request.operation_id, request.user_id, request.reason
    if request.word is Word.REFUND:
        assert request.amount_kopecks is not None
        wanted = await service.refund_wanted(
            services.pool,
            request.subject,
            amount_kopecks=-request.amount_kopecks,
            reason=reason,
            operation_id=operation_id,
        )
        return await service.refund(
            services.pool,
            services.payments,
            wanted,
            asked=Asked(actor, reason),
            receipt=services.topup_terms.receipt,
        )
    async with services.pool.acquire() as connection:
        match request.word:
            case Word.BAN:
                ban = asking.ban(user_id=user_id, reason=reason)
                return await service.ban(connection, ban, operation_id=operation_id, actor=actor)
            case Word.UNBAN:
                return await service.unban(
                    connection,
                    user_id=user_id,
                    reason=reason,
                    operation_id=operation_id,
                    actor=actor,
                )
            case word:
                assert request.amount_kopecks is not None
                spec = asking.adjustment(
                    word,
                    user_id=user_id,
                    amount_kopecks=abs(request.amount_kopecks),
                    reason=reason,
                    operation_id=operation_id,
                )
                return await service.change_balance(connection, spec, actor=actor)


async def dropped(
    callback: CallbackQuery,
    callback_data: AdminDrop,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Forget the request."""
    async with services.pool.acquire() as connection:
        await requests.drop(connection, callback_data.operation, admin_id=user.id)
    await acknowledge(callback)
    await edit(bot, *spot(callback), View(_("✖️ Left as it was.")))


def _actor(user: User) -> Actor:
    name = f"telegram:{user.id}"
    return Actor(f"{name} @{user.username}" if user.username else name, "bot")


def _refusal(error: ReiError, _: Texts) -> View:
    match error:
        case InsufficientFunds():
            text = _("❌ Nothing was done: the customer has {balance}, {amount} are needed.",
                     balance=format_rubles(error.balance_kopecks),
                     amount=format_rubles(error.amount_kopecks))  # fmt: skip
        case UserUnknown():
            text = _("❌ There is no customer {id}.", id=error.user_id)
        case PaymentUnknown():
            text = _("❌ There is no such payment; see /admin payments.")
        case _:
            text = _("❌ Nothing was done: {problem}", problem=str(error))
    return View(text)
