"""`rei demo`: everything set up, the story told, then a chat page to try it by hand."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

import click
import httpx
from rich.console import Console
from rich.table import Table

from rei_core.db import create_pool
from rei_core.errors import ReiError
from rei_core.ledger.audit import INVARIANTS
from rei_core.money import format_rubles
from rei_sandbox.demo.crashes import Crashes
from rei_sandbox.demo.person import StoryBroke
from rei_sandbox.demo.story import Story, Told, nothing_happens
from rei_sandbox.services import remove_data
from rei_sandbox.stage import Outside, Stage

PORT: Final = 8090
FOLDER: Final = Path(".rei")


@click.command()
@click.option("--once", is_flag=True, help="Exit after the story: 0 only if every step held.")
@click.option("--kill", is_flag=True, help="kill -9 bot, worker and Redis at the worst moments.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"Port of the chat page; 0: any.  [{PORT}]"
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="Where data, logs and pictures go.",
)
def demo(*, once: bool, kill: bool, port: int | None, folder: Path) -> None:
    """See Rei sell a picture, with nothing to install or to configure.

    Starts PostgreSQL, Redis, the stand-ins for Telegram, YooKassa and Gemini, a bot and a worker,
    all on this machine; plays a customer's story (top-up, picture, refusal refunded, outage
    survived, ledger audited), then stays up with a chat page in your browser.

    \b
    Play the story and exit:        rei demo --once
    With crashes in the middle:     rei demo --once --kill
    With the real services, one by one, put their credentials into the environment:
        BOT_TOKEN                                   your bot in Telegram
        YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY    your (test) shop
        GEMINI_API_KEY                              real pictures
    """
    console = Console(highlight=False)
    outside = Outside.of(os.environ)
    if once and outside.telegram:
        raise click.ClickException(
            "the story needs the stand-in for Telegram: unset BOT_TOKEN, or leave out --once"
        )
    home = (folder / ("live" if outside.telegram else "demo")).resolve()
    if not outside.telegram:
        # The stand-in forgets its chats, and the story begins with a customer who has no money.
        _clear(home)
    stage = Stage(home, outside=outside, sandbox_port=_port(port, once=once))
    _stop_on_sigterm()
    try:
        with stage.running(lambda name, seconds: _ready(console, name, seconds)):
            if not outside.telegram:
                _play(console, stage, crashes=kill)
            if not once:
                _stay(console, stage)
    except (StoryBroke, ReiError, httpx.HTTPError) as error:
        console.print(f"[red]✗ {error}[/]", markup=True)
        console.print("Logs: " + ", ".join(str(log) for log in stage.logs() if log.exists()))
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("Stopped.")


def _play(console: Console, stage: Stage, *, crashes: bool) -> None:
    console.rule("Anya's story")
    started = time.monotonic()
    told = asyncio.run(_story(console, stage, crashes=crashes))
    _show(console, told)
    seconds = time.monotonic() - started
    console.print(f"[green]✓ Every step held, to the kopeck[/] ({seconds:.0f} s).")


async def _story(console: Console, stage: Stage, *, crashes: bool) -> Told:
    pool = await create_pool(stage.database_url, application="rei-demo", size_max=2)
    http = httpx.AsyncClient(
        base_url=stage.sandbox_url, timeout=30, trust_env=False, follow_redirects=True
    )
    pictures = stage.folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)

    def tell(line: str) -> None:
        console.print(line if line.startswith(" ") else f"[bold]• {line}[/]")

    async with http:
        try:
            story = Story(
                http=http,
                pool=pool,
                folder=pictures,
                outside=stage.outside,
                tell=tell,
                at_moment=Crashes(stage, pool, tell) if crashes else nothing_happens,
            )
            return await story.play()
        finally:
            await pool.close()


def _show(console: Console, told: Told) -> None:
    table = Table("transfer", "from", "to", "amount", "balance after", title="Anya's ledger")
    for transfer in reversed(told.statement):
        table.add_row(
            transfer.kind,
            transfer.debit_account,
            transfer.credit_account,
            format_rubles(transfer.amount_kopecks),
            format_rubles(transfer.balance_after_kopecks),
        )
    console.print(table)
    sums = ", ".join(
        f"{name} {format_rubles(kopecks)}" for name, kopecks in told.report.accounts.items()
    )
    console.print(f"Accounts: {sums}; together {format_rubles(0)}.")
    console.print(
        f"Audit: {len(INVARIANTS)} invariants hold over {told.report.transfers_examined} transfers."
    )


def _stay(console: Console, stage: Stage) -> None:
    console.rule()
    if stage.outside.telegram:
        console.print("Your bot is up: write to it in Telegram.")
    else:
        console.print(f"Chat page:  [bold]{stage.sandbox_url}/[/]   (be a customer yourself)")
    console.print(f"Metrics:    {stage.bot_metrics_url}  {stage.worker_metrics_url}")
    console.print(f"Database:   {stage.database_url}")
    console.print(f"Logs:       {stage.folder}")
    console.print(f"Log level:  rei log-level --folder {stage.log_levels} bot=DEBUG   (no restart)")
    console.print("Ctrl-C ends everything.")
    while True:
        for program in stage.programs:
            if program.pid is None:
                console.print(f"[yellow]{program.name} has ended: starting it again[/]")
                program.start()
        time.sleep(1)


def _ready(console: Console, name: str, seconds: float) -> None:
    console.print(f"[green]✓[/] {name} ({seconds:.1f} s)")


def _port(port: int | None, *, once: bool) -> int:
    """The well-known port for people, any free one for a single run, unless told."""
    if port is not None:
        return port
    return 0 if once else PORT


def _clear(home: Path) -> None:
    """Forget the last run; what it left running is ended first."""
    stale = Stage(home)
    stale.end_stale()
    remove_data(home)


def _stop_on_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
