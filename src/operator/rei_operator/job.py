"""What the operator's Jobs do: back up, restore, delete old backups. No API server is needed for it.

A backup and a retention are runs in PostgreSQL: what they found is in the run's `detail`, and a pod
that dies is taken over by the next. A restore in place replaces the very database that would hold
its run, so its success is the mark on the database; only a failure is written down as a run.

Exit codes: 0 done; 3 failed, and written down why: trying again is of no use; 1 anything else, and
Kubernetes tries again. What may pass by itself (a storage that is away, a tool that was cut off)
ends with 1 until the last of the Job's tries, whose error is the one that is written down. Asked to
end (a node is drained, the resource deleted) it ends in order, so that the next try need not wait
for anything of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from rei_core import logs
from rei_core.db import Connection, Pool, close_pool, create_pool
from rei_core.errors import ConfigurationError, ReiError
from rei_core.failpoints import VARIABLE
from rei_core.maintenance.backups import tools
from rei_core.maintenance.backups.dump import BackupOptions, OnProgress, back_up, silent
from rei_core.maintenance.backups.encryption import Identities, Recipients
from rei_core.maintenance.backups.errors import (
    BackupError,
    DatabaseUnreachable,
    RestoreBusy,
    StorageDenied,
    StorageError,
    ToolFailed,
)
from rei_core.maintenance.backups.failpoints import arm, reach
from rei_core.maintenance.backups.listing import (
    StoredBackup,
    find_verification,
    list_backups,
    require_manifest,
)
from rei_core.maintenance.backups.location import location_of
from rei_core.maintenance.backups.manifest import Manifest
from rei_core.maintenance.backups.restore import (
    Restored,
    RestoreOptions,
    restore_in_place,
    restore_into_new,
)
from rei_core.maintenance.backups.retention import RetentionPolicy, nowhere, prune
from rei_core.maintenance.backups.storage import Storage, open_storage
from rei_core.maintenance.backups.verify import (
    ScratchServer,
    verify_by_restoring,
    verify_checksums,
)
from rei_core.maintenance.model import Progress, RunResult
from rei_core.maintenance.resources import KINDS, Backup, BackupSchedule, Resource, Restore
from rei_core.maintenance.resources.storage import Storage as StorageSpec
from rei_core.maintenance.resources.storage import Verification
from rei_core.maintenance.runs import queries as runs
from rei_core.maintenance.runs.model import RunBusy, RunKey, RunStatus, TryAgain
from rei_core.maintenance.runs.service import Outcome, Work, carry_out, told
from rei_core.process import stop_on_signals
from rei_core.settings import CoreSettings, load
from rei_operator.kinds import backup as backup_kind
from rei_operator.kinds import restore as restore_kind
from rei_operator.kinds.backup_schedule import prune_key
from rei_operator.manifests import (
    BACKOFF_LIMIT,
    FAILED_FOR_GOOD,
    IDENTITY_VARIABLE,
    RESOURCE_VARIABLE,
)

log = structlog.get_logger(__name__)

DONE, AGAIN = 0, 1
TRIES_MAX = BACKOFF_LIMIT + 1
"""How many pods Kubernetes makes of a Job: the last one writes down what went wrong."""
STATEMENT_SECONDS_MAX = 300.0
DELETED_KEPT_MAX = 500
MAY_PASS = (DatabaseUnreachable, RestoreBusy, StorageError, ToolFailed)
"""Of what goes wrong these may pass by themselves: Kubernetes tries again. Credentials that are
refused (`StorageDenied`) are a StorageError too, and the one that a person has to mend."""


async def main(word: str, *, moment: datetime | None) -> int:
    """`run`, which SIGTERM cancels."""
    task = asyncio.current_task()
    assert task is not None
    stop_on_signals(task.cancel)
    return await run(word, moment=moment)


async def run(word: str, *, moment: datetime | None) -> int:
    """Do a Job's work; the exit code."""
    arm(os.environ.get(VARIABLE) or None)
    settings = load(CoreSettings)
    logs.configure(level=settings.log_level, log_format=settings.log_format, component="job")
    resource = resource_of(os.environ)
    url = settings.database_url.get_secret_value()
    pool = await create_pool(
        url, application="rei-job", size_max=3, command_timeout_seconds=STATEMENT_SECONDS_MAX
    )
    try:
        match word, resource:
            case "backup", Backup():
                return await _backup(pool, resource, url)
            case "restore", Restore():
                return await _restore(pool, resource, url)
            case "prune", BackupSchedule():
                assert moment is not None
                return await _prune(pool, resource, moment)
    finally:
        await close_pool(pool)
    raise ConfigurationError(
        RESOURCE_VARIABLE, f"no {word} for a {resource.kind}", "The operator sets it"
    )


