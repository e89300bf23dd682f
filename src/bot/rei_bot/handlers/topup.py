"""Topping up: an amount, a payment page, "check the payment".

Guarantee: one action of the customer is one payment, however often its update comes: the request
key is made of the message and the amount. A creation of unknown outcome is repeated under the
same key, so nobody pays twice. Danger: the provider may take seconds; no connection is held
meanwhile, and the button is answered first.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from rei_bot import keyboards
from rei_bot.callbacks import Go, PaymentCheck, TopUpAmount, TopUpRetry
from rei_bot.handlers.refusals import ban_notice, out_of_date
from rei_bot.replies import View, acknowledge, edit, send, spot
from rei_bot.services import Services
from rei_core.errors import (
    AmountError,
    PaymentMismatch,
    PaymentOutcomeUnknown,
    PaymentProviderError,
    PaymentUnknown,
)
from rei_core.ledger.queries import balance_kopecks
from rei_core.money import format_rubles, parse_rubles
from rei_core.payments import queries as payments
from rei_core.payments.model import Payment, PaymentStatus
from rei_core.payments.service import check, start_topup
from rei_core.settings import BotSettings
from rei_core.texts import Texts
from rei_core.users import queries as users
from rei_core.users.model import User

log = structlog.get_logger(__name__)


def router() -> Router:
    """The routes of this topic."""
    routes = Router(name="topup")
    routes.message.register(topup, Command("topup"))
    routes.message.register(own_amount, F.text, ~F.text.startswith("/"), awaits_amount)
    routes.callback_query.register(topup_pressed, Go.filter(F.to == "topup"))
    routes.callback_query.register(ask_amount, Go.filter(F.to == "other_amount"))
    routes.callback_query.register(amount_pressed, TopUpAmount.filter())
    routes.callback_query.register(retry_pressed, TopUpRetry.filter())
    routes.callback_query.register(check_pressed, PaymentCheck.filter())
    return routes


async def awaits_amount(message: Message, user: User) -> bool:
    """Whether the customer was asked for an amount."""
    del message
    return user.awaiting == "topup_amount"


async def topup(message: Message, bot: Bot, user: User, services: Services, _: Texts) -> None:
    """Offer the amounts."""
    await send(bot, message.chat.id, menu_view(user, services.settings, _))


async def topup_pressed(
    callback: CallbackQuery, bot: Bot, user: User, services: Services, _: Texts
) -> None:
    """The same from a button."""
    await acknowledge(callback)
    await send(bot, spot(callback)[0], menu_view(user, services.settings, _))


async def ask_amount(
    callback: CallbackQuery, bot: Bot, user: User, services: Services, _: Texts
) -> None:
    """Ask for an own amount; the next text answers."""
    await acknowledge(callback)
    chat_id, _message = spot(callback)
    if user.banned:
        await send(bot, chat_id, View(ban_notice(user, services.settings.support_contact, _)))
        return
    async with services.pool.acquire() as connection:
        await users.await_answer(connection, user.id, "topup_amount")
    await send(bot, chat_id, View(_amount_wanted(services.settings, _)))


async def own_amount(
    message: Message, bot: Bot, user: User, services: Services, _: Texts
) -> None:  # fmt: skip
    """The amount in the customer's own words."""
    settings = services.settings
    try:
        amount = parse_rubles(
            message.text or "",
            minimum_kopecks=settings.topup_min_rubles * 100,
            maximum_kopecks=settings.topup_max_rubles * 100,
        )
    except AmountError:
        sorry = _("I cannot read this as an amount.")
        await send(bot, message.chat.id, View(f"{sorry} {_amount_wanted(settings, _)}"))
        return
    retry = TopUpRetry(source="text", message=message.message_id, amount_kopecks=amount)
    view = await _begin(services, user, retry, chat_id=message.chat.id, _=_)
    await send(bot, message.chat.id, view)
    # Last, so that a repeat of this update after a crash is still read as an amount.
    async with services.pool.acquire() as connection:
        await users.await_answer(connection, user.id, None)


