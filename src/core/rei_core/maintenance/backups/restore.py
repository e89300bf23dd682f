"""Restoring a backup: into a new database, or in place of the one that the bot works on.

**New database.** It must not exist, or be empty. pg_restore works in one transaction, so ended
anywhere before its end there is an empty database, into which the restore may be tried again.

**In place** needs the database's name repeated. Nothing is destroyed: the backup is restored into
a database beside it and examined there, and only if that is what the manifest says, and its ledger
adds up, the two change names in one transaction. The old one stays, as `<name>_before_<time>`, until
somebody drops it. Order, and what is true if the process dies right after:

1. the identity and the first chunk are tried              nothing has changed
2. `quiesce`: the caller stops the workers and the bot     they are stopped: `resume`, or try again
3. the live database is locked against writers and
   backed up, to the same storage                          one backup more; the locks fall by themselves
4. restore beside, examination, audit                      a scratch database more; the next run drops it
5. the swap, in one transaction, which marks the database  restored; 6 to 8 are left, and a repeat
                                                           under the same operation does just these
6. top-ups begun since the backup are carried over, and
   the mark says so                                        the same for 7 and 8
7. `reconcile`: what YooKassa knows of them is settled     it recurs anyway (PaymentReconciliation)
8. `resume`                                                done

Whoever restores next finds a 6 that is left and does it first; `finish_in_place` does nothing else.

**What a backup cannot know.** Payments and refunds since then are at the provider: reconciliation
credits the payments (the rows of those that were begun since are carried over from the database
that is put aside), and debits the refunds. Jobs that were done since then are made and delivered
once more, at the house's cost: each is charged once in the restored ledger. Adjustments by
resources are made again by the operator. The kept old database holds all of it, and nobody writes
to it any more.

Not restored are settings and grants of the database itself (`ALTER DATABASE … SET`, `GRANT … ON
DATABASE`): they stay with the old one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from rei_core.db import Connection
from rei_core.ledger.audit import AuditReport
from rei_core.maintenance.backups import databases, loading, snapshot, tools
from rei_core.maintenance.backups.carry_over import carry_numbering, carry_payments
from rei_core.maintenance.backups.dump import BackupOptions, OnProgress, back_up, silent
from rei_core.maintenance.backups.encryption import Identities, Recipients
from rei_core.maintenance.backups.errors import (
    DatabaseUnfit,
    PaymentsLeftBehind,
    RestoreMismatch,
    RestoreRefused,
    told,
)
from rei_core.maintenance.backups.failpoints import reach
from rei_core.maintenance.backups.fence import Fence, no_writers
from rei_core.maintenance.backups.listing import require_manifest
from rei_core.maintenance.backups.manifest import Manifest, new_id, new_run
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.verify import maintenance

logger = structlog.get_logger(__name__)


async def _nothing() -> None:
    """For a caller who has nothing to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the caller does around a restore in place. `resume` is called whenever `quiesce` was."""

    quiesce: Callable[[], Awaitable[None]] = _nothing
    reconcile: Callable[[], Awaitable[None]] = _nothing
    resume: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What both ways of restoring need."""

    identities: Identities | None = None
    tools_folder: Path | None = None
    maintenance_database: str = databases.MAINTENANCE_DATABASE
    keep_privileges: bool = False
    """Restore grants as well; their roles must exist on the server."""
    operation_id: str | None = None
    """Who asks, 1 to 100 of A-Za-z0-9_.-: a repeat under the same id finds what was done and does
    not do it again, which would throw away what customers did since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. `kept_as` and `safety_backup_id` only of one in place."""

    manifest: Manifest
    database: str
    audit: AuditReport
    kept_as: str | None = None
    safety_backup_id: str | None = None
    reconcile_problem: str | None = None

    @property
    def how_to_drop_kept(self) -> str | None:
        """The statement that gets rid of the old database, when nobody needs it any more."""
        return f"DROP DATABASE {databases.quoted(self.kept_as)}" if self.kept_as else None


async def restore_into_new(
    storage: Storage,
    backup_id: str,
    *,
    database_url: str,
    options: RestoreOptions,
    on_progress: OnProgress = silent,
) -> Restored:
    """Restore into the database that the address names, which must be new or empty.

    Raises `RestoreRefused` before anything is done, `RestoreMismatch` when the restored database is
    not what was backed up: it stays then, for a person to look at.
    """
    source = await _opened(storage, backup_id, options, on_progress)
    name = tools.database_of(database_url)
    async with (
        maintenance(database_url, options.maintenance_database) as connection,
        databases.sole_user_of(connection, name),
    ):
        mark = await _earlier_mark(connection, name, options.operation_id)
        done = mark is not None and mark.state == "done"
        if mark is None or (not done and await snapshot.is_empty(database_url)):
            await _fill_new(connection, source, database_url, options)
        examined = await loading.examine(source.manifest, database_url=database_url)
        # Once it is marked as done the bot may have worked on it, and of course it differs then.
        if examined.problems and not done:
            raise RestoreMismatch(
                backup_id,
                examined.problems,
                f"The database {name} is left as it is, to be looked at: the bot must not use it",
            )
        if options.operation_id is not None:
            mark = databases.Mark(operation=options.operation_id, state="done")
            await databases.set_mark(connection, name, mark)
            reach("database-marked")
    logger.info("backup.restored", backup_id=backup_id, database=name)
    return Restored(manifest=source.manifest, database=name, audit=examined.audit)


