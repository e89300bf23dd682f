"""Whole databases: made, dropped and swapped, each statement on the server's maintenance database.

A scratch database carries a comment that says it is one, and its maker holds an advisory lock on
its name (in the maintenance database, so that a lost connection lets go of it). One whose lock is
free was left by a run that died: it may be dropped, and `drop_leftovers` does. Nothing without the
comment is ever dropped, except an empty database of exactly the name that is to be made: its maker
died before it could write the comment.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, Protocol

import asyncpg
import structlog

from rei_core.db import CUT_OFF, Connection
from rei_core.maintenance.backups import snapshot
from rei_core.maintenance.backups.errors import RestoreBusy, RestoreRefused
from rei_core.maintenance.backups.failpoints import reach

logger = structlog.get_logger(__name__)

MAINTENANCE_DATABASE = "postgres"
NAME_BYTES_MAX = 63
DIGEST_LENGTH = 12
SCRATCH_COMMENT = "Scratch database of a backup's verification or restore (Rei); may be dropped"
VERIFY_PREFIX = "rei_verify_"
RESTORE_PREFIX = "rei_restore_"
SCRATCH_NAME = re.compile(r"rei_(verify|restore)_[a-z0-9_]{1,52}")
LEFTOVERS_MAX = 100
SWAP_ATTEMPTS_MAX = 6
TERMINATE_PERIOD_SECONDS = 0.1
DROP_SECONDS_MAX = 60.0

MARK = re.compile(
    r"Rei: restore (?P<operation>[\w.-]{1,100}) (?P<state>begun|swapped|done)"
    r"(, before: (?P<kept_as>.+), safety backup: (?P<safety_backup_id>[a-z0-9-]+))?"
    r"(, taken at: (?P<taken_at>[0-9T:.+-]+))?"
)
KEPT_SUFFIX = "_before_%Y%m%dt%H%M%Sz"
KEPT_SUFFIX_PATTERN = "_before_[0-9]{8}t[0-9]{6}z"
KEPT_SUFFIX_BYTES = len("_before_20261124t030000z")
MARKED_MAX = 1000

EXISTS = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a restore wrote on its database, as the database's comment: which one it was, and how far
    it is. By it a restore that is asked for again, because whoever asked has died, is known.

    `swapped` is in place of the old one, but lacks what only that knows (see `carry_over`). `taken_at`
    is when the backup was taken.
    """

    operation: str
    state: Literal["begun", "swapped", "done"]
    kept_as: str | None = None
    safety_backup_id: str | None = None
    taken_at: datetime | None = None

    def __str__(self) -> str:
        parts = [f"Rei: restore {self.operation} {self.state}"]
        if self.kept_as is not None:
            parts.append(f"before: {self.kept_as}, safety backup: {self.safety_backup_id}")
        if self.taken_at is not None:
            parts.append(f"taken at: {self.taken_at.isoformat()}")
        return ", ".join(parts)


def mark_in(comment: str | None) -> Mark | None:
    """The mark that a database's comment is, None if it is none."""
    match = MARK.fullmatch(comment or "")
    if match is None:
        return None
    fields: dict[str, Any] = match.groupdict()
    if fields["taken_at"] is not None:
        fields["taken_at"] = datetime.fromisoformat(fields["taken_at"])
    return Mark(**fields)


async def mark_of(connection: Connection, name: str) -> Mark | None:
    """The mark on a database, None if there is none."""
    return mark_in(await connection.fetchval(COMMENT, name))


MARKED = """
SELECT datname, shobj_description(oid, 'pg_database') AS comment
FROM pg_database
WHERE starts_with(shobj_description(oid, 'pg_database'), 'Rei: restore ' || $1 || ' ')
ORDER BY datname
LIMIT $2
"""


async def marked(connection: Connection, name: str, operation: str) -> tuple[str, Mark] | None:
    """The database that carries the operation's mark, and the mark: the one of this name, or one
    that a restore since has put aside from under it.

    Other databases of the server are somebody else's, whose restores may be called as ours are.
    """
    for row in await connection.fetch(MARKED, operation, MARKED_MAX):
        mark = mark_in(row["comment"])
        ours = row["datname"] == name or is_kept_of(name, row["datname"])
        if ours and mark is not None and mark.operation == operation:
            return row["datname"], mark
    return None


