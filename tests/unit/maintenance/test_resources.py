"""The resources as models: bounds, rules, defaults, and the way to JSON and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rei_core.maintenance.resources import (
    KINDS,
    Backup,
    BackupSchedule,
    BalanceAdjustment,
    JobRetentionPolicy,
    LedgerAudit,
    PaymentReconciliation,
    Resource,
    Restore,
    Schedule,
    StuckJobPolicy,
    UserBan,
)
from rei_core.maintenance.resources.manifest import ManifestError, load, read

ROOT = Path(__file__).parents[3]
REFUSED = sorted((ROOT / "tests" / "manifests" / "refused").glob("*.yaml"))
VOLUME = {"volume": {"claimName": "backups"}}
AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

SPECS: dict[type[Resource], dict[str, Any]] = {
    StuckJobPolicy: {"periodSeconds": 60},
    PaymentReconciliation: {"schedule": "*/10 * * * *"},
    JobRetentionPolicy: {"schedule": "0 4 * * *", "timeZone": "Europe/Moscow"},
    LedgerAudit: {"periodSeconds": 3600},
    BackupSchedule: {"periodSeconds": 86_400, "storage": VOLUME},
    Backup: {"storage": VOLUME},
    Restore: {"backupRef": {"name": "nightly"}, "targetDatabase": "rei_new"},
    BalanceAdjustment: {
        "userID": 5,
        "amountKopecks": -100,
        "reason": "Ошибка, тикет 4711",
        "operationID": "ticket-4711",
    },
    UserBan: {"userID": 5, "reason": "спам"},
}


def document(kind: type[Resource], **changes: Any) -> dict[str, Any]:
    """A good resource of that kind, with changes of its spec."""
    return {
        "apiVersion": "rei.bot/v1alpha1",
        "kind": kind.__name__,
        "metadata": {"name": "one"},
        "spec": {**SPECS[kind], **changes},
    }


def test_every_kind_is_tried_here() -> None:
    assert {kind.__name__: kind for kind in SPECS} == KINDS


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_a_resource_survives_the_way_to_json_and_back(kind: type[Resource]) -> None:
    resource = kind.of(document(kind))
    assert kind.of(resource.document()) == resource
    assert read(resource.document()) == resource
    assert resource.key == (kind.__name__, "default", "one")


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_what_the_api_server_adds_is_taken(kind: type[Resource]) -> None:
    given = document(kind)
    given["metadata"] |= {
        "namespace": "rei",
        "uid": "0a1b",
        "generation": 3,
        "resourceVersion": "77",
        "creationTimestamp": "2026-11-24T15:04:05Z",
        "deletionTimestamp": "2026-11-25T15:04:05Z",
        "annotations": {"rei.bot/requested-at": "2026-11-24T15:04:05Z"},
        "labels": {"a": "b"},
        "managedFields": [{"manager": "kubectl"}],
    }
    given["status"] = {
        "observedGeneration": 2,
        "writtenByANewerOperator": {"x": 1},
        "conditions": [
            {
                "type": kind.condition_type,
                "status": "True",
                "reason": "Done",
                "lastTransitionTime": "2026-11-24T15:04:05Z",
            }
        ],
    }
    resource = kind.of(given)
    condition = resource.status.condition(kind.condition_type)
    assert condition is not None
    assert (condition.reason, resource.status.observed_generation) == ("Done", 2)
    assert resource.metadata.deletion_timestamp is not None


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_what_the_rules_refuse_is_refused_in_their_words(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    message = text.splitlines()[0].removeprefix("# refused: ")
    with pytest.raises(ManifestError) as caught:
        load(text)
    assert caught.value.problem == message


def test_every_rule_about_a_manifest_refuses_one() -> None:
    first_lines = {path.read_text(encoding="utf-8").splitlines()[0] for path in REFUSED}
    tried = {line.removeprefix("# refused: ") for line in first_lines}
    rules = {rule.message for kind in KINDS.values() for rule in _rules(kind) if rule.holds}
    assert tried == rules


def _rules(model: Any) -> list[Any]:
    from rei_core.maintenance.resources.manifest import _model_of

    inner = [_model_of(field.annotation) for field in model.model_fields.values()]
    return [*model.rules, *(rule for one in inner if one for rule in _rules(one))]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (StuckJobPolicy, {"timeoutSeconds": 59}),
        (StuckJobPolicy, {"timeoutSeconds": 900.5}),
        (StuckJobPolicy, {"timeoutSeconds": "900"}),
        (StuckJobPolicy, {"timeoutSeconds": True}),
        (StuckJobPolicy, {"timeoutSecondsByModel": {"flash": 1}}),
        (StuckJobPolicy, {"timeoutSecondsByModel": {f"m{n}": 900 for n in range(51)}}),
        (StuckJobPolicy, {"batchSize": 0}),
        (StuckJobPolicy, {"dryRun": "yes"}),
        (StuckJobPolicy, {"periodSeconds": 9}),
        (StuckJobPolicy, {"startingDeadlineSeconds": 0}),
        (StuckJobPolicy, {"timeoutsecond": 900}),
        (PaymentReconciliation, {"schedule": "61 * * * *"}),
        (PaymentReconciliation, {"schedule": "0 0 30 2 *"}),
        (PaymentReconciliation, {"schedule": "0 0 31 2 MON#5", "timeZone": "Mars/Olympus"}),
        (PaymentReconciliation, {"schedule": "* * * * * *"}),
        (PaymentReconciliation, {"schedule": "@daily"}),
        (PaymentReconciliation, {"timeZone": "Europe/Moskow"}),
        (PaymentReconciliation, {"timeZone": "localtime"}),
        (PaymentReconciliation, {"timeZone": "../../etc/passwd"}),
        (PaymentReconciliation, {"lookbackDays": 31}),
        (JobRetentionPolicy, {"updatesDays": 1}),
        (JobRetentionPolicy, {"runsDays": 34}),
        (LedgerAudit, {"excerptMax": 101}),
        (BackupSchedule, {"retention": {"minVerified": 0}}),
        (Backup, {"storage": {"s3": {"bucket": "b", "endpoint": "https://u:p@host"}}}),
        (Backup, {"storage": {"s3": {"bucket": "backups", "prefix": "../other"}}}),
        (Backup, {"storage": {"volume": {"claimName": "x", "path": "/a/../b"}}}),
        (Backup, {"storage": {"volume": {"claimName": "x", "path": "/"}}}),
        (Backup, {"encryption": {"recipients": []}, "verification": "Checksum"}),
        (Backup, {"encryption": {"recipients": ["AGE-SECRET-KEY-1" + "Q" * 58]}}),
        (Backup, {"verification": "restore"}),
        (Restore, {"targetDatabase": "Rei"}),
        (Restore, {"targetDatabase": 'rei"; DROP DATABASE rei; --'}),
        (BalanceAdjustment, {"amountKopecks": 100.0}),
        (BalanceAdjustment, {"amountKopecks": 100_000_001}),
        (BalanceAdjustment, {"userID": 0}),
        (BalanceAdjustment, {"userID": 2**53}),
        (BalanceAdjustment, {"reason": "   "}),
        (BalanceAdjustment, {"reason": "two\nlines"}),
        (BalanceAdjustment, {"operationID": ""}),
        (BalanceAdjustment, {"operationID": "with space"}),
        (UserBan, {"expiresAt": "2027-01-01"}),
        (UserBan, {"expiresAt": "2027-01-01T00:00:00"}),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind: type[Resource], changes: dict[str, Any]) -> None:
    kind.of(document(kind))
    with pytest.raises(ValidationError):
        kind.of(document(kind, **changes))


def test_nothing_of_a_resource_can_be_changed() -> None:
    resource = UserBan.of(document(UserBan))
    with pytest.raises(ValidationError, match="frozen"):
        resource.spec.user_id = 6


def test_python_writes_the_names_of_python() -> None:
    schedule = Schedule(schedule="0 3 * * *", time_zone="Europe/Moscow")
    assert schedule.document() == {
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Moscow",
        "suspend": False,
    }


def test_an_encrypted_backup_needs_its_identity_to_be_restored_only() -> None:
    encryption = {"recipients": [AGE_KEY]}
    Backup.of(document(Backup, encryption=encryption, verification="Checksum"))
    readable = {**encryption, "identitySecretRef": {"name": "identity"}}
    backup = Backup.of(document(Backup, encryption=readable))
    assert backup.spec.encryption is not None
    assert backup.spec.encryption.identity_secret_ref is not None
    assert backup.spec.encryption.identity_secret_ref.key == "identity"
