"""Where backups lie: a folder, S3, Google Cloud Storage or Azure behind one small interface.

    /backups, file:///backups     a folder that exists (a mounted volume)
    s3://bucket/prefix            also every S3-compatible one, by the option `endpoint`
    gs://bucket/prefix
    az://container/prefix         with the option `account_name`
    memory:                       for tests; gone with the object

Guarantees: an object is whole or not there, and when `put` returns it would survive a power cut (in
a folder it is written through to the disk, which obstore by itself does not). Errors are
`StorageError`s that say what to do. Options hold secrets: they are never shown, not in `repr`, not
in errors. What is not given as an option is taken from the environment, as the vendors' own tools
do (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, …).

A folder is never made: if the volume is not mounted, a backup must fail, not fill the disk below.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore, from_url

from rei_core.errors import ConfigurationError
from rei_core.maintenance.backups.errors import (
    ObjectMissing,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageGone,
    told,
)

OBJECTS_MAX = 1_000_000
"""In one listing. A backup of a terabyte has about a tenth of that."""
SECRET_VARIABLE_PARTS = ("SECRET", "TOKEN", "KEY", "PASSWORD", "SAS")
VENDOR_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_")
CLOUD_SCHEMES = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl"})
STAGED = re.compile(r".+#[0-9]+")
"""A file in a folder which obstore has not given its name yet. It neither lists nor deletes such a one:
what a killed writer left would lie there for ever."""
CONNECT_SECONDS_MAX = 10
REQUEST_SECONDS_MAX = 300
"""For one chunk, also over a slow line: 4 MiB in that time are 14 kB/s."""


@dataclass(frozen=True, slots=True)
class StorageLocation:
    """A place for backups. `options` are obstore's (`endpoint`, `region`, `access_key_id`, …)."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    retry_seconds: float = 60
    """How long a request is tried again while the storage cannot be reached or is overloaded."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing tells it. `path` is relative to the location."""

    path: str
    size_bytes: int
    modified_at: datetime


class Storage(Protocol):
    """What backups need of a storage. Paths are relative, with `/` between their parts."""

    @property
    def where(self) -> str:
        """The location as people may read it, in logs and errors."""
        ...

    async def put(self, path: str, data: bytes) -> None:
        """Store an object for good, replacing one of that path."""
        ...

    async def get(self, path: str) -> bytes:
        """An object's bytes; raises `ObjectMissing`."""
        ...

    async def delete(self, path: str) -> None:
        """Remove an object; one that is not there is as good as removed."""
        ...

    async def folders(self) -> list[str]:
        """The first parts of all paths, sorted."""
        ...

    async def objects(self, folder: str) -> list[StoredObject]:
        """All objects whose path begins with `folder/`, half-written ones among them."""
        ...


def open_storage(location: StorageLocation) -> Storage:
    """The storage at a location; raises `ConfigurationError` and `StorageGone` for a wrong one.

    Whether a bucket is there and lets us in shows with the first request only.
    """
    where, secrets = shown(location.url), _secrets(location)
    if location.url == "memory:":
        return ObjectStorage(MemoryStore(), where=where, secrets=secrets)
    path = _folder_of(location.url)
    if path is not None:
        if not path.is_dir():
            raise StorageGone(
                where=where,
                operation="use it",
                said="no such folder",
                remedy="Make it, or mount the volume that belongs there",
            )
        # Else the folder of each backup that was deleted would stay, and be listed for ever.
        local = LocalStore(path, automatic_cleanup=True)
        return ObjectStorage(local, where=where, secrets=secrets, folder=path)
    try:
        store = from_url(
            location.url,
            config=cast("Any", dict(location.options)),
            client_options=cast("Any", _client_options(location)),
            retry_config={
                "max_retries": 10,
                "retry_timeout": timedelta(seconds=location.retry_seconds),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
        )
    except (BaseError, ValueError) as error:
        raise ConfigurationError(
            f"the storage {where}",
            _said(error, secrets),
            "Check the address and the storage's options",
        ) from None  # the original holds the address and the options, so perhaps secrets
    return ObjectStorage(cast("Any", store), where=where, secrets=secrets)


def shown(url: str) -> str:
    """A location without what could be secret in it: a user, a password, a query."""
    if url.startswith("/") or "://" not in url:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _folder_of(url: str) -> Path | None:
    """The folder that a location names; None if it is one of the cloud's."""
    if url.startswith("file://"):
        return Path(urlsplit(url).path)
    scheme, colon, _ = url.partition("://")
    if not colon:
        return Path(url).absolute()
    if scheme not in CLOUD_SCHEMES:
        raise ConfigurationError(
            f"the storage {shown(url)}",
            f"no storage is called {scheme!r}",
            "Use a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
        )
    return None


def _client_options(location: StorageLocation) -> dict[str, object]:
    endpoint = location.options.get("endpoint", "") or os.environ.get("AWS_ENDPOINT_URL", "")
    return {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS_MAX),
        "timeout": timedelta(seconds=REQUEST_SECONDS_MAX),
        "allow_http": endpoint.startswith("http://"),  # a service of the same cluster, by choice
    }


def _secrets(location: StorageLocation) -> tuple[str, ...]:
    """All that must not appear in a text: options, and what the vendors' variables hold."""
    given = (
        value
        for name, value in location.options.items()
        if any(part in name.upper() for part in SECRET_VARIABLE_PARTS)
    )
    environment = (
        value
        for name, value in os.environ.items()
        if name.startswith(VENDOR_PREFIXES) and any(part in name for part in SECRET_VARIABLE_PARTS)
    )
    return (*given, *environment)


