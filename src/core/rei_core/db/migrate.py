"""Migrations: forward-only plain SQL, applied in order by alembic under an advisory lock.

Each revision is a `NNNN_name.sql` with a three-line `.py` beside it for alembic. A revision
runs in one transaction with a `lock_timeout`, so that it gives up rather than stopping the
bot behind it, and must work with the version of Rei that is still running
(expand → migrate → contract). Any number of processes may call `migrate` at once: one works,
the others wait and find nothing left to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncpg
import structlog
from alembic import op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

from rei_core.db.address import connect
from rei_core.errors import ConfigurationError

log = structlog.get_logger(__name__)

REVISIONS = Path(__file__).parent / "revisions"
LOCK_KEY = 0x7265695F6D696772  # "rei_migr": one migration at a time in a database
LOCK_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands. `current` is None before the first migration."""

    current: str | None
    head: str

    @property
    def up_to_date(self) -> bool:
        return self.current == self.head

    @property
    def newer(self) -> bool:
        """Whether a newer Rei has migrated it. This one works with it: migrations see to that."""
        return self.current is not None and self.current not in _known_revisions()


def run_sql_beside(module_file: str) -> None:
    """Run the `.sql` file that lies beside a revision's `.py`, as one script."""
    sql = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    driver = op.get_bind().connection.driver_connection
    # asyncpg prepares what SQLAlchemy sends, and a prepared statement is one statement; its own
    # execute() speaks the simple protocol, inside the transaction that alembic has opened.
    await_only(driver.execute(sql))  # type: ignore[union-attr]


def script_directory() -> ScriptDirectory:
    """The revisions as alembic sees them."""
    return ScriptDirectory.from_config(_config())


async def migrate(database_url: str, *, target: str = "head") -> SchemaState:
    """Bring the database to `target`; return where it stands then."""

    def upgrade(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        script = script_directory()

        def steps(revision: str, context: MigrationContext) -> object:
            del context
            return script._upgrade_revs(target, revision)  # noqa: SLF001 - what `alembic upgrade` calls

        environment = EnvironmentContext(_config(), script, fn=steps)
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()

    await _with_connection(database_url, upgrade)
    return await schema_state(database_url)


async def schema_state(database_url: str) -> SchemaState:
    """Tell which revision the database has and which one this code wants."""
    found: list[str | None] = []

    def read(connection: Connection) -> None:
        found.append(MigrationContext.configure(connection).get_current_revision())

    await _with_connection(database_url, read)
    head = script_directory().get_current_head()
    assert head is not None
    return SchemaState(current=found[0], head=head)


async def require_schema(database_url: str) -> None:
    """Refuse to start on an old schema, or on none; raises `ConfigurationError`.

    A newer one is fine: migrations work with the version before them.
    """
    try:
        state = await schema_state(database_url)
    except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:  # texts may hold the URL
        raise ConfigurationError(
            "REI_DATABASE_URL",
            f"the database cannot be reached ({type(error).__name__})",
            "Is PostgreSQL up, and the address right? `rei doctor` tells more",
        ) from None
    if state.up_to_date:
        return
    if state.newer:
        log.warning("schema is newer than this code", schema=state.current, known=state.head)
        return
    raise ConfigurationError(
        "REI_DATABASE_URL",
        f"the schema is at {state.current or 'nothing'}, {state.head} is wanted",
        "Run `rei migrate`",
    )


def _known_revisions() -> frozenset[str]:
    return frozenset(script.revision for script in script_directory().walk_revisions())


async def _with_connection(database_url: str, work: object) -> None:
    # asyncpg reads the address, as it does for the pool: SQLAlchemy knows no `sslmode` in it.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(database_url), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(work)  # type: ignore[arg-type]
    finally:
        await engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(REVISIONS.parent))
    config.set_main_option("version_locations", str(REVISIONS))
    config.set_main_option("path_separator", "os")
    return config
