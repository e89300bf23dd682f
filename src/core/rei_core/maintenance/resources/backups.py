"""Backups: made regularly or once, verified, and restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from rei_core.maintenance.resources.base import (
    AGE,
    Column,
    Fields,
    Names,
    Resource,
    Rule,
    Status,
    condition_columns,
    message_column,
    only_one_of,
    short_name,
    unchangeable,
)
from rei_core.maintenance.resources.recurring import (
    Recurring,
    RecurringStatus,
    Schedule,
    recurring_columns,
)
from rei_core.maintenance.resources.storage import (
    OBJECT_NAME,
    READABLE_AGAIN,
    Encryption,
    IdentityRef,
    Recipients,
    Storage,
    Verification,
)

BACKUP_NAME_CHARACTERS_MAX = 52
SCHEDULE_NAME_CHARACTERS_MAX = 36

BackupID = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9][a-z0-9-]*$")]
Database = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z_][a-z0-9_]*$")]
Seconds = Annotated[int, Field(ge=60, le=172_800)]


class Retention(Fields):
    """When a backup may be deleted."""

    max_age_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """Older backups are deleted."""
    min_verified: Annotated[int, Field(ge=1, le=1000)] = 3
    """So many of the newest verified backups stay, however old they are: if backups begin to
    fail, the good ones do not go."""


class BackupScheduleSpec(Schedule):
    """When a backup is made, where it lies, and how long it is kept."""

    storage: Storage
    """Where the backups lie."""
    encryption: Encryption | None = None
    """How they are encrypted; not at all if not set."""
    verification: Verification = Verification.RESTORE
    """How each backup is verified: `Restore` really restores it into a database that is dropped
    again, compares all counts and sums, and audits the ledger; `Checksum` reads every byte again;
    `None` believes that what was written can be read."""
    retention: Retention = Retention()
    """When a backup may be deleted."""
    timeout_seconds: Seconds = 21_600
    """A backup that is not done and verified after so long is given up."""

    rules: ClassVar[tuple[Rule, ...]] = (*Schedule.rules, READABLE_AGAIN)


class BackupScheduleStatus(RecurringStatus):
    """How the backups go."""

    last_backup_name: Annotated[str | None, Field(max_length=253)] = None
    """The Backup that was made last."""
    last_verified_time: AwareDatetime | None = None
    """When the newest verified backup was made: what is later would be lost today."""
    verified_backups: Annotated[int, Field(ge=0)] = 0
    """How many verified backups there are."""


class BackupSchedule(Recurring):
    """Makes a Backup regularly, and deletes old ones, but never the last that are verified."""

    kind: Literal["BackupSchedule"] = "BackupSchedule"
    spec: BackupScheduleSpec
    status: BackupScheduleStatus = BackupScheduleStatus()

    rules: ClassVar[tuple[Rule, ...]] = (short_name(SCHEDULE_NAME_CHARACTERS_MAX),)
    names: ClassVar[Names] = Names("backupschedules", "backupschedule", ("bsched",))
    columns: ClassVar[tuple[Column, ...]] = recurring_columns(
        Column("Last Backup", ".status.lastBackupName", description="The Backup made last"),
        Column("Verified", ".status.verifiedBackups", "integer", "Verified backups that are there"),
        Column(
            "Last Verified", ".status.lastVerifiedTime", "date", "Age of the newest verified backup"
        ),
    )


class BackupSpec(Fields):
    """Where the backup lies and how it is made sure of."""

    storage: Storage
    """Where the backup lies."""
    encryption: Encryption | None = None
    """How it is encrypted; not at all if not set."""
    verification: Verification = Verification.RESTORE
    """How it is verified: `Restore` really restores it into a database that is dropped again,
    compares all counts and sums, and audits the ledger; `Checksum` reads every byte again; `None`
    believes that what was written can be read."""
    timeout_seconds: Seconds = 21_600
    """A backup that is not done and verified after so long is given up."""

    rules: ClassVar[tuple[Rule, ...]] = (READABLE_AGAIN, unchangeable("Backup"))


class BackupStatus(Status):
    """What came of it."""

    start_time: AwareDatetime | None = None
    """When its Job was made."""
    completion_time: AwareDatetime | None = None
    """When it was done and verified, or failed."""
    job_name: Annotated[str | None, Field(max_length=63)] = None
    """The Job that carries it out: `kubectl logs job/NAME`."""
    backup_id: Annotated[str | None, Field(max_length=100)] = None
    """The backup's id in the storage; a Restore takes it."""
    size_bytes: Annotated[int | None, Field(ge=0)] = None
    """How much lies in the storage, compressed."""
    checksum: Annotated[str | None, Field(max_length=100)] = None
    """The SHA-256 of all that lies in the storage."""
    schema_revision: Annotated[str | None, Field(max_length=63)] = None
    """The revision of the database's schema. The software that reads a backup must know it."""
    transfers: Annotated[int | None, Field(ge=0)] = None
    """How many transfers the ledger had."""
    verified: Verification | None = None
    """How it has been verified. Not set while it has not, or could not be."""
    verified_time: AwareDatetime | None = None
    """When it was verified."""


