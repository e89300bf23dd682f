"""The objects that the operator makes, as pure functions of a resource.

A Job's name is derived from its resource's, so a second call finds the first Job. Secrets are
named in it, never copied: the settings come from a Secret by `envFrom`, a storage's credentials
and an age identity from the Secrets that the resource names. It needs nothing of the API server,
so its pod gets no token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rei_core.maintenance.resources import (
    API_VERSION,
    GROUP,
    Backup,
    BackupSchedule,
    Resource,
    Restore,
)
from rei_core.maintenance.resources.storage import IdentityRef, Storage

Json = dict[str, Any]

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "rei-operator"
OWNER_KIND: Final = f"{GROUP}/owner-kind"
OWNER_NAME: Final = f"{GROUP}/owner-name"
RESOURCE_VARIABLE: Final = "REI_JOB_RESOURCE"
IDENTITY_VARIABLE: Final = "REI_JOB_IDENTITY_FILE"
IDENTITY_FOLDER: Final = "/identity"
FAILED_FOR_GOOD: Final = 3
"""The exit code of a Job that has written down why it failed: trying again would find that."""
BACKOFF_LIMIT: Final = 4
FINISHED_JOB_SECONDS: Final = 86_400
USER_ID: Final = 10_001


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTemplate:
    """What all Jobs have in common, from the operator's settings."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    settings_secret: str
    """The Secret whose keys become the Job's environment (REI_DATABASE_URL, YOOKASSA_…)."""
    database_url_key: str | None = None
    """If given, only this key of the Secret is taken, as REI_DATABASE_URL: other operators call it
    by names of their own (CloudNativePG's is "uri")."""
    memory_limit: str = "512Mi"
    cpu_request: str = "100m"
    node_selector: dict[str, str] = field(default_factory=dict)


def job_name(resource: Resource, suffix: str = "") -> str:
    """The name of a resource's Job: `backup-nightly`, `restore-x`, `prune-nightly-1764000000`."""
    return f"{resource.kind.lower()}-{resource.metadata.name}{suffix}"


def backup_job(backup: Backup, template: JobTemplate) -> Json:
    """The Job that takes and verifies a backup."""
    identity = backup.spec.encryption.identity_secret_ref if backup.spec.encryption else None
    return _job(
        backup,
        template,
        name=job_name(backup),
        word="backup",
        storage=backup.spec.storage,
        identity=identity,
        seconds_max=backup.spec.timeout_seconds,
    )


def restore_job(restore: Restore, template: JobTemplate) -> Json:
    """The Job that restores. The backup must be named by its storage: see `resolved`."""
    assert restore.spec.stored is not None
    return _job(
        restore,
        template,
        name=job_name(restore),
        word="restore",
        storage=restore.spec.stored.storage,
        identity=restore.spec.identity_secret_ref,
        seconds_max=restore.spec.timeout_seconds,
    )


def prune_job(schedule: BackupSchedule, template: JobTemplate, *, moment: datetime) -> Json:
    """The Job that deletes old backups after the backup of `moment`, and counts those there are."""
    return _job(
        schedule,
        template,
        name=prune_name(schedule, moment),
        word="prune",
        storage=schedule.spec.storage,
        identity=None,
        seconds_max=schedule.spec.timeout_seconds,
        moment=moment,
    )


def prune_name(schedule: BackupSchedule, moment: datetime) -> str:
    """Its name fits 63 characters: a schedule's has 36 at most."""
    return f"prune-{schedule.metadata.name}-{int(moment.timestamp())}"


def backup_of(schedule: BackupSchedule, moment: datetime) -> Json:
    """The Backup that a schedule makes for a moment."""
    spec = schedule.spec
    wanted: Json = {
        "storage": spec.storage.document(),
        "verification": spec.verification.value,
        "timeoutSeconds": spec.timeout_seconds,
    }
    if spec.encryption is not None:
        wanted["encryption"] = spec.encryption.document()
    return {
        "apiVersion": API_VERSION,
        "kind": "Backup",
        "metadata": _metadata(schedule, backup_name(schedule, moment)),
        "spec": wanted,
    }


def backup_name(schedule: BackupSchedule, moment: datetime) -> str:
    """The Backup's name: the schedule's and the moment, which a run has only one of."""
    return f"{schedule.metadata.name}-{moment.astimezone(UTC):%Y%m%d%H%M%S}"


def resolved(restore: Restore, stored: Json) -> Restore:
    """The same with the backup named by storage and id, so that the Job need not ask anybody."""
    document = restore.document()
    document["spec"].pop("backupRef", None)
    document["spec"]["stored"] = stored
    return Restore.of(document)


