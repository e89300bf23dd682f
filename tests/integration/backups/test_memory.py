"""A gigabyte of dump goes through a process of less than 200 MB, on the way out and back."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pyrage
import pytest

from rei_core.maintenance.backups.listing import find_manifest
from rei_core.maintenance.backups.storage import StorageLocation, open_storage

from .conftest import real_tools

ROW_BYTES = 1024 * 1024
ROWS = 512
"""pg_dump writes bytes as hex digits: half a gigabyte becomes one."""
DUMP_BYTES = 2 * ROWS * ROW_BYTES
RSS_BYTES_MAX = 200 * 1000 * 1000


@pytest.mark.timeout(1800)
async def test_a_gigabyte_streams_in_bounded_memory(
    database_url: str, folder: Path, tmp_path: Path
) -> None:
    await _fill(database_url)
    owner = pyrage.x25519.Identity.generate()
    identity = tmp_path / "identity.txt"
    identity.write_text(str(owner))
    words = [
        "backup", "--to", str(folder), "--id", "large", "--encrypt-to", str(owner.to_public()),
        "--verify", "restore", "--identity", str(identity), "--postgres-bin", str(real_tools()),
    ]  # fmt: skip
    code, rss_bytes, said = await _rei(words, database_url)
    assert code == 0, said
    manifest = await find_manifest(open_storage(StorageLocation(str(folder))), "large")
    assert manifest is not None
    assert manifest.dump_bytes > DUMP_BYTES
    assert rss_bytes < RSS_BYTES_MAX, f"{rss_bytes / 1e6:.0f} MB"


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE pictures (id int PRIMARY KEY, data bytea NOT NULL)")
        await connection.execute("ALTER TABLE pictures ALTER data SET STORAGE EXTERNAL")
        for number in range(ROWS):
            await connection.execute(
                "INSERT INTO pictures VALUES ($1, $2)", number, os.urandom(ROW_BYTES)
            )
    finally:
        await connection.close()


# The kernel's own high-water mark of this process, which an exec begins anew; what `wait4` tells
# begins with the memory of whoever forked.
_REI = """
import atexit
from pathlib import Path
from rei_core.cli import main

def tell():
    [line] = [l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l]
    print("HIGH-WATER", line.split()[1])

atexit.register(tell)
main()
"""


async def _rei(words: list[str], database_url: str) -> tuple[int, int, str]:
    """Run `rei WORDS`; its exit code, the most memory it had in bytes, what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _REI, *words,
        env={**os.environ, "REI_DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    said, _, high_water = output.decode().rpartition("HIGH-WATER ")
    return process.returncode, int(high_water or 0) * 1024, said
