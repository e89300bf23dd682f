"""Telling Telegram where to bring updates (webhook mode).

One pod at a time says it, under an advisory lock, and the last one to start wins: that is the
one with the newest code. Nobody ever takes it back: a pod that stops is no reason to stop all.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from aiogram import Bot

from rei_core.db import Pool
from rei_core.errors import ConfigurationError
from rei_core.settings import TELEGRAM_PATH, BotSettings
from rei_core.updates.queries import try_lock_registration

CONNECTIONS_MAX = 40
"""Updates that Telegram brings at a time, over all pods; its own default."""
SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
LOCK_SECONDS_MAX = 15.0
TURN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where Telegram shall go, and the secret that it shows there."""

    url: str
    secret: str


def webhook_of(settings: BotSettings) -> Webhook:
    """The webhook that the settings name; raises `ConfigurationError`."""
    if settings.public_url is None:
        raise ConfigurationError(
            "REI_PUBLIC_URL",
            "is not set, and in webhook mode Telegram has to reach us",
            "Set it to the bot's address on the internet, such as https://bot.example.com, "
            "or use REI_MODE=polling",
        )
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
    if not secret:
        raise ConfigurationError(
            "REI_WEBHOOK_SECRET",
            "is not set, and without it anybody could send us updates",
            "Set it to a long random text, such as the output of `openssl rand -hex 32`",
        )
    if not SECRET.fullmatch(secret):
        raise ConfigurationError(
            "REI_WEBHOOK_SECRET",
            "is not 1 to 256 characters of A-Z, a-z, 0-9, _ and -, all that Telegram allows",
            "Set it to the output of `openssl rand -hex 32`",
        )
    return Webhook(settings.public_url.rstrip("/") + TELEGRAM_PATH, secret)


async def register(bot: Bot, pool: Pool, webhook: Webhook, *, allowed_updates: list[str]) -> None:
    """Set the webhook once no other pod is at it; what waits at Telegram is kept."""
    while not await _register_alone(  # noqa: ASYNC110 - the event is in another pod
        bot, pool, webhook, allowed_updates=allowed_updates
    ):
        await asyncio.sleep(TURN_SECONDS)  # another pod, whose turn ends with its connection


async def _register_alone(
    bot: Bot, pool: Pool, webhook: Webhook, *, allowed_updates: list[str]
) -> bool:
    async with pool.acquire(timeout=LOCK_SECONDS_MAX) as connection, connection.transaction():
        if not await try_lock_registration(connection):
            return False
        async with asyncio.timeout(LOCK_SECONDS_MAX):  # others wait for their turn
            await bot.set_webhook(
                webhook.url,
                secret_token=webhook.secret,
                max_connections=CONNECTIONS_MAX,
                allowed_updates=allowed_updates,
                drop_pending_updates=False,
            )
    return True