def _metadata(owner: Resource, name: str) -> Json:
    return {
        "name": name,
        "namespace": owner.metadata.namespace,
        "labels": {
            MANAGED_BY: MANAGER,
            OWNER_KIND: owner.kind,
            # A label's value has 63 characters, and so have these names by their own rule.
            OWNER_NAME: owner.metadata.name[:63],
        },
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": owner.kind,
                "name": owner.metadata.name,
                "uid": owner.metadata.uid,
                "controller": True,
                # Not blockOwnerDeletion: deleting the owner never waits for a Job.
                "blockOwnerDeletion": False,
            }
        ],
    }


def _job(
    resource: Resource,
    template: JobTemplate,
    *,
    name: str,
    word: str,
    storage: Storage,
    identity: IdentityRef | None,
    seconds_max: int,
    moment: datetime | None = None,
) -> Json:
    metadata = _metadata(resource, name)
    container = _container(resource, template, word=word, storage=storage, moment=moment)
    volumes: list[Json] = [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}]
    mounts: list[Json] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - the pod's own
    if storage.volume is not None:
        claim = {"claimName": storage.volume.claim_name}
        volumes.append({"name": "backups", "persistentVolumeClaim": claim})
        mounts.append({"name": "backups", "mountPath": storage.volume.path})
    if identity is not None:
        items = [{"key": identity.key, "path": "identity"}]
        secret = {"secretName": identity.name, "items": items, "defaultMode": 0o440}
        volumes.append({"name": "identity", "secret": secret})
        mounts.append({"name": "identity", "mountPath": IDENTITY_FOLDER, "readOnly": True})
        path = f"{IDENTITY_FOLDER}/identity"
        container["env"].append({"name": IDENTITY_VARIABLE, "value": path})
    container["volumeMounts"] = mounts
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    if template.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in template.pull_secrets]
    if template.node_selector:
        pod["nodeSelector"] = template.node_selector
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": BACKOFF_LIMIT,
            "activeDeadlineSeconds": seconds_max,
            "ttlSecondsAfterFinished": FINISHED_JOB_SECONDS,
            "podFailurePolicy": {
                "rules": [
                    # A node that is drained is nobody's failure.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "rei",
                            "operator": "In",
                            "values": [FAILED_FOR_GOOD],
                        },
                    },
                ]
            },
            "template": {"metadata": {"labels": metadata["labels"]}, "spec": pod},
        },
    }


def _container(
    resource: Resource,
    template: JobTemplate,
    *,
    word: str,
    storage: Storage,
    moment: datetime | None,
) -> Json:
    document = resource.document()
    document.pop("status", None)
    document["metadata"] = {
        name: value
        for name, value in document["metadata"].items()
        if name in ("name", "namespace", "uid", "creationTimestamp", "generation")
    }
    arguments = ["rei", "maintenance-job", word]
    if moment is not None:
        arguments += ["--moment", moment.isoformat()]
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return {
        "name": "rei",
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "args": arguments,
        **_settings(template),
        "env": [
            {"name": RESOURCE_VARIABLE, "value": text},
            *_database_url(template),
            *_credentials(storage),
        ],
        "resources": {
            "requests": {"cpu": template.cpu_request, "memory": "128Mi"},
            "limits": {"memory": template.memory_limit},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _settings(template: JobTemplate) -> Json:
    if template.database_url_key is not None:
        return {}
    return {"envFrom": [{"secretRef": {"name": template.settings_secret}}]}


def _database_url(template: JobTemplate) -> list[Json]:
    if template.database_url_key is None:
        return []
    return [_from_secret("REI_DATABASE_URL", template.settings_secret, template.database_url_key)]


def _credentials(storage: Storage) -> list[Json]:
    """The keys of the storage's Secret as the variables that the vendors' own tools read."""
    if storage.s3 is not None and storage.s3.secret_ref is not None:
        name = storage.s3.secret_ref.name
        return [
            _from_secret("AWS_ACCESS_KEY_ID", name, "access-key-id"),
            _from_secret("AWS_SECRET_ACCESS_KEY", name, "secret-access-key"),
            _from_secret("AWS_SESSION_TOKEN", name, "session-token", optional=True),
        ]
    if storage.gcs is not None and storage.gcs.secret_ref is not None:
        name = storage.gcs.secret_ref.name
        return [_from_secret("GOOGLE_SERVICE_ACCOUNT_KEY", name, "service-account.json")]
    if storage.azure is not None and storage.azure.secret_ref is not None:
        name = storage.azure.secret_ref.name
        return [
            _from_secret("AZURE_STORAGE_ACCOUNT_KEY", name, "account-key", optional=True),
            _from_secret("AZURE_STORAGE_SAS_TOKEN", name, "sas-token", optional=True),
        ]
    return []


def _from_secret(variable: str, secret: str, key: str, *, optional: bool = False) -> Json:
    reference: Json = {"name": secret, "key": key}
    if optional:
        reference["optional"] = True
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}
