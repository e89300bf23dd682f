"""A file with a mistake in it: what is wrong, where, what to do; and nothing is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rei_operator.by_hand.reading import BYTES_MAX, FileError, read

from .conftest import Json, manifest
from .test_money_and_bans import adjustment

VOLUME = {"volume": {"claimName": "backups", "path": "/backups"}}
SEALED: Json = {
    "storage": VOLUME,
    "encryption": {"recipients": ["age1" + "q" * 58], "identitySecretRef": {"name": "s"}},
}
GOOD = adjustment()


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (
            [GOOD, manifest("UserBan", userID="x", reason="r")],
            "document 2, spec.userID: must be a whole number",
        ),
        (
            [GOOD, manifest("UserBann", userID=1, reason="r")],
            "document 2, kind: UserBann is not known here; did you mean UserBan?",
        ),
        (
            [manifest("LedgerAudit", scedule="0 3 * * *")],
            "document 1, spec.scedule: there is no such field; did you mean schedule?",
        ),
        (
            [manifest("Restore", backupRef={"name": "b"}, targetDatabase="rei_look")],
            "document 1, spec.backupRef: names a Backup of a cluster; without one, give spec.stored",
        ),
        (
            [manifest("Backup", **SEALED)],
            "spec.encryption.identitySecretRef: verification Restore of an encrypted backup needs",
        ),
        (
            [GOOD, manifest("BackupSchedule", schedule="0 3 * * *", **SEALED)],
            "document 2, spec.encryption.identitySecretRef",
        ),
        ("", "document 1: there is no resource in it"),
        ("a: [", "document 1: is no YAML, line"),
        ("---\n---\nkind: UserBan\n", "document 2, apiVersion: is missing"),
        ("# " + "x" * BYTES_MAX, "has more than"),
    ],
)
def test_the_mistake_is_named(tmp_path: Path, documents: list[Json] | str, said: str) -> None:
    file = tmp_path / "manifest.yaml"
    text = documents if isinstance(documents, str) else yaml.safe_dump_all(documents)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FileError) as wrong:
        read(str(file), with_identity=False, delete=False)
    assert str(wrong.value).startswith(f"{file}: ")
    assert said in str(wrong.value)


def test_what_cannot_be_deleted_and_what_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    with pytest.raises(FileError, match="document 1, kind: --delete lifts a UserBan"):
        read(str(file), with_identity=False, delete=True)
    with pytest.raises(FileError, match="cannot be read: No such file"):
        read(str(tmp_path / "none.yaml"), with_identity=False, delete=False)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="is no text in UTF-8"):
        read(str(file), with_identity=False, delete=False)
