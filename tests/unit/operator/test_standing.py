"""How resources stand, from their status to what Prometheus is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from rei_core.ledger.audit import INVARIANTS
from rei_operator.reading import read
from rei_operator.reconciler import Key
from rei_operator.standing import BackupStanding, Standing, Standings, standing_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SCHEDULE = Key("BackupSchedule", "rei", "daily")
STORAGE = {"volume": {"claimName": "backups"}}


def standing(
    kind: str, spec: Any, status: Any, *, owner: Key | None = None, **conditions: str
) -> Standing:
    told = [
        {
            "type": type_,
            "status": answer,
            "reason": "R",
            "lastTransitionTime": "2026-11-24T00:00:00Z",
        }
        for type_, answer in conditions.items()
    ]
    resource = read(
        {
            "apiVersion": "rei.bot/v1alpha1",
            "kind": kind,
            "metadata": {"name": "one", "namespace": "rei"},
            "spec": spec,
            "status": {**status, "conditions": told},
        }
    )
    return standing_of(resource, resource.status, owner=owner, now=NOW)


def backup(status: Any, **conditions: str) -> BackupStanding | None:
    made = {"startTime": "2026-11-24T03:00:00Z", "sizeBytes": 10, **status}
    return standing("Backup", {"storage": STORAGE}, made, owner=SCHEDULE, **conditions).backup


AT_THREE = datetime(2026, 11, 24, 3, tzinfo=UTC).timestamp()


def test_an_audit_that_nobody_has_made_says_nothing_of_violations() -> None:
    assert standing("LedgerAudit", {"periodSeconds": 600}, {}, Ready="True").violations is None


def test_an_audit_tells_every_invariant() -> None:
    status = {"violationCounts": {"no_negative_balance": 2}, "violationsCount": 2}
    told = standing("LedgerAudit", {"periodSeconds": 600}, status, Consistent="False").violations
    assert told == {**dict.fromkeys(INVARIANTS, 0), "no_negative_balance": 2}


def test_a_recurring_resource_has_an_interval_unless_it_is_suspended() -> None:
    spec = {"periodSeconds": 600}
    status = {"lastSuccessTime": "2026-11-24T03:00:00Z"}
    told = standing("LedgerAudit", spec, status, Ready="True")
    assert (told.last_success, told.interval_seconds, told.healthy) == (AT_THREE, 600.0, True)
    asleep = standing("LedgerAudit", {**spec, "suspend": True}, status, Ready="False")
    assert (asleep.interval_seconds, asleep.healthy) == (None, False)


def test_a_backup_counts_once_it_has_succeeded() -> None:
    assert backup({}) is None
    assert backup({}, Succeeded="False") is None
    assert backup({}, Succeeded="True") == BackupStanding("daily", AT_THREE, None, 10)


def test_a_backup_that_only_claims_to_be_readable_is_not_verified() -> None:
    for verified, at in (("None", None), ("Checksum", AT_THREE), ("Restore", AT_THREE)):
        told = backup({"verified": verified}, Succeeded="True")
        assert told is not None
        assert told.verified_at == at, verified


def test_a_schedule_knows_of_verified_backups_whose_resource_is_gone() -> None:
    spec = {"schedule": "0 3 * * *", "storage": STORAGE}
    status = {"lastVerifiedTime": "2026-11-24T03:00:00Z"}
    told = standing("BackupSchedule", spec, status, Ready="True").backup
    assert told == BackupStanding("one", verified_at=AT_THREE)


def test_the_newest_backup_of_each_schedule_is_told() -> None:
    standings = Standings()
    for n, one in enumerate(
        (
            BackupStanding("daily", 100.0, 100.0, 11),
            BackupStanding("daily", 200.0, None, 22),
            BackupStanding("daily", verified_at=150.0),
            BackupStanding("", 50.0, None, 5),
        )
    ):
        standings.known["Backup", "rei", str(n)] = Standing(backup=one)
    registry = CollectorRegistry()
    registry.register(standings)

    def told(what: str, schedule: str) -> float | None:
        labels = {"namespace": "rei", "schedule": schedule}
        return registry.get_sample_value(f"rei_backup_last_{what}", labels)

    assert told("success_timestamp_seconds", "daily") == 200.0
    assert told("verified_timestamp_seconds", "daily") == 150.0
    assert told("size_bytes", "daily") == 22
    assert told("success_timestamp_seconds", "") == 50.0
    assert told("verified_timestamp_seconds", "") is None
