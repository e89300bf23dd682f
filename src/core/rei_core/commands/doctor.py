"""`rei doctor`: is everything that Rei leans on there, and does it let us in?"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import click

from rei_core.commands.checks import (
    Check,
    check_database,
    check_gemini,
    check_redis,
    check_telegram,
    check_yookassa,
    run_checks,
)

CHECKS: Final = (
    Check("database", check_database, "Check REI_DATABASE_URL; run `rei migrate`"),
    Check("redis", check_redis, "Check REI_REDIS_URL; jobs still run without Redis, only later"),
    Check("telegram", check_telegram, "Check BOT_TOKEN (from @BotFather) and REI_TELEGRAM_API_URL"),
    Check("yookassa", check_yookassa, "Check YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY"),
    Check("gemini", check_gemini, "Check GEMINI_API_KEY and the model ids in REI_CATALOG_FILE"),
)


@click.command()
def doctor() -> None:
    """Try everything that Rei leans on, and say how to mend what fails.

    PostgreSQL and the schema, Redis, Telegram's getMe, YooKassa's credentials, the image
    provider's key and models. Nothing is changed and nothing is billed. Exits 1 if a check fails.
    """
    findings = asyncio.run(run_checks(CHECKS))
    for finding in findings:
        mark = click.style("✓", fg="green") if finding.ok else click.style("✗", fg="red")
        click.echo(f"{mark} {finding.name}: {finding.detail}")
        if not finding.ok:
            click.echo(f"    {finding.remedy}")
    if not all(finding.ok for finding in findings):
        sys.exit(1)
