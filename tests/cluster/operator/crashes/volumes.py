"""Backups in a folder: old ones to begin with, and what is there in the end."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rei_core.maintenance.backups.dump import BackupOptions, back_up
from rei_core.maintenance.backups.listing import find_manifest, list_backups
from rei_core.maintenance.backups.manifest import MANIFEST, path_in, write_manifest
from rei_core.maintenance.backups.storage import Storage, StorageLocation, open_storage
from rei_core.maintenance.backups.verify import verify_checksums


def storage_in(folder: Path) -> Storage:
    return open_storage(StorageLocation(str(folder)))


async def take(folder: Path, backup_id: str, *, database_url: str) -> None:
    """Take a backup, and verify its checksums."""
    storage = storage_in(folder)
    await back_up(database_url=database_url, storage=storage, options=BackupOptions(id=backup_id))
    await verify_checksums(storage, backup_id)


async def add_older(folder: Path, backup_id: str, *, like: str, verified: bool) -> None:
    """A copy of the backup `like` that is as old as its id."""
    storage = storage_in(folder)
    copy = folder / backup_id
    await asyncio.to_thread(shutil.copytree, folder / like, copy)
    manifest = await find_manifest(storage, like)
    assert manifest is not None
    older = replace(manifest, id=backup_id, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    await storage.put(path_in(backup_id, MANIFEST), write_manifest(older))
    (copy / "verification.json").unlink()
    if verified:
        await verify_checksums(storage, backup_id)
    long_ago = (datetime.now(UTC) - timedelta(days=40)).timestamp()
    for path in copy.iterdir():
        os.utime(path, (long_ago, long_ago))


async def backups_in(storage: Storage) -> list[tuple[Any, ...]]:
    """Each backup: its id, is it whole, is it verified, was it restored for that."""
    return sorted(
        (
            one.id,
            one.manifest is not None,
            one.verification is not None and one.verification.verified,
            one.verification is not None and one.verification.restore_at is not None,
        )
        for one in await list_backups(storage)
    )