def _said(error: Exception, secrets: tuple[str, ...]) -> str:
    # What follows is the library's own inside, many lines of it.
    return told(str(error).partition("\n\nDebug source:")[0], secrets=secrets)


class ObjectStorage:
    """A `Storage` on obstore."""

    def __init__(
        self,
        store: obstore.store.ObjectStore,
        *,
        where: str,
        secrets: tuple[str, ...] = (),
        folder: Path | None = None,
    ) -> None:
        self._store = store
        self._where = where
        self._secrets = secrets
        self._folder = folder

    def __repr__(self) -> str:
        return f"ObjectStorage({self._where!r})"

    @property
    def where(self) -> str:
        return self._where

    async def put(self, path: str, data: bytes) -> None:
        with self._naming(f"write {path}"):
            # In one request: parts of an upload that was cut off would lie there unseen, and cost.
            await obstore.put_async(self._store, path, data, use_multipart=False)
            if self._folder is not None:
                await asyncio.to_thread(_write_through, self._folder, path)

    async def get(self, path: str) -> bytes:
        with self._naming(f"read {path}"):
            answer = await obstore.get_async(self._store, path)
            return (await answer.bytes_async()).to_bytes()

    async def delete(self, path: str) -> None:
        try:
            with self._naming(f"delete {path}"):
                if self._folder is not None and STAGED.fullmatch(path):
                    await asyncio.to_thread(_delete_staged, self._folder, path)
                    return
                await obstore.delete_async(self._store, path)
        except ObjectMissing:
            return

    async def folders(self) -> list[str]:
        with self._naming("list it"):
            listed = await obstore.list_with_delimiter_async(self._store)
        return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in listed["common_prefixes"])

    async def objects(self, folder: str) -> list[StoredObject]:
        found: list[StoredObject] = []
        with self._naming(f"list {folder}"):
            async for page in obstore.list(self._store, folder, chunk_size=1000):
                found.extend(
                    StoredObject(meta["path"], meta["size"], meta["last_modified"]) for meta in page
                )
                if len(found) > OBJECTS_MAX:
                    raise StorageError(
                        where=self._where,
                        operation=f"list {folder}",
                        said=f"more than {OBJECTS_MAX} objects",
                        remedy="Nothing of Rei's makes so many: look what does",
                    )
            if self._folder is not None:
                found.extend(await asyncio.to_thread(_staged, self._folder, folder))
        return found

    @contextmanager
    def _naming(self, operation: str) -> Iterator[None]:
        """Turn what obstore raises into our errors."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise self._error(operation, error) from None  # its text may hold options, see `_said`

    def _error(self, operation: str, error: Exception) -> StorageError:
        kind, remedy = _kind_of(error)
        if kind is ObjectMissing and self._folder is not None and not self._folder.is_dir():
            kind, remedy = StorageGone, "Is the volume still mounted?"
        said = _said(error, self._secrets)
        return kind(where=self._where, operation=operation, said=said, remedy=remedy)


# In the order they are looked for: what the storages say, as far as it does not come as a class.
SIGNS: tuple[tuple[str, type[StorageError], str], ...] = (
    ("No space left", StorageFull, "Make room, or let the retention delete more"),
    ("Disk quota exceeded", StorageFull, "Raise the quota, or let the retention delete more"),
    ("QuotaExceeded", StorageFull, "Raise the quota, or let the retention delete more"),
    ("NoSuchBucket", StorageGone, "Make the bucket, or correct its name"),
    ("ContainerNotFound", StorageGone, "Make the container, or correct its name"),
    ("bucket does not exist", StorageGone, "Make the bucket, or correct its name"),
    ("error sending request", StorageGone, "Is the endpoint right, and reachable from here?"),
    ("operation timed out", StorageGone, "Is the endpoint right, and reachable from here?"),
    ("InvalidAccessKeyId", StorageDenied, "Check the storage's credentials"),
    ("SignatureDoesNotMatch", StorageDenied, "Check the storage's credentials"),
    ("AccessDenied", StorageDenied, "Let these credentials read, write, list and delete there"),
    ("Permission denied", StorageDenied, "Let this user read and write there"),
    ("Read-only file system", StorageDenied, "Mount the volume so that it can be written"),
)


def _kind_of(error: Exception) -> tuple[type[StorageError], str]:
    """Which of our errors this is, and what to do about it."""
    if isinstance(error, UnauthenticatedError | PermissionDeniedError):
        return StorageDenied, "Check the storage's credentials, and what they are allowed to do"
    text = str(error)
    for sign, kind, remedy in SIGNS:
        if sign in text:
            return kind, remedy
    if isinstance(error, FileNotFoundError):
        return ObjectMissing, "Somebody has deleted it, or it was never written"
    return StorageError, "Try again; if it stays, ask the storage's keeper"


def _staged(top: Path, folder: str) -> list[StoredObject]:
    """What is being written below a folder, or was when its writer was killed."""
    found = []
    for file in (top / folder).glob("*#*"):
        with suppress(FileNotFoundError):  # it has got its name meanwhile
            if STAGED.fullmatch(file.name):
                known = file.stat()
                written_at = datetime.fromtimestamp(known.st_mtime, UTC)
                found.append(StoredObject(f"{folder}/{file.name}", known.st_size, written_at))
    return found


def _delete_staged(top: Path, path: str) -> None:
    file = top / path
    file.unlink(missing_ok=True)
    with suppress(OSError):  # as obstore does it: the last one takes the folder with it
        file.parent.rmdir()


def _write_through(folder: Path, path: str) -> None:
    """fsync the file, and the folders it lies in up to the top."""
    file = folder / path
    inner = [holder for holder in file.parents if folder in holder.parents]
    for one in (file, *inner, folder):
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
