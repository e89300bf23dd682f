"""`rei migrate`."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import asyncpg
import click
from sqlalchemy.exc import SQLAlchemyError

from rei_core.db.migrate import SchemaState, migrate, schema_state
from rei_core.errors import ConfigurationError
from rei_core.logs import masked_text
from rei_core.settings import CoreSettings, load

LOOK_SECONDS: Final = 1.0


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if a migration is missing.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 3600),
    default=0,
    show_default=True,
    help="How long to wait for a database that is not there yet, in seconds.",
)
def migrate_command(*, check: bool, wait_seconds: float) -> None:
    """Bring the database's schema to this version of Rei.

    Safe to run from any number of places at once, and again: one works, the others wait and
    find nothing to do. A schema that a newer Rei has left is left as it is: this one works with it.
    The database is the one in REI_DATABASE_URL.
    """
    url = load(CoreSettings).database_url.get_secret_value()
    before = _state(url, wait_seconds=wait_seconds)
    if before.newer:
        click.echo(f"The schema is at {before.current}, newer than {before.head}; nothing to do.")
        return
    if before.up_to_date:
        click.echo(f"The schema is at {before.head}; nothing to do.")
        return
    if check:
        raise click.ClickException(
            f"the schema is at {before.current or 'nothing'}, {before.head} is wanted: `rei migrate`"
        )
    try:
        after = asyncio.run(migrate(url))
    except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:
        raise click.ClickException(
            f"the migration failed and has changed nothing: {_told(error)}. Run it again; if a "
            "lock was waited for in vain, something keeps a transaction open on these tables"
        ) from None
    click.echo(f"Migrated the schema from {before.current or 'nothing'} to {after.current}.")


def _state(url: str, *, wait_seconds: float) -> SchemaState:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return asyncio.run(schema_state(url))
        except (OSError, ValueError, asyncpg.PostgresError, SQLAlchemyError) as error:
            if time.monotonic() >= deadline:
                raise ConfigurationError(
                    "REI_DATABASE_URL",
                    f"the database cannot be reached: {_told(error)}",
                    "Is PostgreSQL up, and the address right?",
                ) from None
        time.sleep(LOOK_SECONDS)


def _told(error: Exception) -> str:
    """The first line, without the address's password; the rest is SQLAlchemy's."""
    lines = masked_text(str(error)).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
