"""Backup and BackupSchedule: real Jobs, real pg_dump and pg_restore, judged by the Job controller."""

from __future__ import annotations

from typing import Any

import pyrage
import pytest

from .stage import RARELY, Stage
from .stories import pods_ended, run_now, runs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("operator")]

VOLUME = {"volume": {"claimName": "rei-backups"}}
LONG_AGO = "20200101000000"


def stored(stage: Stage, claim: str = "rei-backups") -> list[str]:
    """The ids of the backups in a volume."""
    return sorted(path.name for path in stage.kubelet.claim(claim).iterdir())


async def encrypted(stage: Stage, name: str, *, opens: bool) -> dict[str, Any]:
    """A spec of an encrypted backup, and a Secret with the identity that opens it, or another."""
    identity = pyrage.x25519.Identity.generate()
    kept = identity if opens else pyrage.x25519.Identity.generate()
    secret = {"metadata": {"name": name}, "stringData": {"identity": str(kept)}}
    await stage.api.create("Secret", secret)
    encryption = {
        "recipients": [str(identity.to_public())],
        "identitySecretRef": {"name": name},
    }
    return {"storage": {"volume": {"claimName": name}}, "encryption": encryption}


async def test_a_backup_is_taken_verified_and_told(shared: Stage) -> None:
    await shared.customer(1, kopecks=1000)
    await shared.apply("Backup", "first", {"storage": VOLUME})
    raw = await shared.condition("Backup", "first", "Succeeded", "True", "BackupVerified")
    status = raw["status"]
    assert status["verified"] == "Restore"
    assert status["transfers"] == await shared.pool.fetchval("SELECT count(*) FROM transfers")
    assert stored(shared) == [status["backupID"]]
    await pods_ended(shared, "backup-first")
    assert shared.kubelet.exit_codes["backup-first"] == [0]
    await shared.event("Backup", "first", "BackupVerified")
    shown = await shared.columns("Backup", "first")
    assert (shown["SUCCEEDED"], shown["VERIFIED"]) == ("True", "Restore")
    assert (shown["ID"], shown["BYTES"]) == (status["backupID"], str(status["sizeBytes"]))
    assert await runs(shared, "Backup", "first") == ["succeeded"]

    # What lies in the storage outlives the object; one of the same name is another backup.
    await shared.delete("Backup", "first")
    await shared.apply("Backup", "first", {"storage": VOLUME, "verification": "Checksum"})
    again = await shared.condition("Backup", "first", "Succeeded", "True", "BackupVerified")
    assert stored(shared) == sorted({status["backupID"], again["status"]["backupID"]})
    assert again["status"]["verified"] == "Checksum"


async def test_an_encrypted_backup_is_verified_with_the_identity_of_its_secret(
    shared: Stage,
) -> None:
    await shared.apply("Backup", "sealed", await encrypted(shared, "sealed", opens=True))
    raw = await shared.condition("Backup", "sealed", "Succeeded", "True", "BackupVerified")
    assert raw["status"]["verified"] == "Restore"
    (folder,) = shared.kubelet.claim("sealed").iterdir()
    assert any(
        b"age-encryption.org" in file.read_bytes() for file in folder.rglob("*") if file.is_file()
    )


async def test_a_backup_that_cannot_be_read_again_fails_once_and_says_why(shared: Stage) -> None:
    await shared.apply("Backup", "lost", await encrypted(shared, "lost", opens=False))
    raw = await shared.condition("Backup", "lost", "Succeeded", "False", "BackupFailed")
    assert "identity" in raw["status"]["conditions"][0]["message"]
    await shared.event("Backup", "lost", "BackupFailed")
    await pods_ended(shared, "backup-lost")
    # Written down as failed for good: by the podFailurePolicy nobody tries again.
    assert shared.kubelet.exit_codes["backup-lost"] == [3]

    async def ended() -> bool:
        job = await shared.get("Job", "backup-lost")
        return any(
            (one["type"], one.get("reason")) == ("Failed", "PodFailurePolicy")
            for one in job.get("status", {}).get("conditions", ())
        )

    await shared.until(ended, "Job", "backup-lost", what="the Job is over")


