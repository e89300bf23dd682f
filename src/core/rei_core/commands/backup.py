"""`rei backup`, `rei restore`, `rei backups …`: what the Jobs of a cluster run, and a person by hand.

Progress and logs go to stderr, the result to stdout. Asked to end (SIGTERM, Ctrl-C), they clean up
first: the unfinished chunks, the scratch database. Killed, the next run finds what is left.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rei_core.commands.progress import ProgressLine, size
from rei_core.logs import configure
from rei_core.maintenance.backups.dump import BackupOptions, Progress, back_up
from rei_core.maintenance.backups.encryption import Identities, Recipients
from rei_core.maintenance.backups.errors import BackupError
from rei_core.maintenance.backups.listing import StoredBackup, list_backups
from rei_core.maintenance.backups.manifest import Encryption, Manifest, new_id
from rei_core.maintenance.backups.restore import (
    Restored,
    RestoreOptions,
    restore_in_place,
    restore_into_new,
)
from rei_core.maintenance.backups.retention import RetentionPolicy, prune
from rei_core.maintenance.backups.storage import Storage, StorageLocation, open_storage
from rei_core.maintenance.backups.tools import named
from rei_core.maintenance.backups.verify import (
    ScratchServer,
    verify_by_restoring,
    verify_checksums,
)
from rei_core.money import format_rubles
from rei_core.settings import CoreSettings, load

EXIT_TERMINATED = 143

Result = TypeVar("Result")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _storage_option(flag: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        flag,
        "location",
        envvar="REI_BACKUP_URL",
        required=True,
        show_envvar=True,
        help="A folder that exists, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix. "
        "Credentials come from the vendor's usual variables (AWS_ACCESS_KEY_ID, …).",
    )


_identity_option = click.option(
    "--identity",
    "identity_file",
    envvar="REI_BACKUP_IDENTITY_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the age identity (secret key) for encrypted backups.",
)
_tools_option = click.option(
    "--postgres-bin",
    "tools_folder",
    envvar="REI_POSTGRES_BIN",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pg_dump and pg_restore; found in PATH if not given.",
)
_maintenance_option = click.option(
    "--maintenance-database",
    envvar="REI_MAINTENANCE_DATABASE",
    default="postgres",
    show_default=True,
    show_envvar=True,
    help="A database of the same server to make, drop and rename others from.",
)


@click.command()
@_storage_option("--to")
@click.option(
    "--encrypt-to",
    "recipients",
    multiple=True,
    metavar="age1…",
    help="Encrypt for this age public key; give several, and any one of them opens it.",
)
@click.option(
    "--verify",
    type=click.Choice(["none", "checksum", "restore"]),
    default="checksum",
    show_default=True,
    help="checksum reads all of it again; restore restores it into a scratch database and audits it.",
)
@click.option(
    "--id", "backup_id", help="Name the backup; a finished one of this name is not redone."
)
@_identity_option
@_tools_option
@_maintenance_option
def backup(
    *,
    location: str,
    recipients: tuple[str, ...],
    verify: str,
    backup_id: str | None,
    identity_file: Path | None,
    tools_folder: Path | None,
    maintenance_database: str,
) -> None:
    """Back up the database of REI_DATABASE_URL, beside a bot at full speed.

    Prints the backup's id. Example, encrypted and proved by restoring:

    \b
      rei backup --to s3://rei-backups/production --encrypt-to age1… \\
                 --verify restore --identity identity.txt
    """
    identities = _identities(identity_file)
    if recipients and verify == "restore" and identities is None:
        raise click.UsageError("--verify restore of an encrypted backup needs --identity")
    options = BackupOptions(
        id=backup_id or new_id(datetime.now(UTC)),
        recipients=Recipients(recipients) if recipients else None,
        tools_folder=tools_folder,
    )
    url = _database_url()
    server = ScratchServer(
        database_url=url,
        maintenance_database=maintenance_database,
        identities=identities,
        tools_folder=tools_folder,
    )
    manifest = _run(_back_up(open_storage(StorageLocation(location)), options, url, verify, server))
    click.echo(manifest.id)


async def _back_up(
    storage: Storage, options: BackupOptions, url: str, verify: str, server: ScratchServer
) -> Manifest:
    with _Line("dumped") as line:
        manifest = await back_up(
            database_url=url, storage=storage, options=options, on_progress=line.show
        )
    _say(f"Stored {size(manifest.stored_bytes)} as {manifest.id} in {storage.where}.")
    await _verify(storage, manifest.id, verify, server)
    return manifest


@click.command()
@click.argument("backup_id")
@_storage_option("--from")
@click.option("--into", metavar="DATABASE", help="A new or empty database of the same server.")
@click.option(
    "--in-place",
    metavar="DATABASE",
    help="Replace the database of REI_DATABASE_URL; repeat its name to confirm. It is backed up "
    "first, and kept under another name.",
)
@click.option(
    "--encrypt-to",
    "recipients",
    multiple=True,
    metavar="age1…",
    help="In place: for whom the backup made first is encrypted; as the restored one by default.",
)
@click.option(
    "--privileges", is_flag=True, help="Restore grants as well; their roles must exist here."
)
@_identity_option
@_tools_option
@_maintenance_option
def restore(
    *,
    backup_id: str,
    location: str,
    into: str | None,
    in_place: str | None,
    recipients: tuple[str, ...],
    privileges: bool,
    identity_file: Path | None,
    tools_folder: Path | None,
    maintenance_database: str,
) -> None:
    """Restore the backup BACKUP_ID on the server of REI_DATABASE_URL.

    Into a new database nothing else changes. In place, stop the bot and the workers first (the
    operator's Restore does it by itself), and reconcile the payments afterwards.

    \b
    Look first:      rei restore ID --from /backups --into rei_look
    Then replace:    rei restore ID --from /backups --in-place rei
    """
    if (into is None) == (in_place is None):
        raise click.UsageError("give either --into or --in-place")
    options = RestoreOptions(
        identities=_identities(identity_file),
        tools_folder=tools_folder,
        maintenance_database=maintenance_database,
        keep_privileges=privileges,
    )
    storage, url = open_storage(StorageLocation(location)), _database_url()
    with _Line("restored") as line:
        if into is not None:
            work = restore_into_new(
                storage,
                backup_id,
                database_url=named(url, into),
                options=options,
                on_progress=line.show,
            )
        else:
            work = restore_in_place(
                storage,
                backup_id,
                database_url=url,
                confirmed_name=in_place or "",
                options=options,
                safety_recipients=Recipients(recipients) if recipients else None,
                on_progress=line.show,
            )
        restored = _run(work)
    _show_restored(restored)


def _show_restored(restored: Restored) -> None:
    audit = restored.audit
    click.echo(
        f"The database {restored.database} holds backup {restored.manifest.id}, taken at "
        f"{restored.manifest.created_at:%Y-%m-%d %H:%M:%S %Z}."
    )
    verdict = "consistent" if audit.consistent else "INCONSISTENT, run `rei audit`"
    click.echo(f"Its ledger of {audit.transfers_examined} transfers is {verdict}.")
    if restored.kept_as is not None:
        click.echo(f"The old database is kept as {restored.kept_as}.")
        click.echo(f"When nobody needs it any more: {restored.how_to_drop_kept}")
        click.echo(f"It was backed up first, as {restored.safety_backup_id}.")
        click.echo(
            "Now reconcile the payments (a PaymentReconciliation with lookbackDays that reach back "
            "to the backup): it credits what was paid since, and debits what was refunded since. "
            "Apply BalanceAdjustments made since then again; without an operator, by hand."
        )


@click.group()
def backups() -> None:
    """The backups that there are."""


@backups.command("list")
@_storage_option("--from")
def list_command(*, location: str) -> None:
    """Every backup, oldest first, and what its last verification found."""
    storage = open_storage(StorageLocation(location))
    found = _run(list_backups(storage))
    table = Table("backup", "taken", "size", "transfers", "customers' money", "encrypted", "state")
    for one in found:
        table.add_row(*(escape(cell) for cell in _row(one)))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if not found:
        click.echo(f"{storage.where} holds none.")


def _row(stored: StoredBackup) -> tuple[str, ...]:
    manifest = stored.manifest
    if manifest is None:
        touched = f"{stored.touched_at:%Y-%m-%d %H:%M}" if stored.touched_at else ""
        return stored.id, touched, "", "", "", "", stored.problem or "unfinished"
    owed = manifest.database.account_kopecks.get("user", 0)
    return (
        stored.id,
        f"{manifest.created_at:%Y-%m-%d %H:%M %Z}",
        size(manifest.stored_bytes),
        str(manifest.database.transfers_count),
        format_rubles(owed),
        "yes" if manifest.encryption is Encryption.AGE else "no",
        _state(stored),
    )


def _state(stored: StoredBackup) -> str:
    verification = stored.verification
    if verification is None:
        return "not verified"
    if verification.failed_at is not None:
        return f"DAMAGED: {'; '.join(verification.problems)}"[:200]
    if verification.restore_at is not None:
        return f"restored and audited {verification.restore_at:%Y-%m-%d %H:%M}"
    return f"checksums right {verification.checksum_at:%Y-%m-%d %H:%M}"


@backups.command("verify")
@click.argument("backup_id")
@_storage_option("--from")
@click.option(
    "--mode",
    type=click.Choice(["checksum", "restore"]),
    default="restore",
    show_default=True,
    help="checksum reads all of it; restore restores it into a scratch database and audits it.",
)
@_identity_option
@_tools_option
@_maintenance_option
def verify_command(
    *,
    backup_id: str,
    location: str,
    mode: str,
    identity_file: Path | None,
    tools_folder: Path | None,
    maintenance_database: str,
) -> None:
    """Verify the backup BACKUP_ID; exit 1 if it is not good. What is found is remembered."""
    server = ScratchServer(
        database_url=_database_url() if mode == "restore" else "",
        maintenance_database=maintenance_database,
        identities=_identities(identity_file),
        tools_folder=tools_folder,
    )
    _run(_verify(open_storage(StorageLocation(location)), backup_id, mode, server))
    click.echo(backup_id)


@backups.command("prune")
@_storage_option("--from")
@click.option("--max-age-days", type=click.IntRange(1, 3650), required=True, help="Older ones go …")
@click.option(
    "--min-verified",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="… but so many verified ones always stay.",
)
def prune_command(*, location: str, max_age_days: int, min_verified: int) -> None:
    """Delete old backups, never the last verified ones, and what unfinished runs left."""
    policy = RetentionPolicy(max_age=timedelta(days=max_age_days), verified_min=min_verified)
    pruned = _run(prune(open_storage(StorageLocation(location)), policy))
    for backup_id in pruned.deleted:
        click.echo(f"deleted {backup_id}")
    for backup_id in pruned.kept_unreadable:
        click.echo(f"kept {backup_id}, whose manifest cannot be read: look at it by hand")
    click.echo(f"{len(pruned.deleted)} of {pruned.examined} backups deleted.")


async def _verify(storage: Storage, backup_id: str, mode: str, server: ScratchServer) -> None:
    if mode == "none":
        return
    with _Line("verified") as line:
        if mode == "checksum":
            await verify_checksums(storage, backup_id, on_progress=line.show)
        else:
            await verify_by_restoring(storage, backup_id, server=server, on_progress=line.show)
    _say(
        "Every chunk read again: all as written."
        if mode == "checksum"
        else "Restored on trial: rows, sums and the ledger's audit are right."
    )


def _database_url() -> str:
    return load(CoreSettings).database_url.get_secret_value()


def _identities(file: Path | None) -> Identities | None:
    return Identities.of_file(file) if file is not None else None


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end; SIGTERM cancels it, so that it cleans up."""
    configure(level="WARNING", log_format="console", component="backup")

    async def until_signalled() -> Result:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(until_signalled())
    except asyncio.CancelledError:
        _say("Ended before it was done.")
        sys.exit(EXIT_TERMINATED)
    except BackupError as error:
        raise click.ClickException(str(error)) from None


class _Line(ProgressLine):
    """The line of a dump, or of its way back."""

    def __init__(self, done: str) -> None:
        super().__init__()
        self._done = done

    def __enter__(self) -> _Line:
        return self

    def show(self, progress: Progress) -> None:
        self.tell_dump(self._done, progress)


def _say(text: str) -> None:
    click.echo(text, err=True)
