"""`rei bot`."""

from __future__ import annotations

import click
import uvloop

from rei_core.settings import BotSettings, load


@click.command("bot")
@click.option(
    "--mode",
    type=click.Choice(["polling", "webhook"]),
    help="How updates come: polling for one process, webhook for many; REI_MODE otherwise.",
)
def bot(*, mode: str | None) -> None:
    """Talk to customers: orders, top-ups, history; and hear YooKassa's notifications.

    In webhook mode start as many of these as you like, behind one address: every update and
    every notification is handled once. In polling mode one, and no address is needed but the one
    that YooKassa notifies (without it the customer's "check payment" button does the same).

    \b
    Needs:   REI_DATABASE_URL, BOT_TOKEN, YOOKASSA_SHOP_ID, YOOKASSA_SECRET_KEY, and usually
             REI_REDIS_URL; webhook mode also REI_PUBLIC_URL and REI_WEBHOOK_SECRET.
    Before:  rei config check, rei migrate, rei doctor
    Serves:  /webhook/telegram, /webhook/yookassa on REI_PORT, for the world
             /healthz, /readyz, /metrics on REI_METRICS_PORT, for your own network (0: none)

    SIGTERM (or Ctrl-C) stops: nothing new is taken, what is being handled may end within
    25 seconds, the rest comes again to the next process. A second one exits at once.

    Example:  rei bot --mode polling
    """
    settings = load(BotSettings)  # what is wrong with them is told before seconds of imports

    from rei_bot.main import main  # noqa: PLC0415 - nor does `rei bot --help` need it

    if mode is not None:
        settings = settings.model_copy(update={"mode": mode})
    uvloop.run(main(settings))
