"""`rei preflight`: may an install or an upgrade begin?

`rei doctor` asks whether a Rei that is set up can work. This asks before it is: a schema that is
missing or old will be migrated, and is no failure; rights that only maintenance needs are looked at;
and what the release itself brings is left out (`--without`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rei_core.commands.checks import (
    CHECK_SECONDS_MAX,
    Check,
    CheckFailed,
    check_gemini,
    check_redis,
    check_telegram,
    check_yookassa,
    run_checks,
)
from rei_core.db.address import connect
from rei_core.db.migrate import schema_state
from rei_core.settings import CoreSettings, load

POSTGRESQL_MIN: Final = 15


@asynccontextmanager
async def _connected() -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    url = load(CoreSettings).database_url.get_secret_value()
    connection = await connect(url, timeout_seconds=CHECK_SECONDS_MAX)
    try:
        yield connection
    finally:
        await connection.close()


async def check_server() -> str:
    """The server's version and encoding."""
    async with _connected() as connection:
        version = connection.get_server_version()
        encoding = await connection.fetchval("SHOW server_encoding")
    if version.major < POSTGRESQL_MIN:
        raise CheckFailed(
            f"PostgreSQL {version.major}.{version.minor}, {POSTGRESQL_MIN} or newer is needed"
        )
    if encoding != "UTF8":
        raise CheckFailed(f"the database is encoded in {encoding}, UTF8 is needed")
    return f"PostgreSQL {version.major}.{version.minor}, {encoding}"


async def check_schema() -> str:
    """Where the schema stands, and that we may change it."""
    async with _connected() as connection:
        may_create = await connection.fetchval(
            "SELECT has_schema_privilege(current_user, 'public', 'CREATE')"
        )
    if not may_create:
        raise CheckFailed("the user may not create tables in the schema public")
    state = await schema_state(load(CoreSettings).database_url.get_secret_value())
    if state.newer:
        return f"at {state.current}, newer than {state.head}: left as it is"
    if state.up_to_date:
        return f"at {state.head}"
    return f"at {state.current or 'nothing'}: will be migrated to {state.head}"


async def check_new_databases() -> str:
    """That restores, and backups that are proved by restoring, may make databases."""
    async with _connected() as connection:
        may = await connection.fetchval(
            "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        )
    if not may:
        raise CheckFailed("the user may not create databases")
    return "the user may create them"


CHECKS: Final = (
    Check("database", check_server, "Check the address and the password in REI_DATABASE_URL"),
    Check("schema", check_schema, "GRANT CREATE ON SCHEMA public TO <user>;"),
    Check("new-databases", check_new_databases, "ALTER ROLE <user> CREATEDB;"),
    Check("redis", check_redis, "Check the address and the password in REI_REDIS_URL"),
    Check("telegram", check_telegram, "Take BOT_TOKEN from @BotFather again: /mybots"),
    Check(
        "yookassa", check_yookassa, "Take both keys from YooKassa's profile: Integration, API keys"
    ),
    Check("gemini", check_gemini, "Check GEMINI_API_KEY, and the model ids of the catalogue"),
)
ON_THE_DATABASE: Final = ("database", "schema", "new-databases")


@click.command("preflight")
@click.option(
    "--without",
    "left_out",
    multiple=True,
    type=click.Choice([check.name for check in CHECKS]),
    help="What is not there yet, or not wanted; several times. database: all that is asked of it.",
)
def preflight(*, left_out: tuple[str, ...]) -> None:
    """Look whether everything is there before an install or an upgrade; exit 1 if not.

    Says of each precondition OK or FAIL, the cause, and what mends it. Changes nothing.

    Example:  rei preflight --without redis
    """
    out = {*left_out, *(ON_THE_DATABASE if "database" in left_out else ())}
    findings = asyncio.run(run_checks([check for check in CHECKS if check.name not in out]))
    table = Table("precondition", "", "what was found", "what to do")
    for finding in findings:
        verdict = "[green]OK[/]" if finding.ok else "[red]FAIL[/]"
        table.add_row(finding.name, verdict, escape(finding.detail), escape(finding.remedy))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if not all(finding.ok for finding in findings):
        sys.exit(1)