def kept_name(name: str, at: datetime) -> str:
    """What a database is called from then on, when another one takes its place."""
    return _kept_stem(name) + at.astimezone(UTC).strftime(KEPT_SUFFIX)


def is_kept_of(name: str, other: str) -> bool:
    """Whether the other name is a `kept_name` of this one."""
    return re.fullmatch(re.escape(_kept_stem(name)) + KEPT_SUFFIX_PATTERN, other) is not None


def _kept_stem(name: str) -> str:
    return name.encode()[: NAME_BYTES_MAX - KEPT_SUFFIX_BYTES].decode(errors="ignore")


async def set_mark(connection: Connection, name: str, mark: Mark) -> None:
    """Write a mark; the database's user must own it."""
    await connection.execute(_comment(name, str(mark)))


def _comment(name: str, text: str) -> str:
    literal = text.replace("'", "''")
    return f"COMMENT ON DATABASE {quoted(name)} IS '{literal}'"


async def exists(connection: Connection, name: str) -> bool:
    """Whether there is a database of this name."""
    return bool(await connection.fetchval(EXISTS, name))


async def create(connection: Connection, name: str) -> None:
    """Make an empty database; raises asyncpg's `DuplicateDatabaseError`."""
    # template0, because template1 may hold what somebody put there, and then the restore collides.
    await connection.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0 ENCODING 'UTF8'")


async def drop(connection: Connection, name: str) -> None:
    """Drop a database and whoever is connected to it; one that is not there is no error."""
    await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


LOCK = "SELECT pg_try_advisory_lock(hashtextextended('rei database ' || $1, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('rei database ' || $1, 0))"


@asynccontextmanager
async def sole_user_of(connection: Connection, name: str) -> AsyncIterator[None]:
    """Hold the lock on a name, raising `RestoreBusy` if somebody else has it."""
    if not await connection.fetchval(LOCK, name):
        raise RestoreBusy(
            f"another run is at work on the database {name}", "Wait until it has ended"
        )
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.fetchval(UNLOCK, name)


@asynccontextmanager
async def scratch(connection: Connection, name: str, *, database_url: str) -> AsyncIterator[None]:
    """A database of this name for the length of the block; dropped then, unless it was renamed.

    `database_url` is its address.
    """
    assert SCRATCH_NAME.fullmatch(name), name
    async with sole_user_of(connection, name):
        if await exists(connection, name):
            await _require_ours(connection, name, database_url)
            await drop(connection, name)
        await create(connection, name)
        reach("scratch-created")
        try:
            await connection.execute(_comment(name, SCRATCH_COMMENT))
            reach("scratch-marked")
            yield
        finally:
            await drop_or_leave(connection, name)
            reach("scratch-dropped")


async def drop_or_leave(connection: Connection, name: str) -> None:
    """Drop it; if that fails, leave it to the next run's `drop_leftovers`, and the error that may
    be under way to whoever waits for it."""
    try:
        async with asyncio.timeout(DROP_SECONDS_MAX):
            await drop(connection, name)
    except (asyncpg.PostgresError, *CUT_OFF) as error:
        logger.warning("scratch_database.left", name=name, error=type(error).__name__)


async def _require_ours(connection: Connection, name: str, database_url: str) -> None:
    comment = await connection.fetchval(COMMENT, name)
    # Whoever made it may have died before the comment was written: there is nothing in it then.
    unmarked = comment is None and await snapshot.is_empty(database_url)
    if comment != SCRATCH_COMMENT and not unmarked:
        raise RestoreRefused(
            f"there is a database {name} that does not say it is a scratch one",
            "If it is, drop it by hand",
        )


LEFTOVERS = """
SELECT datname
FROM pg_database
WHERE shobj_description(oid, 'pg_database') = $1
  AND datname LIKE ANY (ARRAY['rei\\_verify\\_%', 'rei\\_restore\\_%'])
ORDER BY datname
LIMIT $2
"""


