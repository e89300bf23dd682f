"""How the resources stand, as their status says, and as Prometheus is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rei_core.ledger.audit import INVARIANTS
from rei_core.maintenance.resources import (
    Backup,
    BackupSchedule,
    ConditionStatus,
    LedgerAudit,
    Recurring,
    Resource,
)
from rei_core.maintenance.resources.backups import BackupScheduleStatus, BackupStatus
from rei_core.maintenance.resources.base import Status
from rei_core.maintenance.resources.ledger import LedgerAuditStatus
from rei_core.maintenance.resources.storage import Verification
from rei_operator.kinds import recurring
from rei_operator.kinds.audits import CONSISTENT
from rei_operator.reconciler import Key

NAMES: Final = ("kind", "namespace", "name")
BACKUPS: Final = ("namespace", "schedule")
Who = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class BackupStanding:
    """When a backup was made and, if it was verified, made again; seconds since 1970."""

    schedule: str
    made_at: float | None = None
    verified_at: float | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about one resource; None where nothing is. `violations` is by invariant."""

    last_success: float | None = None
    interval_seconds: float | None = None
    healthy: bool | None = None
    violations: Mapping[str, int] | None = None
    backup: BackupStanding | None = None


def standing_of(
    resource: Resource, status: Status, *, owner: Key | None, now: datetime
) -> Standing:
    """How a resource stands, by its status; `owner` is what it was made for."""
    condition = status.condition(resource.condition_type)
    healthy = None
    if condition is not None and condition.status is not ConditionStatus.UNKNOWN:
        healthy = condition.status is ConditionStatus.TRUE
    success, interval = None, None
    if isinstance(resource, Recurring):
        success = _seconds(getattr(status, "last_success_time", None))
        interval = recurring.expected_interval_seconds(resource, now)
    return Standing(
        success, interval, healthy, _violations(resource, status), _backup(resource, status, owner)
    )


def _violations(resource: Resource, status: Status) -> Mapping[str, int] | None:
    if not isinstance(resource, LedgerAudit) or status.condition(CONSISTENT) is None:
        return None  # nobody has looked yet
    assert isinstance(status, LedgerAuditStatus)
    return {**dict.fromkeys(INVARIANTS, 0), **status.violation_counts}


def _backup(resource: Resource, status: Status, owner: Key | None) -> BackupStanding | None:
    if isinstance(resource, BackupSchedule):
        assert isinstance(status, BackupScheduleStatus)
        # Known from the storage, also after the Backup itself is gone.
        verified_at = _seconds(status.last_verified_time)
        return BackupStanding(resource.metadata.name, verified_at=verified_at)
    if not isinstance(resource, Backup):
        return None
    assert isinstance(status, BackupStatus)
    condition = status.condition(resource.condition_type)
    if condition is None or condition.status is not ConditionStatus.TRUE:
        return None
    made_at = _seconds(status.start_time)
    verified = status.verified not in {None, Verification.NONE}
    return BackupStanding(
        "" if owner is None else owner.name,
        made_at,
        made_at if verified else None,
        status.size_bytes,
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


class Standings(Collector):
    """All resources that are there, for Prometheus."""

    def __init__(self) -> None:
        self.known: dict[Who, Standing] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        success = GaugeMetricFamily(
            "rei_maintenance_last_success_timestamp_seconds", "When it last succeeded", labels=NAMES
        )
        interval = GaugeMetricFamily(
            "rei_maintenance_expected_interval_seconds", "Seconds between its runs", labels=NAMES
        )
        healthy = GaugeMetricFamily(
            "rei_maintenance_healthy", "Is its condition true (1) or false (0)", labels=NAMES
        )
        violations = GaugeMetricFamily(
            "rei_ledger_violations", "Violations that the last audit found",
            labels=("namespace", "name", "invariant"),
        )  # fmt: skip
        for who, standing in self.known.items():
            for family, value in (
                (success, standing.last_success),
                (interval, standing.interval_seconds),
                (healthy, standing.healthy),
            ):
                if value is not None:
                    family.add_metric(who, float(value))
            for invariant, count in (standing.violations or {}).items():
                violations.add_metric((*who[1:], invariant), count)
        yield from (success, interval, healthy, violations)
        yield from self._backups()

    def _backups(self) -> Iterator[GaugeMetricFamily]:
        made = GaugeMetricFamily(
            "rei_backup_last_success_timestamp_seconds", "When the newest backup was made",
            labels=BACKUPS,
        )  # fmt: skip
        verified = GaugeMetricFamily(
            "rei_backup_last_verified_timestamp_seconds",
            "When the newest of those that are verified was made", labels=BACKUPS,
        )  # fmt: skip
        size = GaugeMetricFamily(
            "rei_backup_last_size_bytes", "How much the newest backup takes in its storage",
            labels=BACKUPS,
        )  # fmt: skip
        of_schedule: dict[tuple[str, str], list[BackupStanding]] = {}
        for (_, namespace, _name), standing in self.known.items():
            if (backup := standing.backup) is not None:
                of_schedule.setdefault((namespace, backup.schedule), []).append(backup)
        for labels, backups in of_schedule.items():
            newest = max(backups, key=lambda backup: backup.made_at or 0.0)
            verified_at = max((backup.verified_at or 0.0 for backup in backups), default=0.0)
            if newest.made_at is not None:
                made.add_metric(labels, newest.made_at)
            if newest.size_bytes is not None:
                size.add_metric(labels, newest.size_bytes)
            if verified_at:
                verified.add_metric(labels, verified_at)
        yield from (made, verified, size)
