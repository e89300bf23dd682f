"""The Jobs: named from their resource, no secret in them, and as restricted as a pod can be."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rei_core.maintenance.backups.location import location_of
from rei_core.maintenance.resources import Backup, BackupSchedule, Restore
from rei_operator import manifests
from rei_operator.job import backup_id_of, resource_of
from rei_operator.manifests import JobTemplate

TEMPLATE = JobTemplate(image="rei-operator:1", settings_secret="rei", memory_limit="256Mi")
MOMENT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
STORAGES: dict[str, dict[str, Any]] = {
    "volume": {"volume": {"claimName": "backups", "path": "/backups"}},
    "s3": {"s3": {"bucket": "rei-b", "prefix": "p", "endpoint": "http://minio:9000",
                  "pathStyle": True, "secretRef": {"name": "s3"}}},
    "gcs": {"gcs": {"bucket": "rei-b", "secretRef": {"name": "gcs"}}},
    "azure": {"azure": {"account": "reiacc", "container": "bak", "secretRef": {"name": "az"}}},
}  # fmt: skip


def meta(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "rei",
        "uid": "u-1",
        "creationTimestamp": "2026-11-24T02:59:00Z",
        "annotations": {"a": "b"},
    }


def backup(storage: str = "volume", name: str = "one", **spec: Any) -> Backup:
    document = {
        "kind": "Backup",
        "metadata": meta(name),
        "spec": {"storage": STORAGES[storage], **spec},
    }
    return Backup.of(document)


def schedule(name: str = "nightly") -> BackupSchedule:
    spec = {"schedule": "0 3 * * *", "storage": STORAGES["volume"], "timeoutSeconds": 600}
    return BackupSchedule.of({"kind": "BackupSchedule", "metadata": meta(name), "spec": spec})


def restore(name: str = "one") -> Restore:
    spec = {
        "stored": {"storage": STORAGES["volume"], "id": "20261124t030000z-aa"},
        "targetDatabase": "rei_copy",
        "identitySecretRef": {"name": "age", "key": "key"},
    }
    return Restore.of({"kind": "Restore", "metadata": meta(name), "spec": spec})


def jobs() -> list[dict[str, Any]]:
    return [
        *(manifests.backup_job(backup(storage), TEMPLATE) for storage in STORAGES),
        manifests.restore_job(restore(), TEMPLATE),
        manifests.prune_job(schedule(), TEMPLATE, moment=MOMENT),
    ]


@pytest.mark.parametrize("job", jobs(), ids=lambda job: job["metadata"]["name"])
def test_every_job_is_bounded_owned_and_restricted(job: dict[str, Any]) -> None:
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["backoffLimit"] == manifests.BACKOFF_LIMIT
    assert spec["ttlSecondsAfterFinished"] > 3600
    (owner,) = job["metadata"]["ownerReferences"]
    assert owner["uid"] == "u-1"
    assert owner["blockOwnerDeletion"] is False
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"] == {"memory": "256Mi"}
    assert container["envFrom"] == [{"secretRef": {"name": "rei"}}]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_a_database_of_another_operator_is_named_by_its_own_key() -> None:
    template = dataclasses.replace(TEMPLATE, settings_secret="pg-app", database_url_key="uri")
    pod = manifests.backup_job(backup(), template)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "envFrom" not in container
    (given,) = (one for one in container["env"] if one["name"] == "REI_DATABASE_URL")
    assert given["valueFrom"] == {"secretKeyRef": {"name": "pg-app", "key": "uri"}}


def test_an_image_of_a_private_registry_is_pulled_with_its_secrets() -> None:
    template = dataclasses.replace(TEMPLATE, pull_secrets=("registry",))
    pod = manifests.backup_job(backup(), template)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert (
        "imagePullSecrets"
        not in manifests.backup_job(backup(), TEMPLATE)["spec"]["template"]["spec"]
    )


@pytest.mark.parametrize("job", jobs(), ids=lambda job: job["metadata"]["name"])
def test_the_job_finds_its_resource_in_its_environment(job: dict[str, Any]) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    resource = resource_of(environment)
    assert resource.metadata.name in job["metadata"]["name"]
    assert "annotations" not in json.loads(environment[manifests.RESOURCE_VARIABLE])["metadata"]


def test_names_fit_however_long_the_resources_are() -> None:
    names = [
        manifests.job_name(backup(name="b" * 52)),
        manifests.job_name(restore(name="r" * 52)),
        manifests.prune_name(schedule(name="s" * 36), MOMENT),
        manifests.job_name(Backup.of(manifests.backup_of(schedule(name="s" * 36), MOMENT))),
    ]
    assert max(len(name) for name in names) <= 63


@pytest.mark.parametrize(
    ("storage", "variables"),
    [
        ("volume", set()),
        ("s3", {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}),
        ("gcs", {"GOOGLE_SERVICE_ACCOUNT_KEY"}),
        ("azure", {"AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"}),
    ],
)
def test_credentials_are_named_and_never_copied(storage: str, variables: set[str]) -> None:
    job = manifests.backup_job(backup(storage), TEMPLATE)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    named = {one["name"] for one in container["env"] if "secretKeyRef" in one.get("valueFrom", {})}
    assert named == variables


def test_an_identity_is_a_file_of_its_secret() -> None:
    job = manifests.restore_job(restore(), TEMPLATE)
    pod = job["spec"]["template"]["spec"]
    (secret,) = [one["secret"] for one in pod["volumes"] if "secret" in one]
    assert secret["secretName"] == "age"
    assert secret["items"] == [{"key": "key", "path": "identity"}]
    environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert environment[manifests.IDENTITY_VARIABLE] == "/identity/identity"


def test_a_schedules_backup_is_a_valid_backup_of_its_own_name_for_each_moment() -> None:
    made = Backup.of(manifests.backup_of(schedule(), MOMENT))
    assert made.metadata.name == "nightly-20261124030000"
    assert made.spec.storage == schedule().spec.storage
    assert made.spec.timeout_seconds == 600


def test_the_same_object_gets_the_same_backup_id_and_another_object_another() -> None:
    assert backup_id_of(backup()) == backup_id_of(backup("s3"))
    assert backup_id_of(backup()) != backup_id_of(backup(name="two"))
    assert backup_id_of(backup()).startswith("20261124t025900z-")


@pytest.mark.parametrize(
    ("storage", "url"),
    [
        ("volume", "/backups"),
        ("s3", "s3://rei-b/p"),
        ("gcs", "gs://rei-b"),
        ("azure", "az://bak"),
    ],
)
def test_where_backups_lie(storage: str, url: str) -> None:
    location = location_of(backup(storage).spec.storage)
    assert location.url == url
    if storage == "s3":
        assert location.options == {
            "region": "us-east-1",
            "endpoint": "http://minio:9000",
            "virtual_hosted_style_request": "false",
        }
    if storage == "azure":
        assert location.options == {"account_name": "reiacc"}


def test_a_bucket_in_the_hosts_name_is_in_the_endpoint() -> None:
    spec = backup("s3").spec.storage
    assert spec.s3 is not None
    hosted = spec.s3.model_copy(update={"path_style": False})
    options = location_of(spec.model_copy(update={"s3": hosted})).options
    assert options["endpoint"] == "http://rei-b.minio:9000"
    assert options["virtual_hosted_style_request"] == "true"
