"""/start, /help and /support."""

from __future__ import annotations

from aiogram import Bot, F, Router
from aiogram.filters import Command, CommandStart
from aiogram.types import CallbackQuery, Message

from rei_bot import keyboards
from rei_bot.callbacks import Go
from rei_bot.replies import View, acknowledge, send, spot
from rei_bot.services import Services
from rei_core.catalog import Catalog
from rei_core.money import format_rubles
from rei_core.texts import Texts
from rei_core.users.model import User


def router() -> Router:
    """The routes of this topic."""
    routes = Router(name="start")
    routes.message.register(start, CommandStart())
    routes.message.register(show_help, Command("help"))
    routes.message.register(support, Command("support"))
    routes.callback_query.register(help_pressed, Go.filter(F.to == "help"))
    return routes


async def start(message: Message, bot: Bot, user: User, services: Services, _: Texts) -> None:
    """Greet, say what Rei does and from which price."""
    lines = [
        _("👋 Hello, {name}! I am Rei and I draw pictures.", name=user.first_name or "…"),
        "",
        _("Describe in a message what you would like to see. Send a photo with a description, "
          "and I will redraw it."),
        "",
        _("A picture costs from <b>{price}</b>; you see the price before you pay. "
          "If something goes wrong, the money comes back by itself.",
          price=cheapest(services.catalog)),
        "",
        _("Your balance: {balance}", balance=format_rubles(user.balance_kopecks)),
    ]  # fmt: skip
    await send(bot, message.chat.id, View("\n".join(lines), keyboards.home(_)))


async def show_help(message: Message, bot: Bot, services: Services, _: Texts) -> None:
    """What can be said to Rei."""
    await send(bot, message.chat.id, help_view(services.catalog, _))


async def help_pressed(callback: CallbackQuery, bot: Bot, services: Services, _: Texts) -> None:
    """The same from a button."""
    await acknowledge(callback)
    await send(bot, spot(callback)[0], help_view(services.catalog, _))


async def support(message: Message, bot: Bot, user: User, services: Services, _: Texts) -> None:
    """Whom to write to, and the number they will ask for."""
    lines = [
        _("💬 Something is wrong? Write to {contact}.", contact=services.settings.support_contact),
        _("Please mention your number: <code>{user_id}</code>", user_id=user.id),
    ]
    await send(bot, message.chat.id, View("\n".join(lines)))


def help_view(catalog: Catalog, _: Texts) -> View:
    """The help."""
    lines = [
        _("<b>How to order</b>"),
        _("1. Send a description, a photo with a caption, or an album."),
        _("2. Choose the model, the format and the size. The price is on the button."),
        _("3. Confirm. While the order waits in line, you can cancel it."),
        "",
        _("<b>Commands</b>"),
        _("/generate — draw something new"),
        _("/balance — balance and latest payments"),
        _("/topup — top up"),
        _("/history — my pictures"),
        _("/settings — language and model"),
        _("/support — write to a human"),
        "",
        _("A picture costs from <b>{price}</b>. A picture that failed costs nothing.",
          price=cheapest(catalog)),
    ]  # fmt: skip
    return View("\n".join(lines), keyboards.home(_))


def cheapest(catalog: Catalog) -> str:
    """The lowest price of all, as text."""
    return format_rubles(min(min(model.prices_kopecks.values()) for model in catalog.models))
