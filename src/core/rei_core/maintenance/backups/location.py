"""From a resource's `storage` to the place itself. The keys of its Secret are those that the custom
resources document; what is not given comes from the environment or the pod's own identity."""

from __future__ import annotations

from collections.abc import Mapping

from rei_core.maintenance.backups.storage import StorageLocation
from rei_core.maintenance.resources.storage import AzureStorage, GCSStorage, S3Storage, Storage

# The Secret's keys, and what obstore calls them.
S3_SECRET = {
    "access-key-id": "access_key_id",
    "secret-access-key": "secret_access_key",
    "session-token": "session_token",
}
GCS_SECRET = {"service-account.json": "service_account_key"}
AZURE_SECRET = {"account-key": "account_key", "sas-token": "sas_token"}


def location_of(storage: Storage, *, secret: Mapping[str, str] | None = None) -> StorageLocation:
    """The place that a resource's `storage` means; `secret` holds the values of its Secret."""
    values = secret or {}
    if storage.volume is not None:
        return StorageLocation(storage.volume.path)
    if storage.s3 is not None:
        return _s3(storage.s3, values)
    if storage.gcs is not None:
        return _gcs(storage.gcs, values)
    assert storage.azure is not None, "a rule of the resource: exactly one of them"
    return _azure(storage.azure, values)


def _s3(s3: S3Storage, secret: Mapping[str, str]) -> StorageLocation:
    options = {"region": s3.region, **_renamed(secret, S3_SECRET)}
    if not s3.path_style:
        options["virtual_hosted_style_request"] = "true"
    if s3.endpoint is not None:
        options["endpoint"] = s3.endpoint if s3.path_style else _with_bucket(s3.endpoint, s3.bucket)
    return StorageLocation(_url("s3", s3.bucket, s3.prefix), options)


def _with_bucket(endpoint: str, bucket: str) -> str:
    # obstore takes an endpoint as it is: who wants the bucket in the host's name has to put it there.
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{bucket}.{rest}"


def _gcs(gcs: GCSStorage, secret: Mapping[str, str]) -> StorageLocation:
    return StorageLocation(_url("gs", gcs.bucket, gcs.prefix), _renamed(secret, GCS_SECRET))


def _azure(azure: AzureStorage, secret: Mapping[str, str]) -> StorageLocation:
    options = {"account_name": azure.account, **_renamed(secret, AZURE_SECRET)}
    return StorageLocation(_url("az", azure.container, azure.prefix), options)


def _url(scheme: str, place: str, prefix: str) -> str:
    return f"{scheme}://{place}/{prefix}" if prefix else f"{scheme}://{place}"


def _renamed(secret: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {names[key]: value for key, value in secret.items() if key in names}
