"""/balance: the money and where it went."""

from __future__ import annotations

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from rei_bot import keyboards
from rei_bot.callbacks import Go
from rei_bot.replies import View, acknowledge, send, spot
from rei_bot.services import Services
from rei_core.ledger import queries as ledger
from rei_core.ledger.model import Transfer, TransferKind
from rei_core.money import format_rubles
from rei_core.texts import Texts
from rei_core.users.model import User

TRANSFERS_READ = 20
TRANSFERS_SHOWN = 8
"""Captures move no money of the customer's and are left out, so more are read than shown."""


def router() -> Router:
    """The routes of this topic."""
    routes = Router(name="account")
    routes.message.register(balance, Command("balance"))
    routes.callback_query.register(balance_pressed, Go.filter(F.to == "balance"))
    return routes


async def balance(message: Message, bot: Bot, user: User, services: Services, _: Texts) -> None:
    """The balance and the latest movements."""
    await send(bot, message.chat.id, await _view(user, services, _))


async def balance_pressed(
    callback: CallbackQuery, bot: Bot, user: User, services: Services, _: Texts
) -> None:
    """The same from a button."""
    await acknowledge(callback)
    await send(bot, spot(callback)[0], await _view(user, services, _))


async def _view(user: User, services: Services, _: Texts) -> View:
    async with services.pool.acquire() as connection:
        transfers = await ledger.statement(connection, user.id, limit=TRANSFERS_READ)
    return balance_view(user, transfers, _)


def balance_view(user: User, transfers: list[Transfer], _: Texts) -> View:
    """Balance, unfinished orders and the latest movements."""
    lines = [_("💰 Balance: <b>{balance}</b>", balance=format_rubles(user.balance_kopecks))]
    if user.active_jobs:
        lines.append(
            _.plural("🎨 {n} order in progress", "🎨 {n} orders in progress", user.active_jobs)
        )
    shown = [t for t in transfers if t.user_change_kopecks][:TRANSFERS_SHOWN]
    if shown:
        lines += ["", _("<b>Latest movements</b>"), *(transfer_line(t, _) for t in shown)]
    return View("\n".join(lines), keyboards.balance(_))


def transfer_line(transfer: Transfer, _: Texts) -> str:
    """One movement of the customer's money, as HTML."""
    change = transfer.user_change_kopecks
    sign = "+" if change > 0 else "−"
    return f"{sign}{format_rubles(abs(change))} · {_words(transfer, _)} · {_.date(transfer.created_at)}"


def _words(transfer: Transfer, _: Texts) -> str:
    match transfer.kind:
        case TransferKind.TOPUP:
            return _("top-up")
        case TransferKind.HOLD:
            return _("order {number}", number=f"№{transfer.ref_id}")
        case TransferKind.RELEASE:
            return _("refund of order {number}", number=f"№{transfer.ref_id}")
        case TransferKind.PAYMENT_REFUND:
            return _("paid back to you")
        case TransferKind.PAYMENT_REFUND_REVERSAL:
            return _("payback returned to the balance")
        case _other:
            return _("correction by support")