async def test_a_backup_waits_for_the_secret_that_it_names(shared: Stage) -> None:
    spec = await encrypted(shared, "late", opens=True)
    secret = await shared.get("Secret", "late")
    await shared.delete("Secret", "late")
    await shared.apply("Backup", "late", spec)

    async def waits() -> bool:
        pods = await shared.api.every("Pod", labels="batch.kubernetes.io/job-name=backup-late")
        return any("containerStatuses" in pod.get("status", {}) for pod in pods)

    await shared.until(waits, "Backup", "late", what="its pod waits")
    await shared.condition("Backup", "late", "Succeeded", "Unknown", "InProgress")
    again = {"metadata": {"name": "late"}, "data": secret["data"]}
    await shared.api.create("Secret", again)
    await shared.condition("Backup", "late", "Succeeded", "True", "BackupVerified")


async def test_a_schedule_makes_backups_and_lets_old_ones_go(shared: Stage) -> None:
    spec = RARELY | {"storage": {"volume": {"claimName": "nightly"}}}
    await shared.apply("BackupSchedule", "nightly", spec)
    schedule = await shared.condition("BackupSchedule", "nightly", "Ready", "Unknown", "NoRunYet")
    old = await failed_long_ago(shared, schedule)

    done = await run_now(shared, "BackupSchedule", "nightly")
    name = done["status"]["lastBackupName"]
    made = await shared.condition("Backup", name, "Succeeded", "True", "BackupVerified")
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner["uid"] == schedule["metadata"]["uid"]
    assert stored(shared, "nightly") == [made["status"]["backupID"]]

    async def told() -> bool:
        status = await shared.status("BackupSchedule", "nightly")
        return bool(status.get("verifiedBackups") == 1)

    await shared.until(told, "BackupSchedule", "nightly", what="the retention has counted")
    await shared.event("BackupSchedule", "nightly", "BackupMade")
    shown = await shared.columns("BackupSchedule", "nightly")
    assert (shown["READY"], shown["LAST BACKUP"], shown["VERIFIED"]) == ("True", name, "1")

    async def gone() -> bool:
        return await shared.api.get("Backup", old) is None

    await shared.until(gone, "Backup", old, what="the one that failed long ago is deleted")
    # Its Backups go with it, as Kubernetes has it; the data stays.
    await shared.delete("BackupSchedule", "nightly")

    async def all_gone() -> bool:
        return await shared.api.get("Backup", name) is None

    await shared.until(all_gone, "Backup", name, what="it goes with its schedule")
    assert stored(shared, "nightly") == [made["status"]["backupID"]]


async def failed_long_ago(stage: Stage, schedule: dict[str, Any]) -> str:
    """A Backup that the schedule made years ago, and that failed; its name."""
    name = f"nightly-{LONG_AGO}"
    owner = {
        "apiVersion": schedule["apiVersion"],
        "kind": "BackupSchedule",
        "name": "nightly",
        "uid": schedule["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    labels = {"rei.bot/owner-kind": "BackupSchedule", "rei.bot/owner-name": "nightly"}
    condition = {
        "type": "Succeeded", "status": "False", "reason": "BackupFailed",
        "lastTransitionTime": "2020-01-01T00:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
    manifest = {
        "apiVersion": schedule["apiVersion"],
        "kind": "Backup",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": {"storage": VOLUME},
        "status": {"conditions": [condition], "observedGeneration": 1},
    }
    stage.kubelet.hold()  # until it has its status it looks like one that has to be taken
    try:
        await stage.give_back(manifest, with_status=True)
    finally:
        stage.kubelet.go_on()
    return name
