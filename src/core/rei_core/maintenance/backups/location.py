"""From a resource's `storage` to the place itself. What the options do not say, and every credential,
comes from the environment (the Job's is filled from the resource's Secret) or the pod's identity."""

from __future__ import annotations

from rei_core.maintenance.backups.storage import StorageLocation
from rei_core.maintenance.resources.storage import S3Storage, Storage


def location_of(storage: Storage) -> StorageLocation:
    """The place that a resource's `storage` means."""
    if storage.volume is not None:
        return StorageLocation(storage.volume.path)
    if storage.s3 is not None:
        return _s3(storage.s3)
    if storage.gcs is not None:
        return StorageLocation(_url("gs", storage.gcs.bucket, storage.gcs.prefix))
    azure = storage.azure
    assert azure is not None, "a rule of the resource: exactly one of them"
    url = _url("az", azure.container, azure.prefix)
    return StorageLocation(url, {"account_name": azure.account})


def _s3(s3: S3Storage) -> StorageLocation:
    options = {
        "region": s3.region,
        "virtual_hosted_style_request": str(not s3.path_style).lower(),
    }
    if s3.endpoint is not None:
        options["endpoint"] = s3.endpoint if s3.path_style else _with_bucket(s3.endpoint, s3.bucket)
    return StorageLocation(_url("s3", s3.bucket, s3.prefix), options)


def _with_bucket(endpoint: str, bucket: str) -> str:
    # obstore takes an endpoint as it is: who wants the bucket in the host's name has to put it there.
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{bucket}.{rest}"


def _url(scheme: str, place: str, prefix: str) -> str:
    return f"{scheme}://{place}/{prefix}".rstrip("/")
