"""Which backups may go. A pure decision, and the deleting by it.

A whole backup goes when it is older than `max_age`, except the newest `verified_min` of the
verified ones, however old they are. While there are fewer verified ones than that, others take
their places, unverified before those whose verification failed: if backing up or verifying has been
broken for a month, the last backups there are stay. An unfinished one goes when nothing was written
to it for `unfinished_age` (it may be running). One whose manifest cannot be read stays: a newer Rei
may have written it, and a person should look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from rei_core.maintenance.backups.failpoints import reach
from rei_core.maintenance.backups.listing import StoredBackup, delete_backup, list_backups
from rei_core.maintenance.backups.storage import Storage

logger = structlog.get_logger(__name__)

UNFINISHED_AGE = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How long backups are kept."""

    max_age: timedelta
    verified_min: int = 1
    """So many verified ones always stay."""
    unfinished_age: timedelta = UNFINISHED_AGE

    def __post_init__(self) -> None:
        if self.verified_min < 1:
            raise ValueError("a retention that may delete every backup is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a retention run did."""

    examined: int
    deleted: tuple[str, ...]
    kept_unreadable: tuple[str, ...]


def doomed(
    backups: Sequence[StoredBackup], *, now: datetime, policy: RetentionPolicy
) -> tuple[str, ...]:
    """The ids of the backups that may be deleted, oldest first."""
    return (
        *_unfinished(backups, now=now, policy=policy),
        *_outlived(backups, now=now, policy=policy),
    )


def _unfinished(
    backups: Sequence[StoredBackup], *, now: datetime, policy: RetentionPolicy
) -> list[str]:
    return [
        backup.id
        for backup in backups
        if backup.unfinished
        and backup.touched_at is not None
        and now - backup.touched_at > policy.unfinished_age
    ]


def _outlived(
    backups: Sequence[StoredBackup], *, now: datetime, policy: RetentionPolicy
) -> list[str]:
    newest_first = sorted(
        ((backup.manifest.created_at, backup) for backup in backups if backup.manifest is not None),
        key=lambda dated: (dated[0], dated[1].id),
        reverse=True,
    )
    # A stable sort: within each rank the newest stay first.
    safest_first = sorted(newest_first, key=lambda dated: _rank(dated[1]))
    kept = {backup.id for _, backup in safest_first[: policy.verified_min]}
    return [
        backup.id
        for created_at, backup in reversed(newest_first)
        if now - created_at > policy.max_age and backup.id not in kept
    ]


def _rank(backup: StoredBackup) -> int:
    """0: verified, 1: nothing known, 2: its verification failed."""
    if backup.verification is None:
        return 1
    return 0 if backup.verification.verified else 2


async def nowhere(backup_ids: tuple[str, ...]) -> None:
    """For a caller who does not go on after a crash."""
    del backup_ids


async def prune(
    storage: Storage,
    policy: RetentionPolicy,
    *,
    now: datetime | None = None,
    begun: Collection[str] = (),
    intend: Callable[[tuple[str, ...]], Awaitable[None]] = nowhere,
) -> Pruned:
    """Delete what the policy lets go. Ended in the middle, it is simply done again.

    `intend` hears what will be deleted before anything is. Who gives that back as `begun` after a
    crash gets the same answer as if there had been none: it tells also of what was deleted then.
    """
    backups = await list_backups(storage)
    ids = doomed(backups, now=now or datetime.now(UTC), policy=policy)
    there = {backup.id for backup in backups}
    gone = tuple(backup_id for backup_id in begun if backup_id not in there)
    half = tuple(
        backup.id
        for backup in backups
        if backup.id in begun and backup.unfinished and backup.id not in ids
    )
    deleted = (*gone, *half, *ids)
    await intend(deleted)
    reach("intent-stored")
    for backup_id in (*half, *ids):
        objects = await delete_backup(storage, backup_id)
        logger.info("backup.deleted", backup_id=backup_id, objects=objects)
        reach("backup-deleted")
    return Pruned(
        examined=len(backups) + len(gone),
        deleted=deleted,
        kept_unreadable=tuple(backup.id for backup in backups if backup.problem),
    )
