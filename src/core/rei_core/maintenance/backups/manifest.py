"""The manifest of a backup: what it is made of, and what the database was when it was taken.

Layout under the storage's location, version 1 of the format:

    <id>/<run>-000001.chunk …      4 MiB of `pg_dump -Fc` each: compressed, then perhaps encrypted
    <id>/manifest.json             written last: a backup is whole as soon as this is there
    <id>/verification.json         what a later verification found; may be missing

The manifest is plain, even if the chunks are encrypted: it holds counts and sums of the whole
database, nothing about a person. It carries its own checksum, so that a flipped digit in a sum is
found as surely as one in a chunk. Chunk names hold a random word of the run that wrote them: two
runs under one id (a Job that was started again while the old pod still lived) never mix.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from rei_core.maintenance.backups.errors import BackupUnreadable

FORMAT = "rei-backup"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
CHUNK_SUFFIX = ".chunk"
CHUNK_BYTES = 4 * 1024 * 1024
CHUNK_BYTES_MAX = 64 * 1024 * 1024
CHUNKS_MAX = 400_000
"""1.6 TB at 4 MiB each."""
ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


class Compression(enum.StrEnum):
    """How a chunk is compressed; each is a frame of its own."""

    ZSTD = "zstd"


class Encryption(enum.StrEnum):
    """How a chunk is encrypted, after it was compressed."""

    NONE = "none"
    AGE = "age"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One object with a piece of the dump. `sha256` is of the bytes as they are stored."""

    name: Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9]{6}\.chunk$")]
    stored_bytes: Size
    sha256: Sha256
    dump_bytes: Annotated[int, Field(gt=0, le=CHUNK_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """What the database held, all in the dump's own snapshot."""

    schema_revision: str
    row_counts: dict[str, Size]
    """By table, `public.jobs`."""
    account_kopecks: dict[str, int]
    """By account of the ledger; they add up to 0."""
    transfers_count: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole backup. `dump_sha256` is of the dump as pg_dump wrote it, before compression."""

    id: str
    created_at: AwareDatetime
    """The moment of the snapshot: what was committed later is not in the backup."""
    server_version: str
    tool_version: str
    compression: Compression
    encryption: Encryption
    recipients: tuple[str, ...]
    chunks: Annotated[tuple[Chunk, ...], Field(max_length=CHUNKS_MAX)]
    dump_bytes: Size
    dump_sha256: Sha256
    database: DatabaseFacts

    @property
    def stored_bytes(self) -> int:
        return sum(chunk.stored_bytes for chunk in self.chunks)


class VerificationMode(enum.StrEnum):
    """How thoroughly a backup is verified."""

    CHECKSUM = "checksum"
    """Every chunk is read again and compared with the manifest."""
    RESTORE = "restore"
    """It is restored into a scratch database, compared with the manifest, its ledger audited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the last verifications found. After one that failed, nothing counts any more."""

    manifest_sha256: Sha256
    """Of which manifest: a backup that was written anew under its id is not verified by this."""
    checksum_at: AwareDatetime | None = None
    restore_at: AwareDatetime | None = None
    failed_at: AwareDatetime | None = None
    problems: Annotated[tuple[str, ...], Field(max_length=100)] = field(default=())

    @property
    def verified(self) -> bool:
        """Whether a verification passed and none failed since."""
        return self.failed_at is None and bool(self.checksum_at or self.restore_at)

    @property
    def restored(self) -> bool:
        """Whether it was really restored, and no verification failed since."""
        return self.failed_at is None and self.restore_at is not None


def new_id(now: datetime) -> str:
    """An id that sorts by time and never comes twice: `20261124t155236z-5f0c91aa`."""
    return f"{now.astimezone(UTC):%Y%m%dt%H%M%Sz}-{secrets.token_hex(4)}"


def new_run() -> str:
    """The word by which one run's chunks are told from another's."""
    return secrets.token_hex(4)


def is_id(text: str) -> bool:
    """Whether this can be a backup's id; nothing else may become part of a path or a name."""
    return ID_PATTERN.fullmatch(text) is not None


def chunk_name(run: str, number: int) -> str:
    return f"{run}-{number:06d}{CHUNK_SUFFIX}"


def path_in(backup_id: str, name: str) -> str:
    """The path of one of a backup's objects."""
    assert is_id(backup_id), backup_id
    return f"{backup_id}/{name}"


_manifests = TypeAdapter(Manifest)
_verifications = TypeAdapter(Verification)


def write_manifest(manifest: Manifest) -> bytes:
    """The manifest as it is stored."""
    return _sealed("backup", _manifests.dump_python(manifest, mode="json"))


def read_manifest(backup_id: str, data: bytes) -> Manifest:
    """What `write_manifest` wrote for this id; raises `BackupUnreadable`."""
    try:
        manifest = _manifests.validate_json(json.dumps(_opened("backup", data)), strict=True)
    except (ValueError, ValidationError) as error:
        raise BackupUnreadable(backup_id, _first_line(error)) from error
    if manifest.id != backup_id:
        raise BackupUnreadable(backup_id, f"it is that of another backup, {manifest.id}")
    if sum(chunk.dump_bytes for chunk in manifest.chunks) != manifest.dump_bytes:
        raise BackupUnreadable(backup_id, "its chunks do not add up to the dump")
    return manifest


def manifest_sha256(data: bytes) -> str:
    """By which a verification names the manifest it is about."""
    return hashlib.sha256(data).hexdigest()


def write_verification(verification: Verification) -> bytes:
    """The verification as it is stored."""
    return _sealed("verification", _verifications.dump_python(verification, mode="json"))


def read_verification(data: bytes, *, of: str) -> Verification | None:
    """The verification of the manifest with the checksum `of`.

    None if it is about another one, or cannot be read: such a backup is simply not verified.
    """
    try:
        verification = _verifications.validate_json(
            json.dumps(_opened("verification", data)), strict=True
        )
    except (ValueError, ValidationError):
        return None
    return verification if verification.manifest_sha256 == of else None


def differences(expected: DatabaseFacts, found: DatabaseFacts) -> tuple[str, ...]:
    """In what a restored database differs from the one that was backed up, a sentence each."""
    pairs: list[tuple[str, Mapping[str, object], Mapping[str, object]]] = [
        (
            "the database's",
            {"schema revision": expected.schema_revision, "transfers": expected.transfers_count},
            {"schema revision": found.schema_revision, "transfers": found.transfers_count},
        ),
        ("the rows of", expected.row_counts, found.row_counts),
        ("the kopecks of account", expected.account_kopecks, found.account_kopecks),
    ]
    return tuple(
        f"{what} {name}: {theirs.get(name, 'none')} instead of {ours.get(name, 'none')}"
        for what, ours, theirs in pairs
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    )


def _sealed(kind: Literal["backup", "verification"], content: Any) -> bytes:
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "sha256": _checksum(content),
        kind: content,
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _opened(kind: Literal["backup", "verification"], data: bytes) -> Any:
    """What was sealed; raises ValueError with what is wrong."""
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("it is none of Rei's")
    if document.get("version") != FORMAT_VERSION:
        raise ValueError(f"it has format version {document.get('version')!r}")
    if document.get("sha256") != _checksum(document.get(kind)):
        raise ValueError("its own checksum is wrong")
    return document[kind]


def _checksum(content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"[:200]
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
