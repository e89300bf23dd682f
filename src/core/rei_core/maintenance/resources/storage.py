"""Where backups lie, and how they are encrypted.

A Secret is named, never copied: its values appear in no resource, status or Event. Only the Job
that carries a backup out sees them, as its environment.
"""

from __future__ import annotations

import enum
from typing import Annotated, ClassVar

from pydantic import Field

from rei_core.maintenance.resources.base import LIST_SET, Fields, Rule, only_one_of

OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

Prefix = Annotated[
    str,
    Field(
        max_length=200,
        pattern=r"^([A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*)?$",
    ),
]


class SecretRef(Fields):
    """A Secret in the resource's own namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
    """The Secret's name."""


class VolumeStorage(Fields):
    """A volume of the cluster."""

    claim_name: Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
    """The PersistentVolumeClaim that is mounted. `rei run -f`, which needs no cluster, uses the
    folder `path` of its own machine."""
    path: Annotated[
        str, Field(min_length=1, max_length=200, pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$")
    ] = "/backups"
    """Where it is mounted, and so the folder that holds the backups."""


class S3Storage(Fields):
    """A bucket of Amazon S3 or of anything that speaks its language."""

    bucket: Annotated[
        str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]+[a-z0-9]$")
    ]
    """The bucket's name. It has to exist."""
    prefix: Prefix = ""
    """What the names of all objects begin with, such as rei/production."""
    region: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9-]+$")] = (
        "us-east-1"
    )
    """The bucket's region. Most of what is not Amazon takes any."""
    endpoint: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$",
        ),
    ] = None
    """The address of the service if it is not Amazon's, such as https://storage.yandexcloud.net.
    Never with a user or a password in it."""
    path_style: bool = False
    """True puts the bucket's name into the path instead of the host's name, as MinIO wants it."""
    secret_ref: SecretRef | None = None
    """A Secret with the keys `access-key-id` and `secret-access-key` (and `session-token`, if
    there is one). If not set, the pod's own identity is used."""


class GCSStorage(Fields):
    """A bucket of Google Cloud Storage."""

    bucket: Annotated[
        str, Field(min_length=3, max_length=222, pattern=r"^[a-z0-9][a-z0-9._-]+[a-z0-9]$")
    ]
    """The bucket's name. It has to exist."""
    prefix: Prefix = ""
    """What the names of all objects begin with, such as rei/production."""
    secret_ref: SecretRef | None = None
    """A Secret with the key `service-account.json`. If not set, the pod's own identity is used."""


class AzureStorage(Fields):
    """A container of Azure Blob Storage."""

    account: Annotated[str, Field(min_length=3, max_length=24, pattern=r"^[a-z0-9]+$")]
    """The storage account's name."""
    container: Annotated[
        str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    ]
    """The container's name. It has to exist."""
    prefix: Prefix = ""
    """What the names of all objects begin with, such as rei/production."""
    secret_ref: SecretRef | None = None
    """A Secret with the key `account-key` or `sas-token`. If not set, the pod's own identity is
    used."""


class Storage(Fields):
    """Where backups lie: exactly one of these places."""

    volume: VolumeStorage | None = None
    """A volume of the cluster. Choose one that does not lie where the database lies."""
    s3: S3Storage | None = None
    """A bucket of Amazon S3 or of anything that speaks its language (MinIO, Ceph, Yandex, …)."""
    gcs: GCSStorage | None = None
    """A bucket of Google Cloud Storage."""
    azure: AzureStorage | None = None
    """A container of Azure Blob Storage."""

    rules: ClassVar[tuple[Rule, ...]] = (only_one_of("volume", "s3", "gcs", "azure"),)


class IdentityRef(Fields):
    """The age identity, the secret half of a key pair, in a Secret of the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
    """The Secret's name."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = (
        "identity"
    )
    """The key in the Secret whose value is the identity (AGE-SECRET-KEY-1…)."""


Recipients = Annotated[
    tuple[Annotated[str, Field(max_length=62, pattern=r"^age1[02-9ac-hj-np-z]{58}$")], ...],
    Field(min_length=1, max_length=10, json_schema_extra=LIST_SET),
]


class Encryption(Fields):
    """Encryption at rest by age: anybody may write a backup, only the identity can read it."""

    recipients: Recipients
    """The public keys (age1…, as `age-keygen` prints them) that can read the backup. Any one of
    them is enough; keep one whose identity is not in this cluster."""
    identity_secret_ref: IdentityRef | None = None
    """The identity that belongs to one of the recipients. `verification: Restore` needs it to
    read the backup again; without it the cluster can write backups and never read one."""


class Verification(enum.StrEnum):
    """How it is made sure that a backup can be used."""

    NONE = "None"
    CHECKSUM = "Checksum"
    RESTORE = "Restore"


READABLE_AGAIN = Rule(
    "!has(self.encryption) || self.verification != 'Restore' "
    "|| has(self.encryption.identitySecretRef)",
    "verification Restore needs encryption.identitySecretRef: "
    "without the identity nothing can be read back",
    lambda spec: (
        spec.encryption is None
        or spec.verification is not Verification.RESTORE
        or spec.encryption.identity_secret_ref is not None
    ),
)
"""Only the identity can restore what is encrypted."""
