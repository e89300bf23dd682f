"""From a file to resources that can be carried out without a cluster.

An error names the file, the document, the field and what to do; nothing of the file is carried out
then. What only a cluster can resolve (a Backup's name, a Secret) is refused here, before anything
has happened.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from rei_core.errors import ReiError
from rei_core.maintenance.resources import Backup, BackupSchedule, Resource, Restore, UserBan
from rei_core.maintenance.resources.manifest import CHARACTERS_MAX, ManifestError, load_numbered
from rei_core.maintenance.resources.storage import Encryption, Verification
from rei_operator.by_hand.model import Document

STDIN: Final = "-"
BYTES_MAX: Final = 4 * CHARACTERS_MAX


class FileError(ReiError):
    """The file cannot be used; names it."""

    def __init__(self, file: str, problem: str) -> None:
        self.file = file
        super().__init__(f"{'stdin' if file == STDIN else file}: {problem}")


def load_file(file: str) -> list[tuple[int, Resource]]:
    """The resources of a file, or of stdin, with their numbers; raises `FileError`."""
    try:
        return load_numbered(_text(file))
    except ManifestError as error:
        raise FileError(file, str(error)) from None


def read(file: str, *, with_identity: bool, delete: bool) -> list[Document]:
    """The documents of a file, or of stdin; raises `FileError`."""
    try:
        found = [Document(*numbered) for numbered in load_file(file)]
        for document in found:
            if delete:
                _require_deletable(document)
            else:
                _require_no_cluster(document, with_identity=with_identity)
    except ManifestError as error:
        raise FileError(file, str(error)) from None
    return found


def _text(file: str) -> str:
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(BYTES_MAX + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise FileError(file, f"cannot be read: {error.strerror or type(error).__name__}") from None
    if len(data) > BYTES_MAX:
        raise FileError(file, f"has more than {BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FileError(file, "is no text in UTF-8") from None


def _require_deletable(document: Document) -> None:
    if not isinstance(document.resource, UserBan):
        raise ManifestError(
            f"--delete lifts a UserBan; a {document.resource.kind} that was run leaves nothing "
            "that could be deleted",
            document=document.number,
            path="kind",
        )


def _require_no_cluster(document: Document, *, with_identity: bool) -> None:
    match document.resource:
        case Restore(spec=spec) if spec.backup_ref is not None:
            raise ManifestError(
                "names a Backup of a cluster; without one, give spec.stored with the storage and "
                "the id that `rei backups list` shows",
                document=document.number,
                path="spec.backupRef",
            )
        case Backup(spec=spec) | BackupSchedule(spec=spec) if not with_identity:
            _require_readable_again(document.number, spec.encryption, spec.verification)


def _require_readable_again(
    number: int, encryption: Encryption | None, verification: Verification
) -> None:
    if encryption is not None and verification is Verification.RESTORE:
        raise ManifestError(
            "verification Restore of an encrypted backup needs the identity, and a Secret cannot "
            "be read without a cluster: give --identity FILE, or verification: Checksum",
            document=number,
            path="spec.encryption.identitySecretRef",
        )


def asks_yookassa(resource: Resource) -> bool:
    """Whether its work asks YooKassa, and so needs the shop's settings."""
    if isinstance(resource, Restore):
        return resource.spec.in_place is not None
    return resource.kind == "PaymentReconciliation"
