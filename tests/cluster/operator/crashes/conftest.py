"""Databases with customers, processes to kill, and the table of what came of it."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from rei_core.db import create_pool
from rei_core.maintenance.backups.tools import named
from rei_sandbox.cluster.kubeconfig import Cluster

from ....integration.backups.customers import Customers
from .processes import Nursery, nursery
from .table import Table
from .theatre import AT_ONCE, Theatre

WRITE = "REI_CRASH_MATRIX"
"""The file that the table is written into, if there is to be one."""
PICTURE_BYTES = 2200 * 1024
"""Twice as much in a dump: so a backup has two chunks."""
_numbers = itertools.count()

BIGGER = """
UPDATE job_outputs AS o
SET data = x.data, size_bytes = length(x.data), sha256 = sha256(x.data)
FROM (SELECT $1::bytea AS data) AS x
WHERE job_id = (SELECT min(job_id) FROM job_outputs)
"""
DROP_ALL = """
SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $1 || '_')
"""

NewDatabase = Callable[[], AbstractAsyncContextManager[str]]


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """All rows of the run; shown, and perhaps written, when it has ended."""
    made = Table()
    yield made
    print(f"\n{made.text()}\n")  # noqa: T201
    if path := os.environ.get(WRITE):
        made.write(Path(path))


@pytest.fixture
async def processes() -> AsyncIterator[Nursery]:
    """Begins Rei's processes, fast."""
    async with nursery() as opened:
        yield opened


@pytest.fixture
async def theatre(
    *,
    processes: Nursery,
    cluster: Cluster,
    crds: None,
    postgres_url: str,
    template_database: str,
    tmp_path: Path,
) -> Theatre:
    """Where the stories of the operator are told."""
    del crds
    return Theatre(
        processes, cluster, postgres_url, template_database, tmp_path, asyncio.Semaphore(AT_ONCE)
    )


@pytest.fixture
async def customers_database(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """A database in which customers have paid, ordered and got pictures; others are its copies."""
    name = f"rei_crash_{os.getpid()}_customers"
    await _on(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    pool = await create_pool(named(postgres_url, name), application="test", size_max=2)
    group = Customers(pool)
    await group.arrive()
    for user_id in (1, 2, 3, 1, 2, 3, 1, 2, 3):
        await group.act(user_id)
    await pool.execute(BIGGER, bytes(PICTURE_BYTES))
    await pool.close()
    yield name
    await _on(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def new_database(postgres_url: str, customers_database: str) -> NewDatabase:
    """A copy for one story: its address. All databases whose names begin like its own go with it."""

    return lambda: copied(postgres_url, customers_database)


@asynccontextmanager
async def copied(postgres_url: str, template: str) -> AsyncIterator[str]:
    """The address of a copy for the length of the block; what restores made beside it goes with
    it."""
    name = f"rei_crash_{os.getpid()}_{next(_numbers)}"
    await _on(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield named(postgres_url, name)
    finally:
        connection = await asyncpg.connect(postgres_url)
        try:
            for row in await connection.fetch(DROP_ALL, name):
                await connection.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
        finally:
            await connection.close()


async def _on(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
