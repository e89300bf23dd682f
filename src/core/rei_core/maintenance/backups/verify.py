"""Is a backup good? Said after reading all of it, or after really restoring it.

What is found out is kept beside the backup, the bad as well as the good; the retention goes by it.
A verification that could not be made (the storage is away, the identity is wrong, there is no
pg_restore) says nothing about the backup, and changes nothing about what is known.

The scratch database `rei_verify_<id>` is dropped whatever happens; if this process is killed, the
next verification on the server finds and drops it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from rei_core.db import Connection
from rei_core.maintenance.backups import chunks, databases, loading, snapshot, tools
from rei_core.maintenance.backups.dump import OnProgress, Progress, silent
from rei_core.maintenance.backups.encryption import Identities
from rei_core.maintenance.backups.errors import BackupDamaged, ObjectMissing, RestoreMismatch
from rei_core.maintenance.backups.failpoints import reach
from rei_core.maintenance.backups.listing import (
    find_verification,
    keep_verification,
    require_manifest,
)
from rei_core.maintenance.backups.manifest import (
    Manifest,
    Verification,
    VerificationMode,
    path_in,
)
from rei_core.maintenance.backups.storage import Storage

logger = structlog.get_logger(__name__)

PROBLEMS_KEPT_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchServer:
    """Where a backup may be restored on trial, by a user who has CREATEDB."""

    database_url: str
    """Any database of the server."""
    maintenance_database: str = databases.MAINTENANCE_DATABASE
    identities: Identities | None = None
    tools_folder: Path | None = None


async def verify_checksums(
    storage: Storage, backup_id: str, *, on_progress: OnProgress = silent
) -> Manifest:
    """Read every chunk again; raises `BackupDamaged` with all that is wrong.

    Needs no identity: the checksums are of the bytes as they are stored.
    """
    manifest, sha256 = await require_manifest(storage, backup_id)
    problems: list[str] = []
    done_bytes, read_bytes = 0, 0
    for chunk in manifest.chunks:
        try:
            problem = chunks.damage(chunk, await storage.get(path_in(backup_id, chunk.name)))
        except ObjectMissing:
            problem = f"{chunk.name} is missing"
        if problem is not None:
            problems.append(problem)
        done_bytes += chunk.dump_bytes
        read_bytes += chunk.stored_bytes
        on_progress(
            Progress(
                dump_bytes=done_bytes,
                stored_bytes=read_bytes,
                expected_bytes=manifest.dump_bytes,
            )
        )
    await _keep(storage, backup_id, sha256, VerificationMode.CHECKSUM, tuple(problems))
    if problems:
        raise BackupDamaged(backup_id, tuple(problems))
    return manifest


async def verify_by_restoring(
    storage: Storage,
    backup_id: str,
    *,
    server: ScratchServer,
    on_progress: OnProgress = silent,
) -> Manifest:
    """Restore into a scratch database, compare it with the manifest, audit its ledger.

    Raises `BackupDamaged`, `RestoreMismatch`, or, where nothing is known, another `BackupError`.
    """
    manifest, sha256 = await require_manifest(storage, backup_id)
    source = loading.Source(
        storage=storage,
        manifest=manifest,
        identities=server.identities,
        tools_folder=server.tools_folder,
        on_progress=on_progress,
    )
    try:
        problems = await _restored_on_trial(source, server)
    except BackupDamaged as error:
        await _keep(storage, backup_id, sha256, VerificationMode.RESTORE, error.problems)
        raise
    await _keep(storage, backup_id, sha256, VerificationMode.RESTORE, problems)
    if problems:
        raise RestoreMismatch(
            backup_id,
            problems,
            "Run `rei audit` on the live database: it may be as wrong there. Keep older backups",
        )
    return manifest


async def _restored_on_trial(source: loading.Source, server: ScratchServer) -> tuple[str, ...]:
    """What is wrong with the restored database."""
    name = databases.scratch_name(databases.VERIFY_PREFIX, source.manifest.id)
    url = tools.named(server.database_url, name)
    async with maintenance(server.database_url, server.maintenance_database) as connection:
        await databases.drop_leftovers(connection)
        async with databases.scratch(connection, name, database_url=url):
            await loading.load(source, database_url=url, keep_privileges=False)
            return (await loading.examine(source.manifest, database_url=url)).problems


@asynccontextmanager
async def maintenance(database_url: str, database: str) -> AsyncIterator[Connection]:
    """A connection to the server's maintenance database, from where others are made and renamed."""
    url = tools.named(database_url, database)
    server = tools.server_of(url)
    connection = await snapshot.connect(url, server, application="rei restore")
    try:
        with snapshot.naming_errors(server):
            yield connection
    finally:
        connection.terminate()


async def _keep(
    storage: Storage,
    backup_id: str,
    manifest_sha256: str,
    mode: VerificationMode,
    problems: tuple[str, ...],
) -> None:
    now = datetime.now(UTC)
    if problems:
        found = Verification(
            manifest_sha256=manifest_sha256, failed_at=now, problems=problems[:PROBLEMS_KEPT_MAX]
        )
        logger.error("backup.unfit", backup_id=backup_id, problems=problems[:PROBLEMS_KEPT_MAX])
    else:
        found = _passed(
            await find_verification(storage, backup_id, of=manifest_sha256)
            or Verification(manifest_sha256=manifest_sha256),
            mode,
            now,
        )
        logger.info("backup.verified", backup_id=backup_id, mode=mode.value)
    await keep_verification(storage, backup_id, found)
    reach("verification-stored")


def _passed(known: Verification, mode: VerificationMode, now: datetime) -> Verification:
    """What is known after a verification that passed. One that passes after one that failed tells
    only about itself."""
    if known.failed_at is not None:
        known = Verification(manifest_sha256=known.manifest_sha256)
    if mode is VerificationMode.CHECKSUM:
        return replace(known, checksum_at=now)
    return replace(known, checksum_at=now, restore_at=now)  # restoring compares every chunk
