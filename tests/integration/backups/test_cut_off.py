"""What a run that died leaves, and the next one has to understand."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rei_core.maintenance.backups import databases
from rei_core.maintenance.backups.errors import RestoreBusy, RestoreRefused
from rei_core.maintenance.backups.listing import list_backups
from rei_core.maintenance.backups.manifest import MANIFEST
from rei_core.maintenance.backups.retention import RetentionPolicy, prune
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.tools import find_tools, named
from rei_core.maintenance.backups.verify import ScratchServer, maintenance, verify_by_restoring

from .conftest import BackUp, databases_like, execute


async def test_a_scratch_database_whose_maker_died_before_it_marked_it_is_used_anew(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    name = databases.scratch_name(databases.VERIFY_PREFIX, manifest.id)
    await execute(named(database_url, "postgres"), f"CREATE DATABASE {name}")
    await verify_by_restoring(storage, manifest.id, server=ScratchServer(database_url=database_url))
    assert await databases_like(database_url, name) == []


async def test_a_database_of_that_name_with_something_in_it_is_left_alone(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    name = databases.scratch_name(databases.VERIFY_PREFIX, manifest.id)
    maintained = named(database_url, "postgres")
    await execute(maintained, f"CREATE DATABASE {name}")
    try:
        await execute(named(database_url, name), "CREATE TABLE of_a_person ()")
        with pytest.raises(RestoreRefused, match="does not say it is a scratch one"):
            await verify_by_restoring(
                storage, manifest.id, server=ScratchServer(database_url=database_url)
            )
        assert await databases_like(database_url, name) == [name]
    finally:
        await execute(maintained, f"DROP DATABASE {name}")


async def test_a_run_that_still_holds_the_database_is_waited_for(database_url: str) -> None:
    async with (
        maintenance(database_url, "postgres") as first,
        maintenance(database_url, "postgres") as second,
        databases.sole_user_of(first, "rei_held"),
    ):
        with pytest.raises(RestoreBusy, match="another run is at work"):
            async with databases.sole_user_of(second, "rei_held"):
                pass


async def test_a_retention_that_was_cut_off_tells_of_all_that_it_deleted(
    take: BackUp, storage: Storage, folder: Path
) -> None:
    kept, gone, half, untouched = [(await take()).id for _ in range(4)]
    policy = RetentionPolicy(max_age=timedelta(days=1), verified_min=1)
    # Cut off: of the three that it meant to delete, one is gone, but for its folder, and one has
    # lost its manifest.
    for path in (folder / gone).iterdir():
        path.unlink()
    (folder / half / MANIFEST).unlink()
    intended: list[tuple[str, ...]] = []

    async def intend(backup_ids: tuple[str, ...]) -> None:
        intended.append(backup_ids)
        assert {one.id for one in await list_backups(storage)} == {kept, half, untouched}

    now = datetime.now(UTC)
    pruned = await prune(storage, policy, now=now, begun=(gone, half, untouched), intend=intend)

    # What is whole and may stay by now stays, whatever was meant before.
    assert sorted(pruned.deleted) == sorted((gone, half))
    assert intended == [pruned.deleted]
    assert pruned.examined == 4
    assert {one.id for one in await list_backups(storage)} == {kept, untouched}


async def test_a_tool_is_ended_in_whichever_moment_of_its_start_we_are(tmp_path: Path) -> None:
    """asyncio, cancelled while it connects the pipes, kills the script and waits for its pipes to be
    closed, which the script's own child never does."""
    script = tmp_path / "pg_dump"
    script.write_text("#!/bin/sh\nsleep 600 &\nwait\n")
    script.chmod(0o755)
    for turns in range(12):
        finding = asyncio.create_task(find_tools(server_version=15, folder=tmp_path))
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(0.05)  # noqa: ASYNC251 - a busy machine: the child is there, and no turn passes
        finding.cancel()
        _, late = await asyncio.wait({finding}, timeout=15)
        assert not late, f"cancelled after {turns} turns of the loop"
        assert finding.cancelled()
