"""What people on call ask: `rei status|user|payments|jobs|top|log`. They change nothing.

`kubectl rei` has the same words: it runs these in the operator's pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

import click

from rei_core.admin import queries
from rei_core.commands import telling
from rei_core.commands.session import with_connection
from rei_core.db import Connection
from rei_core.maintenance.resources.base import USER_ID_MAX
from rei_core.trail import queries as trail
from rei_core.trail.model import Done

Output = Literal["table", "json"]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

LINES_MAX: Final = 500
DAYS_MAX: Final = 3650

USER_ID = click.IntRange(1, USER_ID_MAX)
"""A customer's Telegram id."""

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people, JSON for programs: amounts in kopecks, times in UTC.",
)
_user_option = click.option("--user", "user_id", type=USER_ID, help="Of this customer only.")


def _days_option(days: int) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--days",
        type=click.IntRange(1, DAYS_MAX),
        default=days,
        show_default=True,
        help="How far to look back.",
    )


def _limit_option(lines: int) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--limit",
        type=click.IntRange(1, LINES_MAX),
        default=lines,
        show_default=True,
        help="Lines in a list at the most.",
    )


@click.command()
@output_option
def status(*, output: Output) -> None:
    """The whole shop at a glance.

    The queue, what is stuck, whether orders are taken, what waits for its end, the last day's money,
    and when each kind of maintenance ran last. `rei doctor` judges it.
    """
    glance = asyncio.run(with_connection(queries.glance))
    if output == "json":
        telling.echo_json(glance)
    else:
        telling.show_glance(glance, telling.console())


@click.command()
@click.argument("user_id", type=USER_ID)
@_limit_option(10)
@output_option
def user(*, user_id: int, limit: int, output: Output) -> None:
    """Everything about the customer USER_ID (their Telegram id; /support shows it to them).

    Balance, bans and who put them, ledger, orders, payments, and what was done by hand.
    """

    async def report(connection: Connection) -> Any:
        return await queries.user_report(connection, user_id, limit=limit)

    found = asyncio.run(with_connection(report))
    if output == "json":
        telling.echo_json(telling.customer(found))
    else:
        telling.show_user(found, telling.console())


@click.command()
@_days_option(30)
@_user_option
@_limit_option(20)
@output_option
def payments(*, days: int, user_id: int | None, limit: int, output: Output) -> None:
    """Payments: number, sum and mean by status, refunds, and the newest one by one."""

    async def report(connection: Connection) -> Any:
        return await queries.payments_report(connection, days=days, user_id=user_id, limit=limit)

    found = asyncio.run(with_connection(report))
    if output == "json":
        telling.echo_json(found)
    else:
        telling.show_payments(found, telling.console())


@click.command()
@_days_option(7)
@_user_option
@_limit_option(20)
@output_option
def jobs(*, days: int, user_id: int | None, limit: int, output: Output) -> None:
    """Jobs: number, price and duration by model and status, and the newest one by one.

    JobRetentionPolicy removes old ones, so they do not go back for ever; the ledger does.
    """

    async def report(connection: Connection) -> Any:
        return await queries.jobs_report(connection, days=days, user_id=user_id, limit=limit)

    found = asyncio.run(with_connection(report))
    if output == "json":
        telling.echo_json(found)
    else:
        telling.show_jobs(found, telling.console())


@click.command()
@_days_option(30)
@_limit_option(10)
@output_option
def top(*, days: int, limit: int, output: Output) -> None:
    """Who has spent most on pictures."""

    async def report(connection: Connection) -> Any:
        return await queries.top_users(connection, days=days, limit=limit)

    found = asyncio.run(with_connection(report))
    if output == "json":
        telling.echo_json(found)
    else:
        telling.show_top(found, days, telling.console())


@click.command("log")
@_user_option
@_limit_option(20)
@output_option
def log_command(*, user_id: int | None, limit: int, output: Output) -> None:
    """Who did what by hand: credits, debits, bans, refunds, the newest first.

    By this command, by the bot's admins and by manifests. The rows are written together with what
    they tell of, and cannot be changed.
    """

    async def read(connection: Connection) -> list[Done]:
        return await trail.log(connection, user_id=user_id, limit=limit)

    found = asyncio.run(with_connection(read))
    if output == "json":
        telling.echo_json(found)
    else:
        telling.show_log(found, telling.console())


COMMANDS: Final = (status, user, payments, jobs, top, log_command)
