"""`rei drill`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from rei_core.errors import ReiError
from rei_sandbox.drill import report
from rei_sandbox.drill.drills import DRILLS
from rei_sandbox.drill.run import run

NAMES = [drill.name for drill in DRILLS]


@click.command("drill")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only this one; several.")
@click.option(
    "--write", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Put the table into this page.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False),
    help="Keep data and logs in this folder.",
)  # fmt: skip
def drill(*, only: tuple[str, ...], write: Path | None, keep: Path | None) -> None:
    """Break the running system in every way that people on call know, and measure.

    All parts as real processes on this machine, the operator on a real API server, a real Prometheus
    with the chart's alerts (a minute become a second) and a real Alertmanager, which writes to the
    person on call in the stand-in for Telegram. Exits 1 unless each alert came, each system was
    healthy again, and not a kopeck was lost.

    \b
    All of them:   rei drill
    One:           rei drill --only bot-dead
    """
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # ends what was started, as Ctrl-C does
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # servers are killed on purpose
    console = Console(highlight=False)
    started = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - started:4.0f} s  {line}", soft_wrap=True)

    drills = [one for one in DRILLS if not only or one.name in only]
    try:
        with tempfile.TemporaryDirectory(prefix="rei-drill-", ignore_cleanup_errors=True) as made:
            results = asyncio.run(run(drills, folder=keep or Path(made), say=say))
    except ReiError as error:
        raise click.ClickException(str(error)) from None
    table = Table(*report.SHOWN, title="Drills")
    for row in report.rows(results):
        cells = dict(zip(report.COLUMNS, row, strict=True))
        table.add_row(*(cells[column] for column in report.SHOWN))
    console.print(table)
    if write:
        write.write_text(
            report.placed(write.read_text(encoding="utf-8"), results), encoding="utf-8"
        )
    for result in results:
        for violation in result.account.violations:
            console.print(f"[red]✗ {result.drill.name}: {violation}[/]")
    if not all(result.passed for result in results):
        sys.exit(1)
    console.print(
        f"[green]✓ {len(results)} drills, nothing lost[/] ({time.monotonic() - started:.0f} s)"
    )
