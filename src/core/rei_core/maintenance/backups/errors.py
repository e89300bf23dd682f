"""What can go wrong with a backup, each with what to do about it.

    BackupError
    ├── StorageError              the object storage or the folder; names the operation and the place
    │   ├── StorageFull               no room left
    │   ├── StorageGone               no such folder, bucket or host
    │   ├── StorageDenied             the credentials are wrong, or may not do this
    │   └── ObjectMissing             one object is not there, the storage is
    ├── ToolError                 pg_dump or pg_restore
    │   ├── ToolMissing               none found that is new enough for the server
    │   └── ToolFailed                ended with an error, or stood still
    ├── BackupNotFound            no such backup, or one that was never finished
    ├── BackupDamaged             its bytes are not what its manifest says; lists what
    ├── BackupUnreadable          the manifest is no manifest of ours, or of a newer Rei
    ├── DecryptionError           no identity given, or one that does not fit
    ├── DatabaseUnfit             the database to back up or to restore into is not as it must be
    │   └── DatabaseUnreachable       it cannot be reached, or its connection was cut
    ├── RestoreRefused            nothing was done, because it would destroy something
    │   └── RestoreBusy               another run is at work on the database: try again
    ├── RestoreMismatch           what was restored is not what was backed up, or its ledger is wrong
    └── PaymentsLeftBehind        restored in place, but without the top-ups begun since the backup

Every text is one that a person on call can act on, and none holds a secret: what foreign programs
and libraries say goes through `told` first.
"""

from __future__ import annotations

from rei_core.errors import ReiError
from rei_core.logs import MASK, masked_text

SAID_LENGTH_MAX = 600
PROBLEMS_MAX = 20
SECRET_LENGTH_MIN = 6
"""Shorter "secrets" are words like `true`, which masking would only take out of the sentence."""


def told(text: str, *, secrets: tuple[str, ...] = ()) -> str:
    """What a foreign program said, in one short line without secrets; its end if it is long."""
    for secret in secrets:
        if len(secret) >= SECRET_LENGTH_MIN:
            text = text.replace(secret, MASK)
    line = " ".join(masked_text(text).split())
    return line if len(line) <= SAID_LENGTH_MAX else "…" + line[-SAID_LENGTH_MAX:]


class BackupError(ReiError):
    """The base of all that goes wrong with backups. `remedy` says what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}" if remedy else problem)


class StorageError(BackupError):
    """The storage did not do what it was asked to."""

    def __init__(self, *, where: str, operation: str, said: str, remedy: str) -> None:
        self.where = where
        self.operation = operation
        self.said = said
        super().__init__(f"{where}: cannot {operation}: {said}", remedy)


class StorageFull(StorageError):
    """There is no room left."""


class StorageGone(StorageError):
    """There is no such folder, bucket or host."""


class StorageDenied(StorageError):
    """The credentials are wrong, or may not do this."""


class ObjectMissing(StorageError):
    """The object is not there, though the storage is."""


class ToolError(BackupError):
    """A client tool of PostgreSQL's."""

    def __init__(self, tool: str, problem: str, remedy: str) -> None:
        self.tool = tool
        super().__init__(f"{tool}: {problem}", remedy)


class ToolMissing(ToolError):
    """No tool was found that is new enough for the server."""


class ToolFailed(ToolError):
    """The tool ended with an error, or stood still."""


class BackupNotFound(BackupError):
    """There is no whole backup of this id."""

    def __init__(self, backup_id: str, where: str) -> None:
        self.backup_id = backup_id
        super().__init__(
            f"{where} holds no finished backup {backup_id!r}",
            "`rei backups list` shows what it has",
        )


class BackupDamaged(BackupError):
    """The bytes in the storage are not those that were written; `problems` lists what is wrong."""

    def __init__(self, backup_id: str, problems: tuple[str, ...]) -> None:
        self.backup_id = backup_id
        self.problems = problems[:PROBLEMS_MAX]
        more = f" and {len(problems) - PROBLEMS_MAX} more" if len(problems) > PROBLEMS_MAX else ""
        super().__init__(
            f"backup {backup_id} is damaged: {'; '.join(self.problems)}{more}",
            "It cannot be restored: take another one, and back up again now",
        )


class BackupUnreadable(BackupError):
    """The manifest cannot be read."""

    def __init__(self, backup_id: str, problem: str) -> None:
        self.backup_id = backup_id
        super().__init__(
            f"the manifest of backup {backup_id} cannot be read: {problem}",
            "If a newer Rei wrote it, use that one; else take another backup",
        )


class DecryptionError(BackupError):
    """The identity is missing or the wrong one."""


class DatabaseUnfit(BackupError):
    """The database is not one that can be backed up or restored into."""


class DatabaseUnreachable(DatabaseUnfit):
    """The database cannot be reached, or the connection was cut: it may pass."""


class RestoreRefused(BackupError):
    """Nothing was done, because it would have destroyed something."""


class RestoreBusy(RestoreRefused):
    """Another run is at work on the database. It may be one that is about to die: try again."""


class PaymentsLeftBehind(BackupError):
    """Restored in place, but the top-ups that only the database that was put aside knows could not
    be carried over. The same restore, asked for again, tries just that."""

    def __init__(self, kept_as: str, problem: str) -> None:
        self.kept_as = kept_as
        super().__init__(
            f"the top-ups begun since the backup could not be carried over from the database "
            f"{kept_as} ({problem})",
            "The backup is in place. Ask for the same restore again to try just that; a "
            "PaymentReconciliation reports the payments that no row of ours explains",
        )


class RestoreMismatch(BackupError):
    """The restored database differs from the backed-up one, or its ledger does not add up."""

    def __init__(self, backup_id: str, problems: tuple[str, ...], remedy: str) -> None:
        self.backup_id = backup_id
        self.problems = problems[:PROBLEMS_MAX]
        super().__init__(f"backup {backup_id} as restored: {'; '.join(self.problems)}", remedy)
