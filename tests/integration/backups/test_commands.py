"""`rei backup`, `rei restore`, `rei backups`: as a person and a cluster's Job have them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pyrage
import pytest

from rei_core.maintenance.backups.listing import list_backups
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.tools import database_of

from .conftest import (
    NEVER_ENDS,
    WAIT_SECONDS_MAX,
    BackUp,
    Tools,
    databases_like,
    everything_in,
    until,
)
from .customers import Customers

RUN_SECONDS_MAX = 120
PASSWORD = "geheim-0815"


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    errors: str


async def start(*words: str, database_url: str, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rei_core", *words,
        env={**os.environ, "REI_DATABASE_URL": database_url, "COLUMNS": "200", **more},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def rei(*words: str, database_url: str, **more: str) -> Ended:
    """Run `rei WORDS` with a password in the database's address, which nothing may repeat."""
    url = database_url.replace("postgres@", f"postgres:{PASSWORD}@")
    process = await start(*words, database_url=url, **more)
    try:
        async with asyncio.timeout(RUN_SECONDS_MAX):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    ended = Ended(process.returncode, output.decode(), errors.decode())
    assert "Traceback" not in ended.errors, ended.errors
    assert PASSWORD not in ended.output + ended.errors
    return ended


async def test_there_and_back_encrypted(
    customers: Customers, folder: Path, tmp_path: Path, database_url: str, new_database_url: str
) -> None:
    del customers
    owner = pyrage.x25519.Identity.generate()
    identity = tmp_path / "identity.txt"
    identity.write_text(f"# public key: {owner.to_public()}\n{owner}\n")
    place = {"REI_BACKUP_URL": str(folder), "REI_BACKUP_IDENTITY_FILE": str(identity)}

    taken = await rei(
        "backup", "--encrypt-to", str(owner.to_public()), "--verify", "restore",
        database_url=database_url, **place,
    )  # fmt: skip
    assert taken.code == 0, taken.errors
    backup_id = taken.output.strip()
    assert "Restored on trial" in taken.errors

    listed = await rei("backups", "list", database_url=database_url, **place)
    assert backup_id in listed.output
    assert "restored and audited" in listed.output

    into = database_of(new_database_url)
    restored = await rei("restore", backup_id, "--into", into, database_url=database_url, **place)
    assert restored.code == 0, restored.errors
    assert "consistent" in restored.output
    assert await everything_in(new_database_url) == await everything_in(database_url)

    again = await rei("restore", backup_id, "--into", into, database_url=database_url, **place)
    assert again.code == 1
    assert "is not empty" in again.errors


async def test_a_damaged_backup_ends_with_1_and_is_listed_so(
    take: BackUp, folder: Path, database_url: str
) -> None:
    manifest = await take()
    (folder / manifest.id / manifest.chunks[0].name).unlink()
    ended = await rei(
        "backups", "verify", manifest.id, "--from", str(folder), database_url=database_url
    )
    assert ended.code == 1
    assert "is missing" in ended.errors
    listed = await rei("backups", "list", "--from", str(folder), database_url=database_url)
    assert "DAMAGED" in listed.output


async def test_prune_keeps_the_verified_ones(take: BackUp, folder: Path, database_url: str) -> None:
    manifest = await take()
    pruned = await rei(
        "backups", "prune", "--from", str(folder), "--max-age-days", "1", database_url=database_url
    )
    assert pruned.output == "0 of 1 backups deleted.\n"
    assert (folder / manifest.id / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("backup", "--to", "ftp://host/x"), "no storage is called 'ftp'"),
        (("backup", "--to", "/nowhere/at/all"), "mount the volume"),
        (("backup", "--to", "/tmp", "--encrypt-to", "age1nonsense"), "no age public key"),
        (("backup", "--to", "/tmp", "--id", "../up"), "can be none"),
        (("backup",), "REI_BACKUP_URL"),
        (("restore", "x", "--from", "/tmp"), "either --into or --in-place"),
        (("restore", "x", "--from", "/tmp", "--into", "new"), "no finished backup 'x'"),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(
    words: tuple[str, ...], told: str, database_url: str
) -> None:
    ended = await rei(*words, database_url=database_url)
    assert ended.code in {1, 2}
    assert told in ended.errors


async def test_asked_to_end_it_cleans_up_first(
    customers: Customers, folder: Path, storage: Storage, tools: Tools, database_url: str
) -> None:
    del customers
    process = await start(
        "backup", "--to", str(folder), "--postgres-bin", str(tools(NEVER_ENDS)),
        database_url=database_url,
    )  # fmt: skip
    try:
        await until(lambda: _dumping(database_url))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 143
    assert b"Ended before it was done" in errors
    assert b"Traceback" not in errors, errors.decode()
    assert await list_backups(storage) == []
    assert await databases_like(database_url, "rei\\_verify\\_%") == []


async def _dumping(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rei backup'"
            )
        )
    finally:
        await connection.close()