async def drop_leftovers(connection: Connection) -> list[str]:
    """Drop the scratch databases of runs that died; their names."""
    rows = await connection.fetch(LEFTOVERS, SCRATCH_COMMENT, LEFTOVERS_MAX)
    dropped = []
    for name in (row["datname"] for row in rows):
        if not await connection.fetchval(LOCK, name):
            continue  # its maker lives
        try:
            await drop(connection, name)
            dropped.append(name)
        finally:
            await connection.fetchval(UNLOCK, name)
    if dropped:
        logger.warning("scratch_databases.dropped", names=dropped)
    return dropped


TERMINATE = """
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = ANY ($1::text[]) AND pid <> pg_backend_pid() AND pid <> $2
"""

# The renaming has its lock, so nobody new comes in, and all who were in are gone but this one.
ALONE = """
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND pid <> $2)
   AND EXISTS (
       SELECT FROM pg_locks AS l
       JOIN pg_database AS d ON d.oid = l.objid
       WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND d.datname = $1
         AND l.mode = 'AccessExclusiveLock' AND l.granted
   )
"""


class Guard(Protocol):
    """Who is connected to the database that is put aside, and keeps writers out of it."""

    pid: int
    released: bool

    def release(self) -> None:
        """Hang up."""
        ...


async def swap_in(
    connection: Connection,
    killer: Connection,
    *,
    fresh: str,
    name: str,
    kept_as: str,
    mark: Mark,
    guard: Guard,
) -> None:
    """Put the database `fresh` in the place of `name`, which becomes `kept_as`, and mark it, in one
    transaction.

    Whoever is connected to `name` is cut off, `guard` last of all: once nobody can come in any more
    and all others are gone. Raises `RestoreBusy` if the guard went and the names could not be
    changed all the same. While the names change, new connections wait for the
    lock on the database, then find the new one or are refused once; so there is no moment in which
    a crash leaves a server without a database of this name.
    """
    for attempt in range(1, SWAP_ATTEMPTS_MAX + 1):
        cutting_off = asyncio.create_task(
            cut_off(killer, [name, fresh], spare_pid=guard.pid, release=(name, guard))
        )
        try:
            async with connection.transaction():
                # It has the lock from here on, and waits up to five seconds until all are gone.
                await connection.execute(
                    f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(kept_as)}"
                )
                reach("renamed-aside")
                await connection.execute(f"ALTER DATABASE {quoted(fresh)} RENAME TO {quoted(name)}")
                reach("renamed-in")
                await connection.execute(_comment(name, str(mark)))
                reach("marked")
        except asyncpg.ObjectInUseError:
            if guard.released:  # somebody may have written since
                raise RestoreBusy(
                    f"the database {name} could not be freed of its users", "Try again"
                ) from None
            if attempt == SWAP_ATTEMPTS_MAX:
                raise RestoreRefused(
                    f"the database {name} could not be freed of its users",
                    "A prepared transaction, or a session that this user may not end: see "
                    "pg_stat_activity and pg_prepared_xacts",
                ) from None
        else:
            return
        finally:
            cutting_off.cancel()
            await asyncio.gather(cutting_off, return_exceptions=True)


async def cut_off(
    killer: Connection,
    names: list[str],
    *,
    spare_pid: int,
    release: tuple[str, Guard] | None = None,
) -> NoReturn:
    """End all sessions in these databases but the spared one, over and over until cancelled; and
    `release` the guard of a database once nobody else is in it or can come in."""
    while True:
        await killer.execute(TERMINATE, names, spare_pid)
        if release is not None:
            name, guard = release
            if not guard.released and await killer.fetchval(ALONE, name, guard.pid):
                guard.release()
        await asyncio.sleep(TERMINATE_PERIOD_SECONDS)


def scratch_name(prefix: str, backup_id: str) -> str:
    """The scratch database's name for a backup."""
    name = prefix + backup_id.replace("-", "_")
    if len(name) <= NAME_BYTES_MAX:
        return name
    digest = hashlib.sha256(backup_id.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{name[: NAME_BYTES_MAX - DIGEST_LENGTH - 1]}_{digest}"


def quoted(name: str) -> str:
    """The name as an identifier of SQL."""
    if not 0 < len(name.encode()) <= NAME_BYTES_MAX or "\x00" in name:
        raise RestoreRefused(
            f"{name[:80]!r} cannot be a database's name",
            f"It has 1 to {NAME_BYTES_MAX} bytes",
        )
    return '"' + name.replace('"', '""') + '"'
