"""Real PostgreSQL and Redis for every test that asks for them.

Embedded by default; `REI_TEST_DATABASE_URL` and `REI_TEST_REDIS_URL` name given ones. The schema
is migrated once into a template, and every test gets a database of its own copied from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from aiohttp import web
from sqlalchemy.engine import make_url

from rei_core.db import Pool, create_pool
from rei_core.db.migrate import migrate
from rei_sandbox import services
from rei_sandbox.prometheus import NoPrometheus, Programs, Prometheus
from rei_sandbox.prometheus import obtain as prometheus_here
from rei_sandbox.services import Postgres, Redis

SCALING = Path(__file__).parents[1] / "helm" / "rei" / "files" / "scaling"
_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _ports_that_no_process_of_tests_beside_this_one_gives() -> Iterator[None]:
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "PORTS", services.PORTS[own::processes])
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_logger_is_bound_for_good() -> Iterator[None]:
    """A command that runs in this process sets up its log, and a logger that speaks then would keep it:
    a later test that captures what is logged would see nothing."""
    configure = structlog.configure

    def uncached(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", uncached)
        yield


@pytest.fixture(autouse=True)
def _each_test_begins_with_no_log_set_up() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server's maintenance database; tests make their own databases on it."""
    given = os.environ.get("REI_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with _folder_for_servers() as folder:
        server = Postgres(folder, durable=False).start()
        yield server.url()
        server.stop()


@pytest.fixture
def stage_folder() -> Iterator[Path]:
    """Where a `Stage` may keep its data."""
    with _folder_for_servers() as folder:
        yield folder


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server; tests use key names of their own or flush it."""
    given = os.environ.get("REI_TEST_REDIS_URL")
    if given:
        yield given
        return
    server = Redis(tmp_path_factory.mktemp("redis")).start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> str:
    """The name of a migrated, empty database that others are copied from."""
    name = f"rei_template_{os.getpid()}"

    async def prepare() -> None:
        await _execute(postgres_url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        await migrate(_named(postgres_url, name))

    asyncio.run(prepare())  # a loop of its own: the tests' loops live for one test each
    return name


@pytest.fixture
async def database_url(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """A migrated database for this test alone."""
    name = f"rei_test_{os.getpid()}_{next(_numbers)}"
    await _execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield _named(postgres_url, name)
    await _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without any table."""
    name = f"rei_empty_{os.getpid()}_{next(_numbers)}"
    asyncio.run(_execute(postgres_url, f"CREATE DATABASE {name}"))
    yield _named(postgres_url, name)
    asyncio.run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool on this test's database."""
    opened = await create_pool(database_url, application="test", size_max=20)
    yield opened
    await opened.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[web.Application], Awaitable[str]]]:
    """`await serve(app)`: its address on loopback; it ends with the test, whoever still hangs on."""
    async with AsyncExitStack() as stack:

        async def start(app: web.Application) -> str:
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return f"http://127.0.0.1:{runner.addresses[0][1]}"

        yield start


@pytest.fixture
def prometheus_programs() -> Programs:
    """Prometheus. Not to be had: a skip that says why, a failure under CI=true."""
    try:
        return prometheus_here()
    except NoPrometheus as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
async def scraping(
    prometheus_programs: Programs, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Prometheus]]]:
    """`await scraping("127.0.0.1:8082")`: a Prometheus that scrapes these addresses every second,
    and knows them by `namespace="rei"`."""
    async with AsyncExitStack() as stack:

        async def start(*targets: str) -> Prometheus:
            server = Prometheus(
                tmp_path / "prometheus", prometheus_programs, targets=targets,
                labels={"namespace": "rei"},
            )  # fmt: skip
            stack.callback(server.stop)
            return await asyncio.to_thread(server.start)

        yield start


@pytest.fixture
def scaling_query() -> Callable[[str], str]:
    """The chart's query of a name, with its SELECTOR filled in."""

    def read(name: str) -> str:
        text = (SCALING / f"{name}.promql").read_text(encoding="utf-8")
        return text.replace("SELECTOR", 'namespace="rei"')

    return read


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@contextlib.contextmanager
def _folder_for_servers() -> Iterator[Path]:
    """A folder outside pytest's own, which every new pytest closes to all other users again.

    Run by root, PostgreSQL is another user.
    """
    with tempfile.TemporaryDirectory(prefix="rei-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
