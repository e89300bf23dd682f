"""`rei migrate`."""

from __future__ import annotations

import asyncio

import click

from rei_core.db.migrate import migrate, schema_state
from rei_core.settings import CoreSettings, load


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if a migration is missing.")
def migrate_command(*, check: bool) -> None:
    """Bring the database's schema to this version of Rei.

    Safe to run from any number of places at once, and again: one works, the others wait and
    find nothing to do. The database is the one in REI_DATABASE_URL.
    """
    url = load(CoreSettings).database_url.get_secret_value()
    before = asyncio.run(schema_state(url))
    if before.up_to_date:
        click.echo(f"The schema is at {before.head}; nothing to do.")
        return
    if check:
        raise click.ClickException(
            f"the schema is at {before.current or 'nothing'}, {before.head} is wanted: `rei migrate`"
        )
    after = asyncio.run(migrate(url))
    click.echo(f"Migrated the schema from {before.current or 'nothing'} to {after.current}.")