class Backup(Resource):
    """One backup of the database, streamed to a storage and verified there.

    Deleting the resource does not delete what lies in the storage.
    """

    kind: Literal["Backup"] = "Backup"
    spec: BackupSpec
    status: BackupStatus = BackupStatus()

    rules: ClassVar[tuple[Rule, ...]] = (short_name(BACKUP_NAME_CHARACTERS_MAX),)
    names: ClassVar[Names] = Names("backups", "backup", ("bak",))
    condition_type: ClassVar[str] = "Succeeded"
    columns: ClassVar[tuple[Column, ...]] = (
        *condition_columns("Succeeded"),
        Column("Verified", ".status.verified", description="How it has been verified"),
        Column("Bytes", ".status.sizeBytes", "integer", "How much lies in the storage"),
        Column("ID", ".status.backupID", description="Its id in the storage"),
        Column("Completed", ".status.completionTime", "date", "How long ago it ended"),
        message_column("Succeeded"),
        AGE,
    )


class BackupRef(Fields):
    """A Backup in the resource's own namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
    """The Backup's name. It must have succeeded."""


class StoredBackup(Fields):
    """A backup that is known by its storage only: its Backup is gone, or was another cluster's."""

    storage: Storage
    """Where it lies."""
    id: BackupID
    """Which one: `rei backups list` shows them. There is no "latest": a restore that picks by
    itself picks the wrong one some day."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.id != 'latest'",
            'id: there is no "latest"; name the backup that you want',
            lambda stored: stored.id != "latest",
        ),
    )


class InPlace(Fields):
    """Replaces the database that the bot works with."""

    confirm_database: Database
    """The name of that database, once more. If it is another, nothing happens."""
    recipients: Recipients | None = None
    """The database as it is now is backed up first, to the same storage. These age keys can read
    that backup; it is not encrypted if they are not set."""


class RestoreSpec(Fields):
    """Which backup becomes which database."""

    backup_ref: BackupRef | None = None
    """The Backup to restore. Give this or `stored`."""
    stored: StoredBackup | None = None
    """The backup to restore, by storage and id. Give this or `backupRef`."""
    identity_secret_ref: IdentityRef | None = None
    """The age identity that can read the backup, if it is encrypted."""
    target_database: Database | None = None
    """The name of a new database for it, on the same server. It must not exist yet. Nothing else
    changes: the bot goes on with the database that it has. Give this or `inPlace`."""
    in_place: InPlace | None = None
    """Replaces the database that the bot works with: it is backed up, bot and workers are stopped,
    the restored one takes its place (the old one stays under another name), the ledger is
    audited, and payments and refunds that the backup does not know are reconciled: credited and
    debited as YooKassa knows them. BalanceAdjustments made since the backup are made again. Jobs
    that were done since are done once more: their customers get a second picture, and are charged
    once. Give this or `targetDatabase`."""
    timeout_seconds: Seconds = 21_600
    """A restore that is not done after so long is given up."""

    rules: ClassVar[tuple[Rule, ...]] = (
        only_one_of("backup_ref", "stored"),
        only_one_of("target_database", "in_place"),
        unchangeable("Restore"),
    )


class RestoreStatus(Status):
    """What came of it."""

    start_time: AwareDatetime | None = None
    """When its Job was made."""
    completion_time: AwareDatetime | None = None
    """When it was done, or failed."""
    job_name: Annotated[str | None, Field(max_length=63)] = None
    """The Job that carries it out: `kubectl logs job/NAME`."""
    backup_id: Annotated[str | None, Field(max_length=100)] = None
    """The backup that was restored."""
    database: Annotated[str | None, Field(max_length=63)] = None
    """The database that holds it now."""
    previous_database: Annotated[str | None, Field(max_length=63)] = None
    """In place: the name under which the replaced database was kept. Drop it when you are sure."""
    safety_backup_id: Annotated[str | None, Field(max_length=100)] = None
    """In place: the backup that was made first."""
    consistent: bool | None = None
    """Whether the restored ledger passed its audit."""
    payments_settled: Annotated[int | None, Field(ge=0)] = None
    """In place: how many payments and refunds, unknown to the backup, were settled afterwards."""
    stopped_deployments: Annotated[
        Mapping[str, Annotated[int, Field(ge=0, le=100_000)]], Field(max_length=10)
    ] = {}
    """In place: the Deployments that were stopped, and how many replicas each had. They get as
    many back at the end, whatever comes of the restore."""


class Restore(Resource):
    """Restores one backup, into a new database or in place of the present one.

    Deleting the resource undoes nothing.
    """

    kind: Literal["Restore"] = "Restore"
    spec: RestoreSpec
    status: RestoreStatus = RestoreStatus()

    rules: ClassVar[tuple[Rule, ...]] = (short_name(BACKUP_NAME_CHARACTERS_MAX),)
    names: ClassVar[Names] = Names("restores", "restore", ("rest",))
    condition_type: ClassVar[str] = "Succeeded"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Backup", ".status.backupID", description="What was restored"),
        Column("Database", ".status.database", description="Where it is now"),
        *condition_columns("Succeeded"),
        Column("Consistent", ".status.consistent", "boolean", "Did the ledger pass its audit?"),
        Column("Completed", ".status.completionTime", "date", "How long ago it ended"),
        message_column("Succeeded"),
        AGE,
    )