def resource_of(environment: Mapping[str, str]) -> Resource:
    """The resource that the operator put into the Job's environment."""
    try:
        document = json.loads(environment[RESOURCE_VARIABLE])
        return KINDS[document["kind"]].of(document)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            RESOURCE_VARIABLE, f"is no resource ({type(error).__name__})", "The operator sets it"
        ) from None


def open_at(storage: StorageSpec) -> Storage:
    """The storage of a resource."""
    return open_storage(location_of(storage))


def backup_id_of(backup: Backup) -> str:
    """The backup's id: the same for every try at this object."""
    created = backup_kind.key_of(backup).scheduled_for.astimezone(UTC)
    who = f"{backup.metadata.namespace}/{backup.metadata.name}"
    digest = hashlib.sha256(who.encode()).hexdigest()[:8]
    return f"{created:%Y%m%dt%H%M%Sz}-{digest}"


def _identities() -> Identities | None:
    path = os.environ.get(IDENTITY_VARIABLE)
    return None if not path else Identities.of_file(Path(path))


async def _backup(pool: Pool, backup: Backup, url: str) -> int:
    async def take(connection: Connection, progress: Progress) -> Outcome:
        del connection, progress
        return await take_backup(backup, url, identities=_identities())

    return await _carry_out(pool, backup_kind.key_of(backup), take)


async def take_backup(
    backup: Backup,
    url: str,
    *,
    identities: Identities | None,
    tools_folder: Path | None = None,
    on_progress: OnProgress = silent,
) -> Outcome:
    """Take the backup and verify it; one that is there already is only verified."""
    storage = open_at(backup.spec.storage)
    encryption = backup.spec.encryption
    options = BackupOptions(
        id=backup_id_of(backup),
        recipients=None if encryption is None else Recipients(encryption.recipients),
        tools_folder=tools_folder,
    )
    manifest = await back_up(
        database_url=url, storage=storage, options=options, on_progress=on_progress
    )
    verification = backup.spec.verification
    if verification is Verification.CHECKSUM:
        await verify_checksums(storage, manifest.id, on_progress=on_progress)
    elif verification is Verification.RESTORE:
        server = ScratchServer(database_url=url, identities=identities, tools_folder=tools_folder)
        await verify_by_restoring(storage, manifest.id, server=server, on_progress=on_progress)
    detail = await _described(storage, manifest, verification)
    return Outcome(RunResult(examined=1, changed=1), detail)


async def _described(
    storage: Storage, manifest: Manifest, verification: Verification
) -> dict[str, Any]:
    _, sha256 = await require_manifest(storage, manifest.id)
    found = await find_verification(storage, manifest.id, of=sha256)
    at = None if found is None else found.restore_at or found.checksum_at
    verified = verification is not Verification.NONE and found is not None and found.verified
    return {
        "backup_id": manifest.id,
        "size_bytes": manifest.stored_bytes,
        "checksum": manifest.dump_sha256,
        "schema_revision": manifest.database.schema_revision,
        "transfers": manifest.database.transfers_count,
        "verified": verification.value if verified else None,
        "verified_time": at.isoformat() if verified and at is not None else None,
    }


async def _prune(pool: Pool, schedule: BackupSchedule, moment: datetime) -> int:
    async def remove(connection: Connection, progress: Progress) -> Outcome:
        async def intend(backup_ids: tuple[str, ...]) -> None:
            await progress.remember(connection, {"deleted": list(backup_ids[:DELETED_KEPT_MAX])})

        return await prune_backups(
            schedule, begun=tuple(progress.detail.get("deleted", ())), intend=intend
        )

    return await _carry_out(pool, prune_key(schedule, moment), remove)


def policy_of(schedule: BackupSchedule) -> RetentionPolicy:
    """The schedule's retention."""
    retention = schedule.spec.retention
    return RetentionPolicy(
        max_age=timedelta(days=retention.max_age_days), verified_min=retention.min_verified
    )


