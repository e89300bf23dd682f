"""What a storage holds: whole backups, unfinished ones, and what was found out about them.

A backup is whole if it has a manifest. Deleting takes the manifest first, so a backup that is half
deleted is one without a manifest, and never looks whole; what is left of it is removed like any
unfinished one. Only objects that Rei's backups are made of are ever deleted: something else under
the same prefix is none of our business.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime

from rei_core.errors import ConfigurationError
from rei_core.maintenance.backups.errors import (
    BackupNotFound,
    BackupUnreadable,
    ObjectMissing,
    StorageError,
)
from rei_core.maintenance.backups.failpoints import reach
from rei_core.maintenance.backups.manifest import (
    MANIFEST,
    VERIFICATION,
    Manifest,
    Verification,
    is_id,
    manifest_sha256,
    path_in,
    read_manifest,
    read_verification,
    write_verification,
)
from rei_core.maintenance.backups.storage import Storage

BACKUPS_MAX = 10_000
READ_AT_ONCE = 8
OURS = re.compile(r"manifest\.json|verification\.json|[0-9a-f]{8}-[0-9]{6}\.chunk(?:#[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBackup:
    """A backup as it lies in the storage.

    `manifest` is None if it was never finished (or is half deleted), or if `problem` says that the
    manifest cannot be read. `touched_at` is when its newest object was written.
    """

    id: str
    manifest: Manifest | None
    verification: Verification | None
    problem: str
    touched_at: datetime | None

    @property
    def unfinished(self) -> bool:
        return self.manifest is None and not self.problem


async def list_backups(storage: Storage) -> list[StoredBackup]:
    """Everything that looks like a backup, oldest id first."""
    ids = [folder for folder in await storage.folders() if is_id(folder)]
    if len(ids) > BACKUPS_MAX:
        raise StorageError(
            where=storage.where,
            operation="list its backups",
            said=f"there are {len(ids)} of them, {BACKUPS_MAX} at most are expected",
            remedy="Let the retention delete, or use another prefix",
        )
    slots = asyncio.Semaphore(READ_AT_ONCE)

    async def read(backup_id: str) -> StoredBackup:
        async with slots:
            return await _stored(storage, backup_id)

    found = await asyncio.gather(*(read(backup_id) for backup_id in ids))
    # A folder with nothing in it is what a deletion left that died at its very end.
    return [one for one in found if not one.unfinished or one.touched_at is not None]


async def find_manifest(storage: Storage, backup_id: str) -> Manifest | None:
    """The manifest of a whole backup, None if there is none; raises `BackupUnreadable`."""
    data = await _manifest_data(storage, backup_id)
    return None if data is None else read_manifest(backup_id, data)


async def require_manifest(storage: Storage, backup_id: str) -> tuple[Manifest, str]:
    """The manifest of a backup that has to be whole, and the manifest's checksum."""
    data = await _manifest_data(storage, backup_id)
    if data is None:
        raise BackupNotFound(backup_id, storage.where)
    return read_manifest(backup_id, data), manifest_sha256(data)


async def find_verification(storage: Storage, backup_id: str, *, of: str) -> Verification | None:
    """What was found out about the manifest with the checksum `of`."""
    try:
        data = await storage.get(path_in(backup_id, VERIFICATION))
    except ObjectMissing:
        return None
    return read_verification(data, of=of)


async def keep_verification(storage: Storage, backup_id: str, verification: Verification) -> None:
    """Remember a verification beside the backup; the last one counts."""
    await storage.put(path_in(backup_id, VERIFICATION), write_verification(verification))


async def delete_backup(storage: Storage, backup_id: str) -> int:
    """Delete a backup, or what is left of one; how many objects that were."""
    _checked(backup_id)
    names = [
        name
        for found in await storage.objects(backup_id)
        if OURS.fullmatch(name := found.path.rpartition("/")[2])
    ]
    for name in sorted(names, key=lambda name: (name != MANIFEST, name)):
        await storage.delete(path_in(backup_id, name))
        reach("object-deleted")
    return len(names)


async def _stored(storage: Storage, backup_id: str) -> StoredBackup:
    manifest, verification, problem = None, None, ""
    data = await _manifest_data(storage, backup_id)
    if data is not None:
        try:
            manifest = read_manifest(backup_id, data)
        except BackupUnreadable as error:
            problem = str(error)
        verification = await find_verification(storage, backup_id, of=manifest_sha256(data))
    touched = None if manifest else await _touched_at(storage, backup_id)
    return StoredBackup(
        id=backup_id,
        manifest=manifest,
        verification=verification,
        problem=problem,
        touched_at=touched,
    )


async def _touched_at(storage: Storage, backup_id: str) -> datetime | None:
    objects = await storage.objects(backup_id)
    return max((found.modified_at for found in objects), default=None)


async def _manifest_data(storage: Storage, backup_id: str) -> bytes | None:
    _checked(backup_id)
    try:
        return await storage.get(path_in(backup_id, MANIFEST))
    except ObjectMissing:
        return None


def _checked(backup_id: str) -> None:
    if not is_id(backup_id):
        raise ConfigurationError(
            "the backup's id",
            f"{backup_id[:64]!r} can be none",
            "It has 1 to 100 of a-z, 0-9 and -; `rei backups list` shows them",
        )
