"""The order's card: choosing, confirming, dropping.

Guarantee: a draft becomes one job at most, whatever is pressed how often: its idempotency key
goes into `accept`. And nobody pays a price they did not see: it travels with the button, and if
the catalogue says another one now, the card is shown again instead.
"""

from __future__ import annotations

from dataclasses import replace

import structlog
from aiogram import Bot, Router
from aiogram.types import CallbackQuery

from rei_bot import cards, keyboards
from rei_bot.callbacks import (
    Field,
    OrderCard,
    OrderConfirm,
    OrderDrop,
    OrderMenu,
    OrderPick,
    untoken,
)
from rei_bot.handlers.progress import show_job
from rei_bot.handlers.refusals import ban_notice, out_of_date
from rei_bot.replies import View, acknowledge, edit, send, spot
from rei_bot.services import Services
from rei_core.catalog import Catalog
from rei_core.db import Connection
from rei_core.drafts import queries as drafts
from rei_core.drafts.model import Draft
from rei_core.images.circuits import open_circuits
from rei_core.jobs import accept_queries, read_queries
from rei_core.jobs.model import Acceptance, Order, Outcome
from rei_core.texts import Texts
from rei_core.users.model import User

log = structlog.get_logger(__name__)

RECENT_JOBS = 20
"""How far back a card looks for the job it became; a customer has far fewer unfinished ones."""


def router() -> Router:
    """The routes of this topic."""
    routes = Router(name="order")
    routes.callback_query.register(open_choices, OrderMenu.filter())
    routes.callback_query.register(pick, OrderPick.filter())
    routes.callback_query.register(back_to_card, OrderCard.filter())
    routes.callback_query.register(confirm, OrderConfirm.filter())
    routes.callback_query.register(drop, OrderDrop.filter())
    return routes


