"""What a kubelet and the Job controller do with a Job: its container is run, and run again if it
dies, until it has ended well or for good.

No node is here to do it. The back-off between two tries is shorter than the real ten seconds, and
the minute for which the lease of a dead run stands is over as soon as its sessions are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from rei_core.db import CUT_OFF
from rei_core.failpoints import VARIABLE
from rei_core.maintenance.backups.tools import database_of, named
from rei_operator.manifests import BACKOFF_LIMIT, FAILED_FOR_GOOD

from .processes import Nursery, Process

BACKOFF_SECONDS = 0.1
WAIT_SECONDS_MAX = 60.0
Json = dict[str, Any]

SESSIONS = """
SELECT count(*)
FROM pg_stat_activity
WHERE datname = $1 AND application_name = ANY (ARRAY['rei-job', 'rei-operator', 'rei backup', 'rei restore'])
"""
# The locks of runs are in their database, those on databases in the maintenance database.
LOCKS = """
SELECT count(*)
FROM pg_locks AS l
JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid::bigint << 32 | l.objid::bigint = ANY (
    SELECT hashtextextended('rei database ' || name, 0) FROM unnest($1::text[]) AS name
)
"""
A_MINUTE_LATER = """
UPDATE maintenance_runs SET lease_until = now() - interval '1 s' WHERE status = 'running'
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a Job went: `first` is the code of its first try."""

    first: int
    last: int
    tries: int
    log: Path


def environment_of(manifest: Json, *, database_url: str) -> dict[str, str]:
    """What the container gets to see; the settings come from a Secret."""
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    return {
        "PATH": os.environ["PATH"],
        "REI_DATABASE_URL": database_url,
        "REI_LOG_FORMAT": "json",
        **given,
    }


async def begin(
    processes: Nursery, manifest: Json, *, database_url: str, log: Path, fatal: str | None = None
) -> Process:
    """Begin the Job's container once."""
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    environment = environment_of(manifest, database_url=database_url)
    if fatal is not None:
        environment[VARIABLE] = fatal
    return await processes.begin(container["args"][1:], environment=environment, log=log)


async def carry_out(
    processes: Nursery,
    manifest: Json,
    *,
    database_url: str,
    log: Path,
    fatal: str | None = None,
    scratch: tuple[str, ...] = (),
    dead: Callable[[], Awaitable[None]] | None = None,
    kill: Callable[[Process], Awaitable[None]] | None = None,
) -> Ended:
    """Carry a Job out as its manifest says. The first try dies at `fatal`, or `kill` kills it;
    `dead` looks at what it left. `scratch` are the databases that it makes on its way."""
    codes: list[int] = []
    while True:
        first = not codes
        process = await begin(
            processes, manifest, database_url=database_url, log=log, fatal=fatal if first else None
        )
        if first and kill is not None:
            await kill(process)
        codes.append(await process.wait())
        if first and codes[0] != 0 and dead is not None:
            await dead()
        if codes[-1] in (0, FAILED_FOR_GOOD) or len(codes) > BACKOFF_LIMIT:
            return Ended(codes[0], codes[-1], len(codes), log)
        await nobody_left(database_url, scratch)
        await asyncio.sleep(BACKOFF_SECONDS)


async def nobody_left(database_url: str, scratch: tuple[str, ...] = ()) -> None:
    """Wait until the server has noticed that the process is dead; then a minute goes by."""
    name = database_of(database_url)
    connection = await asyncpg.connect(named(database_url, "postgres"))
    try:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while True:
                sessions = await connection.fetchval(SESSIONS, name)
                locks = await connection.fetchval(LOCKS, [name, *scratch])
                if not sessions and not locks:
                    break
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
    await a_minute_goes_by(database_url)


async def a_minute_goes_by(database_url: str) -> None:
    """A restore in place may cut this off, as it does with everybody."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            with contextlib.suppress(*CUT_OFF, asyncpg.PostgresError):
                connection = await asyncpg.connect(database_url)
                try:
                    await connection.execute(A_MINUTE_LATER)
                finally:
                    connection.terminate()
                return
            await asyncio.sleep(0.05)
