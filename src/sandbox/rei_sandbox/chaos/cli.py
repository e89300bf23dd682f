"""`rei chaos`."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from rei_sandbox.chaos.plan import Amounts
from rei_sandbox.chaos.report import Report
from rei_sandbox.chaos.run import Options, run

TELL_SECONDS: Final = 10.0
"""How often progress is told where there is no terminal to draw it on."""


@click.command("chaos")
@click.option("--jobs", default=2000, show_default=True, help="Orders to place.")
@click.option("--kills", default=20, show_default=True, help="kill -9 of bots and workers.")
@click.option("--postgres", default=2, show_default=True, help="kill -9 of PostgreSQL.")
@click.option("--redis", default=2, show_default=True, help="kill -9 of Redis.")
@click.option("--flushes", default=2, show_default=True, help="FLUSHALL of Redis.")
@click.option("--freezes", default=3, show_default=True, help="Workers frozen past their lease.")
@click.option("--cuts", default=20, show_default=True, help="Connections cut at a COMMIT.")
@click.option("--services", default=40, show_default=True, help="Faults of the outside world.")
@click.option("--customers", default=60, show_default=True, help="Customers at a time.")
@click.option("--bots", default=2, show_default=True, help="Bot processes.")
@click.option("--workers", default=2, show_default=True, help="Worker processes.")
@click.option("--seed", default=1, show_default=True, help="The same seed breaks the same things.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the account as Markdown.")
def chaos(  # noqa: PLR0917  # click passes them by name
    jobs: int, kills: int, postgres: int, redis: int, flushes: int, freezes: int, cuts: int,
    services: int, customers: int, bots: int, workers: int, seed: int, report: Path | None,
) -> None:  # fmt: skip
    """Break everything around Rei while customers order, then account for every kopeck.

    Real processes of all parts on this machine; bots, workers, PostgreSQL and Redis are killed,
    frozen and cut off, the stand-ins of Telegram, YooKassa and Gemini fail and lie. Exits 1 unless
    every job has ended, no order is lost, and the ledger holds.

    \b
    As by default:  rei chaos
    A long one:    rei chaos --jobs 50000 --kills 500 --postgres 50 --redis 50 --flushes 10 \\
                       --cuts 1000 --freezes 200 --services 2000 --report docs/chaos-long.md
    """
    amounts = Amounts(
        kills=kills, postgres=postgres, redis=redis, flushes=flushes, freezes=freezes, cuts=cuts,
        services=services,
    )  # fmt: skip
    options = Options(
        jobs=jobs, customers=min(customers, jobs), bots=bots, workers=workers, seed=seed,
        amounts=amounts,
    )  # fmt: skip
    # PostgreSQL is killed on purpose: what our own connections say about that tells nobody anything.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="rei-chaos-", ignore_cleanup_errors=True) as folder:
        done = _run(console, options, Path(folder))
    _show(console, done)
    if report is not None:
        report.write_text(done.markdown())
    if not done.held:
        sys.exit(1)


def _run(console: Console, options: Options, folder: Path) -> Report:
    if console.is_terminal:
        with console.status("starting") as status:
            return asyncio.run(run(options, folder=folder, tell=status.update))
    told = [-TELL_SECONDS]

    def tell(line: str) -> None:
        if time.monotonic() - told[0] >= TELL_SECONDS:
            told[0] = time.monotonic()
            console.print(line)

    return asyncio.run(run(options, folder=folder, tell=tell))


def _show(console: Console, report: Report) -> None:
    table = Table("what", "how much", title="Chaos")
    for what, value in report.rows():
        table.add_row(what, value)
    console.print(table)
    if report.held:
        console.print("[green]✓ No violation, nothing lost, nothing stuck.[/]")
    else:
        console.print(f"[red]✗ {len(report.violations)} violations[/]")