async def _fill_new(
    connection: Connection, source: loading.Source, database_url: str, options: RestoreOptions
) -> None:
    name = tools.database_of(database_url)
    made_here = await _make_or_find_empty(connection, database_url, name)
    try:
        if options.operation_id is not None:
            mark = databases.Mark(operation=options.operation_id, state="begun")
            await databases.set_mark(connection, name, mark)
            reach("database-marked")
        await loading.load(
            source, database_url=database_url, keep_privileges=options.keep_privileges
        )
    except BaseException:
        if made_here:
            await databases.drop_or_leave(connection, name)
        raise


async def _earlier_mark(
    connection: Connection, name: str, operation_id: str | None
) -> databases.Mark | None:
    """What an earlier run of the same operation has written on the database."""
    if operation_id is None:
        return None
    mark = await databases.mark_of(connection, name)
    return mark if mark is not None and mark.operation == operation_id else None


async def restore_in_place(
    storage: Storage,
    backup_id: str,
    *,
    database_url: str,
    confirmed_name: str,
    options: RestoreOptions,
    safety_recipients: Recipients | None = None,
    hooks: Hooks | None = None,
    on_progress: OnProgress = silent,
) -> Restored:
    """Put the backup in the place of the database; `confirmed_name` must be its name.

    Raises `RestoreRefused` and `RestoreMismatch`; the database is then what it was. Raises
    `PaymentsLeftBehind` when it is replaced, and only step 6 could not be done.
    """
    name = tools.database_of(database_url)
    if confirmed_name != name:
        raise RestoreRefused(
            f"the database is called {name!r}, not {confirmed_name!r}",
            "To restore in place, repeat the database's name",
        )
    source = await _opened(storage, backup_id, options, on_progress)
    if source.manifest.recipients and safety_recipients is None:
        # What the live database holds is as secret as what the backup held.
        safety_recipients = Recipients(source.manifest.recipients)
    hooks = hooks or Hooks()
    async with (
        maintenance(database_url, options.maintenance_database) as connection,
        databases.sole_user_of(connection, name),
    ):
        await _require_replaceable(connection, name)
        mark = await _earlier_mark(connection, name, options.operation_id)
        try:
            if mark is None:
                await _finish_another(connection, database_url)
                await hooks.quiesce()
                mark = await _back_up_and_replace(
                    connection, source, database_url, options, safety_recipients
                )
            await _carry_over(connection, database_url, mark)
            problem = await _reconciled(hooks)
        finally:
            await hooks.resume()
    examined = await loading.examine(source.manifest, database_url=database_url)
    return Restored(
        manifest=source.manifest,
        database=name,
        audit=examined.audit,
        kept_as=mark.kept_as,
        safety_backup_id=mark.safety_backup_id,
        reconcile_problem=problem,
    )


async def finish_in_place(
    *, database_url: str, maintenance_database: str = databases.MAINTENANCE_DATABASE
) -> None:
    """Do what a restore in place has left undone whose process died after the swap; nothing if
    nothing is. Raises `RestoreBusy` while it lives, `DatabaseUnreachable` and `PaymentsLeftBehind`.
    """
    name = tools.database_of(database_url)
    async with (
        maintenance(database_url, maintenance_database) as connection,
        databases.sole_user_of(connection, name),
    ):
        mark = await databases.mark_of(connection, name)
        if mark is not None:
            await _carry_over(connection, database_url, mark)


async def _finish_another(connection: Connection, database_url: str) -> None:
    """Carry over what an earlier restore has left: after the next swap nobody would look there."""
    mark = await databases.mark_of(connection, tools.database_of(database_url))
    if mark is not None:
        try:
            await _carry_over(connection, database_url, mark)
        except PaymentsLeftBehind as error:  # what cannot be read must not be in the way for ever
            logger.warning("restore.payments_left_behind", problem=str(error))