async def open_choices(
    callback: CallbackQuery,
    callback_data: OrderMenu,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Replace the card's buttons by the choices of one field."""
    draft = await _open_draft(callback, callback_data.draft, user, services)
    if draft is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    view = _card(draft, services, balance_kopecks=user.balance_kopecks, _=_)
    chat_id, message_id = spot(callback)
    keyboard = keyboards.choices(draft, callback_data.field, services.catalog, _)
    await edit(bot, chat_id, message_id, View(view.text, keyboard))


async def pick(
    callback: CallbackQuery,
    callback_data: OrderPick,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Take a choice and show the card with it."""
    draft = await _open_draft(callback, callback_data.draft, user, services)
    changed = None
    if draft is not None:
        changed = _with_choice(draft, callback_data.field, callback_data.token, services.catalog)
    if changed is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    async with services.pool.acquire() as connection:
        await _choose(connection, changed)
    _chat, message_id = spot(callback)
    await present(
        bot, services, changed, balance_kopecks=user.balance_kopecks, _=_, message_id=message_id
    )


async def back_to_card(
    callback: CallbackQuery,
    callback_data: OrderCard,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Show the card with the balance as it is now."""
    draft = await _open_draft(callback, callback_data.draft, user, services)
    if draft is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    _chat, message_id = spot(callback)
    await present(
        bot, services, draft, balance_kopecks=user.balance_kopecks, _=_, message_id=message_id
    )


async def drop(
    callback: CallbackQuery,
    callback_data: OrderDrop,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Forget the order; nothing was charged for it."""
    draft = await _open_draft(callback, callback_data.draft, user, services)
    if draft is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    await edit(bot, *spot(callback), cards.dropped_order(_))


async def confirm(
    callback: CallbackQuery,
    callback_data: OrderConfirm,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Order the draft; the card becomes the job's progress message."""
    chat_id, message_id = spot(callback)
    async with services.pool.acquire() as connection, connection.transaction():
        draft = await drafts.find(connection, callback_data.draft, user_id=user.id)
        answer = None
        if draft is not None and _agreed(draft, callback_data.price_kopecks, services.catalog):
            order = _order(draft, callback_data.price_kopecks, progress_message_id=message_id)
            answer = await _accept(connection, order, services)
        paused_model = (
            answer is not None
            and answer.outcome is Outcome.PROVIDER_PAUSED
            and all(circuit.model is not None for circuit in await open_circuits(connection))
        )
    if draft is None:
        await out_of_date(callback, _)
        return
    if answer is not None:
        services.metrics.order(answer.outcome)
    if answer is not None and answer.job_id is not None:
        with structlog.contextvars.bound_contextvars(job_id=answer.job_id):
            log.info("order taken", outcome=answer.outcome, transfer=f"hold/job/{answer.job_id}")
            await services.doorbell.ring(answer.job_id)
            await acknowledge(callback)
            await show_job(
                bot,
                services,
                answer.job_id,
                user_id=user.id,
                chat_id=chat_id,
                message_id=message_id,
                _=_,
            )
        return
    log.info("order refused", outcome="changed" if answer is None else answer.outcome)
    await acknowledge(callback)
    notice = _notice(answer, user, services, _, paused_model=paused_model)
    balance = user.balance_kopecks if answer is None else answer.balance_kopecks
    await present(
        bot, services, draft, balance_kopecks=balance, _=_, message_id=message_id, notice=notice
    )


async def present(
    bot: Bot,
    services: Services,
    draft: Draft,
    *,
    balance_kopecks: int,
    _: Texts,
    message_id: int | None = None,
    notice: str = "",
) -> None:
    """Show the draft, in `message_id` or as a new message, and remember where."""
    fitting = _fitted(draft, services.catalog)
    if fitting != draft:
        async with services.pool.acquire() as connection:
            await _choose(connection, fitting)
    if fitting.prompt:
        view = _card(fitting, services, balance_kopecks=balance_kopecks, _=_, notice=notice)
    else:
        view = cards.prompt_wanted(fitting, _)
    if message_id is None:
        shown = await send(bot, draft.chat_id, view)
    else:
        shown = await edit(bot, draft.chat_id, message_id, view)
    if shown != draft.card_message_id:
        async with services.pool.acquire() as connection:
            await drafts.show_card(connection, draft.id, shown)


async def draft_of_job_exists(connection: Connection, draft: Draft) -> bool:
    """Whether the draft's card has become a job's progress message."""
    if draft.card_message_id is None:
        return False
    recent = await read_queries.history(connection, draft.user_id, limit=RECENT_JOBS)
    return any(job.progress_message_id == draft.card_message_id for job in recent)


async def _open_draft(
    callback: CallbackQuery, draft_id: int, user: User, services: Services
) -> Draft | None:
    """The user's draft, unless the pressed message already shows the job that it became."""
    _chat, message_id = spot(callback)
    async with services.pool.acquire() as connection:
        draft = await drafts.find(connection, draft_id, user_id=user.id)
        if draft is None:
            return None
        if await draft_of_job_exists(connection, replace(draft, card_message_id=message_id)):
            return None
    return _fitted(draft, services.catalog)


async def _choose(connection: Connection, draft: Draft) -> None:
    await drafts.choose(
        connection,
        draft.id,
        user_id=draft.user_id,
        model=draft.model,
        aspect_ratio=draft.aspect_ratio,
        image_size=draft.image_size,
    )


def _fitted(draft: Draft, catalog: Catalog) -> Draft:
    """The draft, its choice moved to the nearest that is for sale."""
    model, ratio, size = catalog.fit(
        model=draft.model, aspect_ratio=draft.aspect_ratio, image_size=draft.image_size
    )
    return replace(draft, model=model, aspect_ratio=ratio, image_size=size)


def _with_choice(draft: Draft, field: Field, chosen: str, catalog: Catalog) -> Draft | None:
    model = catalog.find(draft.model) or catalog.default
    match field:
        case "model":
            value = untoken(chosen, tuple(m.id for m in catalog.models))
            changed = None if value is None else replace(draft, model=value)
        case "ratio":
            value = untoken(chosen, model.aspect_ratios)
            changed = None if value is None else replace(draft, aspect_ratio=value)
        case "size":
            value = untoken(chosen, model.image_sizes)
            changed = None if value is None else replace(draft, image_size=value)
    return None if changed is None else _fitted(changed, catalog)


def _card(
    draft: Draft, services: Services, *, balance_kopecks: int, _: Texts, notice: str = ""
) -> View:
    return cards.order_card(
        draft,
        services.catalog,
        balance_kopecks=balance_kopecks,
        topup_min_rubles=services.settings.topup_min_rubles,
        _=_,
        notice=notice,
    )


def _agreed(draft: Draft, price_kopecks: int, catalog: Catalog) -> bool:
    """Whether the draft can be drawn for the price on the button that was pressed."""
    model = catalog.find(draft.model)
    price = catalog.price_kopecks(
        model=draft.model, aspect_ratio=draft.aspect_ratio, image_size=draft.image_size
    )
    return (
        model is not None
        and price == price_kopecks
        and draft.prompt != ""
        and len(draft.inputs) <= model.input_images_max
    )


def _order(draft: Draft, price_kopecks: int, *, progress_message_id: int) -> Order:
    return Order(
        user_id=draft.user_id,
        idempotency_key=draft.idempotency_key,
        model=draft.model,
        prompt=draft.prompt,
        aspect_ratio=draft.aspect_ratio,
        image_size=draft.image_size,
        price_kopecks=price_kopecks,
        chat_id=draft.chat_id,
        progress_message_id=progress_message_id,
        inputs=draft.inputs,
    )


async def _accept(connection: Connection, order: Order, services: Services) -> Acceptance:
    settings = services.settings
    return await accept_queries.accept(
        connection,
        order,
        active_jobs_max=settings.active_jobs_max,
        attempts_max=settings.job_attempts_max,
        deadline_seconds=settings.job_deadline_seconds,
    )


def _notice(
    answer: Acceptance | None, user: User, services: Services, _: Texts, *, paused_model: bool
) -> str:
    """Why there is no job, as HTML."""
    if answer is None:
        return _("❗️ The order or its price has changed. Please look again and confirm.")
    match answer.outcome:
        case Outcome.BANNED:
            return ban_notice(user, services.settings.support_contact, _)
        case Outcome.TOO_MANY_ACTIVE:
            return _.plural(
                "⏳ You already have {n} order in progress. Wait for it, then press again.",
                "⏳ You already have {n} orders in progress. Wait for one, then press again.",
                services.settings.active_jobs_max,
            )
        case Outcome.PROVIDER_PAUSED if paused_model:
            return _("⏸ This model is unavailable right now. Nothing was charged. "
                     "Please choose another one.")  # fmt: skip
        case Outcome.PROVIDER_PAUSED:
            return _("⏸ Orders are paused for a while: the drawing service is unavailable. "
                     "Nothing was charged. Please try again in a few minutes.")  # fmt: skip
        case _other:
            return ""  # insufficient funds: the card itself says what is missing
