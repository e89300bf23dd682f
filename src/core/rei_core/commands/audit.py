"""`rei audit`: does the money add up?"""

from __future__ import annotations

import asyncio
import json
import sys

import asyncpg
import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rei_core.db import CUT_OFF
from rei_core.db.migrate import require_schema
from rei_core.errors import ConfigurationError
from rei_core.ledger.audit import INVARIANTS, AuditReport, audit
from rei_core.logs import masked_text
from rei_core.money import format_rubles
from rei_core.settings import CoreSettings, load

CONNECT_SECONDS_MAX = 15.0


@click.command("audit")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def audit_command(*, output: str) -> None:
    """Check every invariant of the money in one snapshot. Changes nothing.

    Safe beside a bot at full speed. Exits 1 if anything does not add up. The database is the one
    in REI_DATABASE_URL.
    """
    report = asyncio.run(_audit(load(CoreSettings).database_url.get_secret_value()))
    if output == "json":
        click.echo(json.dumps(document(report), ensure_ascii=False, indent=2))
    else:
        _show(report)
    if not report.consistent:
        sys.exit(1)


async def _audit(url: str) -> AuditReport:
    await require_schema(url)
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS_MAX)
        try:
            return await audit(connection)
        finally:
            await connection.close()
    except (asyncpg.PostgresError, *CUT_OFF) as error:
        lines = masked_text(str(error)).splitlines() or [""]
        raise ConfigurationError(
            "REI_DATABASE_URL",
            f"the audit was cut off: {type(error).__name__}: {lines[0][:300]}",
            "Nothing is known about the money; run it again",
        ) from None


def document(report: AuditReport) -> dict[str, object]:
    """The report as JSON values; amounts in kopecks."""
    return {
        "consistent": report.consistent,
        "transfers_examined": report.transfers_examined,
        "violation_counts": {name: report.violation_counts.get(name, 0) for name in INVARIANTS},
        "violations": [
            {"invariant": one.invariant, "subject": one.subject, "detail": one.detail}
            for one in report.violations
        ],
        "accounts_kopecks": report.accounts,
    }


def _show(report: AuditReport) -> None:
    console = Console(highlight=False)
    invariants = Table("", "invariant", "violations")
    for name in INVARIANTS:
        count = report.violation_counts.get(name, 0)
        mark = "[red]✗[/]" if count else "[green]✓[/]"
        invariants.add_row(mark, name, str(count) if count else "")
    console.print(invariants)
    for one in report.violations:
        console.print(f"[red]✗[/] {one.invariant}: {escape(one.subject)}: {escape(one.detail)}")
    told, found = len(report.violations), sum(report.violation_counts.values())
    if told < found:
        console.print(f"  … and {found - told} more")
    accounts = Table("account", "sum")
    accounts.columns[1].justify = "right"
    for account, kopecks in report.accounts.items():
        accounts.add_row(account, format_rubles(kopecks))
    accounts.add_row("together", format_rubles(sum(report.accounts.values())))
    console.print(accounts)
    verdict = "[green]consistent[/]" if report.consistent else "[red]INCONSISTENT[/]"
    console.print(f"{report.transfers_examined} transfers examined: {verdict}")
