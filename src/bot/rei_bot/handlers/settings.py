"""/settings: the language, and the model that new orders start with."""

from __future__ import annotations

from typing import cast

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from rei_bot import keyboards
from rei_bot.callbacks import Go, SettingsMenu, SettingsPick, untoken
from rei_bot.handlers.refusals import out_of_date
from rei_bot.replies import View, acknowledge, edit, send, spot
from rei_bot.services import Services
from rei_core.catalog import Catalog
from rei_core.i18n import LANGUAGES
from rei_core.texts import Texts
from rei_core.users import queries as users
from rei_core.users.model import Language, User


def router() -> Router:
    """The routes of this topic."""
    routes = Router(name="settings")
    routes.message.register(settings, Command("settings"))
    routes.callback_query.register(settings_pressed, Go.filter(F.to == "settings"))
    routes.callback_query.register(open_menu, SettingsMenu.filter())
    routes.callback_query.register(pick, SettingsPick.filter())
    return routes


async def settings(message: Message, bot: Bot, user: User, services: Services, _: Texts) -> None:
    """The settings as they are."""
    await send(bot, message.chat.id, settings_view(user.model, services.catalog, _))


async def settings_pressed(
    callback: CallbackQuery, bot: Bot, user: User, services: Services, _: Texts
) -> None:
    """The same from a button."""
    await acknowledge(callback)
    await send(bot, spot(callback)[0], settings_view(user.model, services.catalog, _))


async def open_menu(
    callback: CallbackQuery,
    callback_data: SettingsMenu,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """The choices of one setting."""
    await acknowledge(callback)
    match callback_data.field:
        case "language":
            view = View(_("🌐 Which language shall I speak?"), keyboards.language_choices(_))
        case "model":
            keyboard = keyboards.model_choices(user.model, services.catalog, _)
            view = View(_("🤖 Which model shall new orders start with?"), keyboard)
        case "home":
            view = settings_view(user.model, services.catalog, _)
    await edit(bot, *spot(callback), view)


async def pick(
    callback: CallbackQuery,
    callback_data: SettingsPick,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
) -> None:
    """Remember a choice and show the settings with it."""
    model = user.model
    async with services.pool.acquire() as connection:
        if callback_data.field == "language":
            chosen = untoken(callback_data.token, LANGUAGES)
            if chosen is not None:
                await users.choose_language(connection, user.id, cast("Language", chosen))
                _ = Texts(chosen)
        else:
            chosen = untoken(callback_data.token, tuple(m.id for m in services.catalog.models))
            if chosen is not None:
                await users.choose_model(connection, user.id, chosen)
                model = chosen
    if chosen is None:
        await out_of_date(callback, _)
        return
    await acknowledge(callback)
    await edit(bot, *spot(callback), settings_view(model, services.catalog, _))


def settings_view(model: str | None, catalog: Catalog, _: Texts) -> View:
    """The settings as they are."""
    title = (catalog.find(model) or catalog.default).title
    lines = [
        _("⚙️ <b>Settings</b>"),
        "",
        _("🌐 Language: {language}", language=keyboards.LANGUAGE_NAMES[_.language]),
        _("🤖 Model: {model}", model=title),
    ]
    return View("\n".join(lines), keyboards.settings(_))
