"""What a release applies, prunes and waits for, decided without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from rei_core.maintenance.resources import Backup, LedgerAudit
from rei_operator.release.objects import (
    PRUNED,
    RELEASE,
    Ended,
    Owner,
    applied,
    ended,
    rolling,
    stuck,
    unwanted,
)

OWNER = Owner(namespace="rei", name="rei-maintenance", uid="u-1")


def audit(name: str = "books") -> LedgerAudit:
    spec = {"schedule": "0 * * * *"}
    return LedgerAudit.of({"kind": "LedgerAudit", "metadata": {"name": name}, "spec": spec})


def backup() -> Backup:
    spec = {"storage": {"volume": {"claimName": "backups"}}}
    return Backup.of({"kind": "Backup", "metadata": {"name": "b"}, "spec": spec})


def there(kind: str, name: str, owner: str | None = OWNER.name) -> dict[str, Any]:
    labels = {} if owner is None else {RELEASE: owner}
    return {"kind": kind, "metadata": {"name": name, "labels": labels}}


def deployment(
    *, replicas: int = 2, generation: int = 3, conditions: tuple[dict[str, str], ...] = (), **status: int
) -> dict[str, Any]:  # fmt: skip
    told = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": replicas},
        "status": {**told, **status, "conditions": list(conditions)},
    }


def test_what_is_applied_goes_with_its_owner_and_says_nothing_of_its_status() -> None:
    document = applied(audit(), OWNER)
    assert document["metadata"]["namespace"] == "rei"
    assert document["metadata"]["labels"][RELEASE] == "rei-maintenance"
    (owner,) = document["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ConfigMap", "u-1")
    assert document["spec"]["schedule"] == "0 * * * *"
    assert "status" not in document


def test_only_the_owners_recurring_resources_are_pruned() -> None:
    found = [
        there("LedgerAudit", "books"),
        there("LedgerAudit", "old"),
        there("LedgerAudit", "a-persons", owner=None),
        there("LedgerAudit", "anothers", owner="shop-rei-maintenance"),
        there("Backup", "b"),
        there("UserBan", "spammer"),
    ]
    assert unwanted(found, {("LedgerAudit", "books")}, OWNER) == [("LedgerAudit", "old")]


def test_nothing_that_is_somebodys_word_can_be_pruned() -> None:
    assert set(PRUNED) == {
        "BackupSchedule",
        "JobRetentionPolicy",
        "LedgerAudit",
        "PaymentReconciliation",
        "StuckJobPolicy",
    }


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ({}, None),
        ({"conditions": [{"type": "Succeeded", "status": "Unknown"}]}, None),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, None),
        (
            {"conditions": [{"type": "Succeeded", "status": "True", "reason": "Verified", "message": "m"}]},
            Ended(well=True, said="Verified: m"),
        ),
        (
            {"conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed", "message": "m"}]},
            Ended(well=False, said="Failed: m"),
        ),
    ],
)  # fmt: skip
def test_a_one_shot_has_ended_once_it_says_so(status: dict[str, Any], end: Ended | None) -> None:
    assert ended({**backup().document(), "status": status}) == end


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (deployment(), ""),
        (deployment(generation=4), "nobody has looked"),
        (deployment(replicas=3), "2 of 3 pods are new"),
        (deployment(updatedReplicas=1), "1 of 2 pods are new"),
        (deployment(replicas=2, availableReplicas=1), "1 of 2 pods are ready"),
        (deployment(replicas=0, availableReplicas=0, updatedReplicas=0), "2 old pods"),
        (deployment(replicas=2) | {"status": {}}, "nobody has looked"),
    ],
)  # fmt: skip
def test_a_deployment_has_rolled_out_when_all_pods_are_new_and_ready(
    told: dict[str, Any], said: str
) -> None:
    assert rolling(told).startswith(said)
    assert bool(rolling(told)) is bool(said)


def test_a_deployment_that_makes_no_progress_says_why() -> None:
    condition = {"reason": "ProgressDeadlineExceeded", "message": "timed out"}
    assert stuck(deployment(conditions=(condition,))) == "timed out"
    assert stuck(deployment()) == ""