async def _opened(
    storage: Storage, backup_id: str, options: RestoreOptions, on_progress: OnProgress
) -> loading.Source:
    manifest, _ = await require_manifest(storage, backup_id)
    source = loading.Source(
        storage=storage,
        manifest=manifest,
        identities=options.identities,
        tools_folder=options.tools_folder,
        on_progress=on_progress,
    )
    await loading.try_to_open(source)
    return source


async def _make_or_find_empty(connection: Connection, database_url: str, name: str) -> bool:
    """See to it that there is an empty database of this name; whether it was made here."""
    if not await databases.exists(connection, name):
        await databases.create(connection, name)
        reach("database-created")
        return True
    if not await snapshot.is_empty(database_url):
        raise RestoreRefused(
            f"the database {name} is not empty",
            "Name a new one, or restore in place by repeating its name",
        )
    return False


async def _require_replaceable(connection: Connection, name: str) -> None:
    if not await databases.exists(connection, name):
        raise DatabaseUnfit(
            f"there is no database {name} to replace", "Restore into it as into a new one"
        )


async def _back_up_and_replace(
    connection: Connection,
    source: loading.Source,
    database_url: str,
    options: RestoreOptions,
    safety_recipients: Recipients | None,
) -> databases.Mark:
    await databases.drop_leftovers(connection)
    async with (
        maintenance(database_url, options.maintenance_database) as killer,
        no_writers(database_url, killer) as fence,
    ):
        hold = _Hold(connection, killer, fence, database_url)
        return await _back_up_and_swap(hold, source, options, safety_recipients)


@dataclass(frozen=True, slots=True)
class _Hold:
    """The living database with its writers shut out. `connection` and `killer` are on the
    maintenance database."""

    connection: Connection
    killer: Connection
    fence: Fence
    database_url: str


async def _back_up_and_swap(
    hold: _Hold,
    source: loading.Source,
    options: RestoreOptions,
    safety_recipients: Recipients | None,
) -> databases.Mark:
    safety = await back_up(
        database_url=hold.database_url,
        storage=source.storage,
        options=BackupOptions(
            id=new_id(datetime.now(UTC)),
            recipients=safety_recipients,
            tools_folder=options.tools_folder,
        ),
    )
    name = tools.database_of(hold.database_url)
    mark = databases.Mark(
        operation=options.operation_id or new_run(),
        state="swapped",
        kept_as=databases.kept_name(name, datetime.now(UTC)),
        safety_backup_id=safety.id,
        taken_at=source.manifest.created_at,
    )
    await _replace(hold, source, options, mark)
    logger.warning(
        "database.replaced",
        backup_id=source.manifest.id,
        database=name,
        kept_as=mark.kept_as,
        safety_backup_id=safety.id,
    )
    return mark


async def _replace(
    hold: _Hold, source: loading.Source, options: RestoreOptions, mark: databases.Mark
) -> None:
    name = tools.database_of(hold.database_url)
    fresh = databases.scratch_name(databases.RESTORE_PREFIX, source.manifest.id)
    fresh_url = tools.named(hold.database_url, fresh)
    async with databases.scratch(hold.connection, fresh, database_url=fresh_url):
        await loading.load(source, database_url=fresh_url, keep_privileges=options.keep_privileges)
        examined = await loading.examine(source.manifest, database_url=fresh_url)
        if examined.problems:
            raise RestoreMismatch(
                source.manifest.id,
                examined.problems,
                f"The database {name} was not touched. Restore into a new one to look at it",
            )
        assert mark.kept_as is not None
        await carry_numbering(from_url=hold.database_url, to_url=fresh_url)
        reach("numbering-carried")
        await hold.fence.require_standing()
        await databases.swap_in(
            hold.connection,
            hold.killer,
            fresh=fresh,
            name=name,
            kept_as=mark.kept_as,
            mark=mark,
            guard=hold.fence,
        )
        reach("swapped")


async def _carry_over(connection: Connection, database_url: str, mark: databases.Mark) -> None:
    """Carry what only the old database knows of the customers' money, if it is still there."""
    if mark.state != "swapped":
        return
    assert mark.kept_as is not None
    assert mark.taken_at is not None
    if await databases.exists(connection, mark.kept_as):
        await carry_payments(
            from_url=tools.named(database_url, mark.kept_as),
            to_url=database_url,
            taken_at=mark.taken_at,
        )
        reach("payments-carried")
    await databases.set_mark(
        connection, tools.database_of(database_url), replace(mark, state="done")
    )
    reach("database-marked")


async def _reconciled(hooks: Hooks) -> str | None:
    """The reconciliation's problem, if it has one. It recurs, and the restore stays done."""
    try:
        await hooks.reconcile()
    except Exception as error:  # whatever the caller's provider raises
        problem = told(f"{type(error).__name__}: {error}")
        logger.warning("restore.reconciliation_failed", problem=problem)
        return problem
    return None
