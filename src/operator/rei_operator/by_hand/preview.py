"""`rei run --dry-run`: what a document would do. Reads; what it has to try, it rolls back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from rei_core.commands.progress import size
from rei_core.db import Connection
from rei_core.maintenance.adjustments.service import adjust
from rei_core.maintenance.backups import databases, loading, snapshot, tools
from rei_core.maintenance.backups.errors import RestoreRefused
from rei_core.maintenance.backups.listing import list_backups, require_manifest
from rei_core.maintenance.backups.retention import doomed
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.verify import maintenance
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.model import RunResult, Unrecorded
from rei_core.maintenance.reconciliation.preview import preview as preview_reconciliation
from rei_core.maintenance.resources import (
    Backup,
    BackupSchedule,
    BalanceAdjustment,
    JobRetentionPolicy,
    LedgerAudit,
    PaymentReconciliation,
    Resource,
    Restore,
    StuckJobPolicy,
    UserBan,
)
from rei_core.maintenance.resources.storage import Encryption, Verification
from rei_core.money import format_rubles
from rei_operator import job
from rei_operator.by_hand.model import Ended, State
from rei_operator.by_hand.work import Means, banned, judged, naming
from rei_operator.kinds.restore import operation_of

DATABASE_BYTES = "SELECT pg_database_size(current_database())"


async def preview(means: Means, resource: Resource) -> Ended:
    """What `carry_out` would do; failures that are certain already are told as such."""
    return await naming(_look(means, resource))


async def preview_lift(means: Means, ban: UserBan) -> Ended:
    """What `lift` would do."""
    source = bans.source_of(
        namespace=ban.metadata.namespace, name=ban.metadata.name, by_hand=True
    )  # fmt: skip
    async with means.pool.acquire() as connection:
        user_id = await bans.banned_by(connection, source)
    if user_id is None:
        return Ended(State.UNCHANGED, RunResult(examined=1), ("it has banned nobody",))
    text = f"user {user_id} would not be banned by this any more"
    return Ended(State.PREVIEWED, RunResult(examined=1, changed=1), (text,))


async def _look(means: Means, resource: Resource) -> Ended:  # noqa: PLR0911 - one for each kind
    match resource:
        case BalanceAdjustment():
            return await _adjustment(means, resource)
        case UserBan():
            return await _ban(means, resource)
        case Backup(spec=spec):
            return await _backup(
                means, job.open_at(spec.storage), spec.encryption, spec.verification
            )
        case BackupSchedule():
            return await _schedule(means, resource)
        case Restore():
            return await _restore(means, resource)
        case PaymentReconciliation(spec=asked):
            procedures = means.procedures
            return _previewed(
                await preview_reconciliation(procedures.pool, procedures.provider, asked)
            )
        case LedgerAudit():
            return await _audit(means, resource)
        case _:
            return await _counted(means, resource)


def _previewed(result: RunResult, *lines: str) -> Ended:
    state = State.FAILED if result.failed else State.PREVIEWED
    return Ended(state, result, lines)


async def _counted(means: Means, resource: Resource) -> Ended:
    assert isinstance(resource, StuckJobPolicy | JobRetentionPolicy)
    spec = resource.spec.model_copy(update={"dry_run": True})
    work = means.procedures.work_of(resource.model_copy(update={"spec": spec}))
    assert work is not None
    async with means.pool.acquire() as connection:
        return _previewed((await work(connection, Unrecorded())).result)


async def _audit(means: Means, resource: LedgerAudit) -> Ended:
    """An audit changes nothing, so it is made; only its run is not written down."""
    work = means.procedures.work_of(resource)
    assert work is not None
    async with means.pool.acquire() as connection:
        outcome = await work(connection, Unrecorded())
    return judged(outcome.result, outcome.detail)


async def _adjustment(means: Means, adjustment: BalanceAdjustment) -> Ended:
    spec = adjustment.spec
    async with means.pool.acquire() as connection:
        adjusted = await adjust(connection, spec, actor=means.actor, dry_run=True)
    balance = format_rubles(adjusted.balance_after_kopecks)
    if adjusted.repeated:
        text = f"operation {spec.operation_id} was made before: nothing would move"
        return Ended(State.UNCHANGED, RunResult(examined=1), (text,))
    moved = format_rubles(spec.amount_kopecks)
    return _previewed(
        adjusted.result, f"{moved} would move, user {spec.user_id} would have {balance}"
    )


async def _ban(means: Means, ban: UserBan) -> Ended:
    async with means.pool.acquire() as connection:
        in_force = await bans.put(
            connection,
            ban.spec,
            namespace=ban.metadata.namespace,
            name=ban.metadata.name,
            actor=means.actor,
            by_hand=True,
            dry_run=True,
        )
    return banned(ban, in_force=in_force, state=State.PREVIEWED)


async def _backup(
    means: Means, storage: Storage, encryption: Encryption | None, verification: Verification
) -> Ended:
    there = await storage.folders()  # asks the storage: is it there, does it let us in
    server = tools.server_of(means.url)
    connection = await snapshot.connect(means.url, server, application="rei run")
    try:
        with snapshot.naming_errors(server):
            await snapshot.require_ledger(connection)
            size_bytes: int = await connection.fetchval(DATABASE_BYTES)
            version = connection.get_server_version().major
    finally:
        connection.terminate()
    found = await tools.find_tools(server_version=version, folder=means.tools_folder)
    how = f"encrypted for {len(encryption.recipients)} keys" if encryption else "not encrypted"
    return _previewed(
        RunResult(examined=1, changed=1),
        f"{tools.database_of(means.url)} ({size(size_bytes)}) would be backed up to {storage.where}, "
        f"{how}, verified: {verification.value}",
        f"{len(there)} backups lie there; pg_dump {found.version} would be used",
    )


async def _schedule(means: Means, schedule: BackupSchedule) -> Ended:
    spec = schedule.spec
    storage = job.open_at(spec.storage)
    backup = await _backup(means, storage, spec.encryption, spec.verification)
    there = await list_backups(storage)
    policy = job.policy_of(schedule)
    gone = await asyncio.to_thread(doomed, there, now=datetime.now(UTC), policy=policy)
    result = backup.result.plus(examined=len(there), changed=len(gone))
    lines = [*backup.lines, f"{len(gone)} of those that lie there now would be deleted"]
    return Ended(State.PREVIEWED, result, (*lines, *(f"would delete {one}" for one in gone)))


async def _restore(means: Means, restore: Restore) -> Ended:
    stored, in_place = restore.spec.stored, restore.spec.in_place
    assert stored is not None
    storage = job.open_at(stored.storage)
    manifest, _ = await require_manifest(storage, stored.id)
    source = loading.Source(
        storage=storage,
        manifest=manifest,
        identities=means.identities,
        tools_folder=means.tools_folder,
        on_progress=lambda progress: means.line.tell_dump("read", progress),
    )
    await loading.try_to_open(source)
    name = in_place.confirm_database if in_place else restore.spec.target_database
    assert name is not None
    live = tools.database_of(means.url)
    if in_place is not None and name != live:
        raise RestoreRefused(
            f"the database is called {live!r}, not {name!r}",
            "To restore in place, repeat the database's name",
        )
    async with maintenance(means.url, databases.MAINTENANCE_DATABASE) as connection:
        mark = await databases.mark_of(connection, name)
        if mark is not None and mark.operation == operation_of(restore):
            if mark.state == "done":
                text = f"this restore is done: {name} holds it"
                return Ended(State.UNCHANGED, RunResult(examined=1), (text,))
            if mark.state == "swapped":
                text = f"{name} holds it; the top-ups begun since would be carried over"
                return _previewed(RunResult(examined=1, changed=1), text)
        if in_place is None:
            await _require_room(connection, means.url, name)
    where = (
        f"in the place of {name}, which would be backed up first and kept under another name; the "
        "bot and the workers must have been stopped"
        if in_place
        else f"into the new database {name}"
    )
    return _previewed(
        RunResult(examined=1, changed=1),
        f"backup {manifest.id} of {manifest.created_at:%Y-%m-%d %H:%M:%S %Z} "
        f"({size(manifest.stored_bytes)}, {manifest.database.transfers_count} transfers) would be "
        f"restored {where}",
    )


async def _require_room(connection: Connection, url: str, name: str) -> None:
    """A database to restore into is new or empty."""
    if not await databases.exists(connection, name):
        return
    if not await snapshot.is_empty(tools.named(url, name)):
        raise RestoreRefused(f"the database {name} is not empty", "Name a new one")