async def prune_backups(
    schedule: BackupSchedule,
    *,
    begun: Collection[str] = (),
    intend: Callable[[tuple[str, ...]], Awaitable[None]] = nowhere,
) -> Outcome:
    """Delete the backups that the schedule's retention lets go, and count the verified ones.

    `begun` and `intend` are for a run that may be cut off: see `prune`.
    """
    storage = open_at(schedule.spec.storage)
    pruned = await prune(storage, policy_of(schedule), begun=begun, intend=intend)
    left = await list_backups(storage)
    verified = [one for one in left if one.verification is not None and one.verification.verified]
    result = RunResult(examined=pruned.examined, changed=len(pruned.deleted))
    for backup_id in pruned.kept_unreadable:
        result = result.noting(f"the manifest of {backup_id} cannot be read; it was kept")
    return Outcome(
        result,
        {
            "deleted": list(pruned.deleted[:DELETED_KEPT_MAX]),
            "verified_backups": len(verified),
            "last_verified_time": _newest(verified),
        },
    )


def _newest(verified: list[StoredBackup]) -> str | None:
    times = [one.manifest.created_at for one in verified if one.manifest is not None]
    return max(times).isoformat() if times else None


def may_pass(error: ReiError) -> bool:
    """Whether the same may go well later with nobody doing anything."""
    return isinstance(error, MAY_PASS) and not isinstance(error, StorageDenied)


def _passing(work: Work) -> Work:
    """The same work, whose errors that may pass leave its run open."""

    async def tried(connection: Connection, progress: Progress) -> Outcome:
        try:
            return await work(connection, progress)
        except ReiError as error:
            if may_pass(error):
                raise TryAgain(error) from error
            raise

    return tried


async def _carry_out(pool: Pool, key: RunKey, work: Work) -> int:
    async def begun(connection: Connection, progress: Progress) -> Outcome:
        reach("run-begun")
        return await work(connection, progress)

    try:
        run_ = await carry_out(
            pool, key, owner=_owner(), work=_passing(begun), attempts_max=TRIES_MAX
        )
    except RunBusy as error:  # the pod before this one may still be dying
        log.warning("job.busy", error=str(error))
        return AGAIN
    except TryAgain:
        return AGAIN
    reach("run-ended")
    return DONE if run_.status is RunStatus.SUCCEEDED else FAILED_FOR_GOOD


async def _restore(pool: Pool, restore: Restore, url: str) -> int:
    try:
        await restore_backup(restore, url, identities=_identities())
    except ReiError as error:
        if may_pass(error):
            log.warning("restore.tried", error=told(error))
            return AGAIN
        log.error("restore.failed", error=told(error))  # noqa: TRY400 - the sentence says it all
        await write_failure(pool, restore_kind.key_of(restore), error)
        return FAILED_FOR_GOOD
    return DONE


async def restore_backup(
    restore: Restore,
    url: str,
    *,
    identities: Identities | None,
    tools_folder: Path | None = None,
    on_progress: OnProgress = silent,
) -> Restored:
    """Restore as the resource says; raises `BackupError`."""
    stored = restore.spec.stored
    assert stored is not None, "the operator resolves backupRef"
    storage = open_at(stored.storage)
    options = RestoreOptions(
        identities=identities,
        tools_folder=tools_folder,
        operation_id=restore_kind.operation_of(restore),
    )
    in_place = restore.spec.in_place
    if in_place is None:
        assert restore.spec.target_database is not None
        target = tools.named(url, restore.spec.target_database)
        return await restore_into_new(
            storage, stored.id, database_url=target, options=options, on_progress=on_progress
        )
    recipients = None if in_place.recipients is None else Recipients(in_place.recipients)
    return await restore_in_place(
        storage,
        stored.id,
        database_url=url,
        confirmed_name=in_place.confirm_database,
        options=options,
        safety_recipients=recipients,
        on_progress=on_progress,
    )


async def write_failure(pool: Pool, key: RunKey, error: BackupError | ReiError) -> None:
    """Write down why a restore failed, where the operator looks for it."""
    async with pool.acquire() as connection, runs.only_one(connection, key):
        run_ = await runs.begin(connection, key, owner=_owner(), lease_seconds=60)
        if run_ is not None:
            await runs.finish(connection, run_, result=run_.result, detail={}, error=told(error))


def _owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"
