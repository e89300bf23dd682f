"""`rei doctor`: is everything that Rei leans on there, does it let us in, and is the shop well?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Sequence
from typing import Final

import click

from rei_core.admin import queries
from rei_core.admin.judging import STATE, Finding, Verdict, judge
from rei_core.commands import telling
from rei_core.commands.checks import (
    CHECK_SECONDS_MAX,
    Check,
    check_database,
    check_gemini,
    check_redis,
    check_telegram,
    check_webhook,
    check_yookassa,
    run_checks,
)
from rei_core.commands.look import Output, output_option
from rei_core.commands.session import with_connection
from rei_core.errors import ReiError

CHECKS: Final = (
    Check("database", check_database, "Check REI_DATABASE_URL; run `rei migrate`"),
    Check("redis", check_redis, "Check REI_REDIS_URL; jobs still run without Redis, only later"),
    Check("telegram", check_telegram, "Check BOT_TOKEN (from @BotFather) and REI_TELEGRAM_API_URL"),
    Check("webhook", check_webhook, "Start the bot, which registers it; then REI_PUBLIC_URL, TLS"),
    Check("yookassa", check_yookassa, "Check YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY"),
    Check("gemini", check_gemini, "Check GEMINI_API_KEY and the model ids in REI_CATALOG_FILE"),
)
SERVICES: Final = tuple(check.name for check in CHECKS)
SHOP: Final = "shop"
"""What stands for all of `STATE`: it is one question to the database."""
MARKS: Final = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARN: ("!", "yellow"),
    Verdict.FAIL: ("✗", "red"),
}
STATUS: Final = {Verdict.OK: 0, Verdict.WARN: 1, Verdict.FAIL: 2}


@click.command()
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice([*SERVICES, SHOP]),
    help=f"Ask only this; several times. {SHOP}: how the shop is, from the database.",
)
@output_option
def doctor(*, names: tuple[str, ...], output: Output) -> None:
    """Try everything that Rei leans on, look how the shop is, and say how to mend what is ill.

    PostgreSQL and the schema, Redis, Telegram and its webhook, YooKassa's credentials, the image
    provider's key and models; the queue, stuck jobs, whether orders are taken, payments, refunds and
    messages that wait too long, the last reconciliation, audit and backup. Nothing is changed and
    nothing is billed.

    \b
    ✓ OK      all right
    ! WARN    look at it today
    ✗ FAIL    customers or money suffer from it now

    Exit status: 0 all OK, 1 something is WARN, 2 something is FAIL.
    """
    findings = asyncio.run(examine(names or (*SERVICES, SHOP)))
    show(findings, output)
    sys.exit(exit_status(findings))


async def examine(names: Collection[str]) -> list[Finding]:
    """Ask what these names stand for."""
    found = await run_checks([check for check in CHECKS if check.name in names])
    return [*found, *(await _shop() if SHOP in names else ())]


async def _shop() -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return judge(await with_connection(queries.glance))
    except TimeoutError:
        detail = f"no answer in {CHECK_SECONDS_MAX:.0f} s"
    except ReiError as error:
        detail = str(error)
    what = f"not known: {', '.join(STATE)}. {detail}"
    return [Finding(SHOP, Verdict.FAIL, what, "Mend the database first")]


def exit_status(findings: Sequence[Finding]) -> int:
    """As bad as the worst of them."""
    return max((STATUS[finding.verdict] for finding in findings), default=0)


def show(findings: Sequence[Finding], output: Output) -> None:
    """Tell them."""
    if output == "json":
        telling.echo_json(findings)
        return
    for finding in findings:
        mark, colour = MARKS[finding.verdict]
        click.echo(f"{click.style(mark, fg=colour)} {finding.name}: {finding.detail}")
        if finding.verdict is not Verdict.OK:
            click.echo(f"    {finding.remedy}")