async def amount_pressed(
    callback: CallbackQuery,
    callback_data: TopUpAmount,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """An amount from the menu becomes the payment; from an order's card it gets its own message."""
    await acknowledge(callback)
    chat_id, message_id = spot(callback)
    retry = TopUpRetry(
        source=callback_data.source,
        message=message_id,
        amount_kopecks=callback_data.amount_kopecks,
    )
    view = await _begin(services, user, retry, chat_id=chat_id, _=_)
    if callback_data.source == "menu":
        await edit(bot, chat_id, message_id, view)
    else:
        await send(bot, chat_id, view)
    if user.awaiting is not None:
        async with services.pool.acquire() as connection:
            await users.await_answer(connection, user.id, None)


async def retry_pressed(
    callback: CallbackQuery,
    callback_data: TopUpRetry,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """The same top-up again, under the same key."""
    await acknowledge(callback)
    chat_id, message_id = spot(callback)
    view = await _begin(services, user, callback_data, chat_id=chat_id, _=_)
    await edit(bot, chat_id, message_id, view)


async def check_pressed(
    callback: CallbackQuery,
    callback_data: PaymentCheck,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Ask the provider about a payment of the customer's own."""
    async with services.pool.acquire() as connection:
        payment = await payments.find(connection, callback_data.payment)
    if payment is None or payment.user_id != user.id:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)  # the provider may take its time
    chat_id, message_id = spot(callback)
    try:
        settlement = await check(services.pool, services.payments, payment.id)
    except (PaymentProviderError, PaymentMismatch) as error:
        log.warning("payment check failed", payment_id=str(payment.id), error=str(error))
        notice = _("The payment service does not answer. Please try again in a minute; "
                   "your money will not be lost.")  # fmt: skip
        await edit(bot, chat_id, message_id, payment_view(payment, _, notice=notice))
        return
    now = settlement.payment
    if now.status in {PaymentStatus.CREATED, PaymentStatus.PENDING}:
        notice = _("The payment has not arrived yet. If you have just paid, wait a minute.")
        await edit(bot, chat_id, message_id, payment_view(now, _, notice=notice))
        return
    async with services.pool.acquire() as connection:
        balance = await balance_kopecks(connection, user.id)
    await edit(bot, chat_id, message_id, ended_view(now, balance, _))


async def _begin(
    services: Services, user: User, retry: TopUpRetry, *, chat_id: int, _: Texts
) -> View:
    """Open the payment that `retry` names, and what to show for it."""
    settings = services.settings
    if user.banned:
        return View(ban_notice(user, settings.support_contact, _))
    low, high = settings.topup_min_rubles * 100, settings.topup_max_rubles * 100
    if not low <= retry.amount_kopecks <= high:  # a button from before the limits changed
        return menu_view(user, settings, _)
    try:
        payment = await start_topup(
            services.pool,
            services.payments,
            user_id=user.id,
            chat_id=chat_id,
            amount_kopecks=retry.amount_kopecks,
            request_key=f"topup:{retry.source}:{retry.message}:{retry.amount_kopecks}",
            terms=services.topup_terms,
        )
    except (PaymentOutcomeUnknown, PaymentUnknown):
        text = _("⏳ The payment service did not answer in time. "
                 "Please try again: you will not be charged twice.")  # fmt: skip
        return View(text, keyboards.topup_retry(retry, _))
    except (PaymentProviderError, PaymentMismatch) as error:
        log.warning("top-up refused", user_id=user.id, error=str(error))
        text = _("😔 Sorry, the payment service did not take this payment. Nothing was charged. "
                 "Please try another amount or try later.")  # fmt: skip
        return View(text, keyboards.topup_anew(_))
    if payment.status in {PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED}:
        return ended_view(payment, user.balance_kopecks, _)
    return payment_view(payment, _)


def menu_view(user: User, settings: BotSettings, _: Texts) -> View:
    """The amounts to choose from, or why there are none."""
    if user.banned:
        return View(ban_notice(user, settings.support_contact, _))
    lines = [
        _("💳 <b>Top up</b>"),
        _("Your balance: {balance}", balance=format_rubles(user.balance_kopecks)),
        "",
        _("Choose an amount:"),
    ]
    return View("\n".join(lines), keyboards.topup_menu(settings.topup_choices_rubles, _))


def payment_view(payment: Payment, _: Texts, *, notice: str = "") -> View:
    """A payment that waits for its payer; `notice` (HTML) is what a check has found, and when."""
    lines = [
        _("💳 Top-up of <b>{amount}</b>", amount=format_rubles(payment.amount_kopecks)),
        "",
        _("Press “Pay”; the money arrives within a minute of the payment, and I will tell you. "
          "The payment page is open for one hour."),
    ]  # fmt: skip
    if notice:
        # The moment makes every check visible: the same text twice would change nothing.
        lines += ["", f"⏳ {notice}", f"<i>{_.moment(datetime.now(UTC))}</i>"]
    return View("\n".join(lines), keyboards.payment(payment, _))


def ended_view(payment: Payment, balance: int, _: Texts) -> View:
    """A payment that has arrived or was cancelled."""
    amount = format_rubles(payment.amount_kopecks)
    if payment.status is PaymentStatus.SUCCEEDED:
        text = _("✅ {amount} arrived. Balance: <b>{balance}</b>",
                 amount=amount, balance=format_rubles(balance))  # fmt: skip
        return View(text, keyboards.balance(_))
    text = _("✖️ The payment of {amount} was cancelled. Nothing was charged.", amount=amount)
    return View(text, keyboards.topup_anew(_))


def _amount_wanted(settings: BotSettings, _: Texts) -> str:
    return _(
        "Send the amount as a number, from {minimum} to {maximum}. "
        "Any command, such as /balance, leaves this question.",
        minimum=format_rubles(settings.topup_min_rubles * 100),
        maximum=format_rubles(settings.topup_max_rubles * 100),
    )
