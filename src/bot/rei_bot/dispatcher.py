"""The bot's conversation: one dispatcher for webhook and polling.

Guarantee: what a handler raises reaches the caller of `feed_update`, so an update that could not
be handled is not marked as handled. The one exception is a customer who has blocked the bot:
nothing more can be said to them, and whatever was to be written has been.
"""

from __future__ import annotations

import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import TelegramForbiddenError
from aiogram.filters import ExceptionTypeFilter
from aiogram.types import BotCommand, ErrorEvent

from rei_bot.handlers import (
    account,
    admin,
    compose,
    history,
    job,
    order,
    refusals,
    settings,
    start,
    topup,
)
from rei_bot.middlewares import Customer
from rei_bot.services import Services
from rei_core.texts import Texts

log = structlog.get_logger(__name__)

ALBUM_QUIET_SECONDS = 0.8
RUSSIAN_CODES = ("ru", "be", "uk", "kk")


def build_dispatcher(
    services: Services, *, album_quiet_seconds: float = ALBUM_QUIET_SECONDS
) -> Dispatcher:
    """The dispatcher with all topics; commands and open questions come before plain prompts."""
    dispatcher = Dispatcher(disable_fsm=True)
    dispatcher["services"] = services
    dispatcher["album_quiet"] = compose.AlbumQuiet(album_quiet_seconds)
    customer = Customer(services.pool)
    dispatcher.message.outer_middleware(customer)
    dispatcher.callback_query.outer_middleware(customer)
    dispatcher.include_routers(
        admin.router(),
        start.router(),
        account.router(),
        topup.router(),
        history.router(),
        settings.router(),
        order.router(),
        job.router(),
        compose.router(),
        refusals.router(),
    )
    dispatcher.errors.register(blocked_by_customer, ExceptionTypeFilter(TelegramForbiddenError))
    return dispatcher


async def blocked_by_customer(event: ErrorEvent) -> None:
    """The customer blocked the bot: harmless."""
    log.info("customer blocked the bot", update_id=event.update.update_id)


async def publish_commands(bot: Bot) -> None:
    """Tell Telegram the menu of commands; English for all languages but those that read Russian."""
    await bot.set_my_commands(_commands(Texts("en")))
    for code in RUSSIAN_CODES:
        await bot.set_my_commands(_commands(Texts("ru")), language_code=code)


def _commands(_: Texts) -> list[BotCommand]:
    return [
        BotCommand(command="generate", description=_.plain("Draw a picture")),
        BotCommand(command="balance", description=_.plain("Balance and latest payments")),
        BotCommand(command="topup", description=_.plain("Top up")),
        BotCommand(command="history", description=_.plain("My pictures")),
        BotCommand(command="settings", description=_.plain("Language and model")),
        BotCommand(command="support", description=_.plain("Write to a human")),
        BotCommand(command="help", description=_.plain("How it works")),
    ]
