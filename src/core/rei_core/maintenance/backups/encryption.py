"""Encryption of chunks with age (https://age-encryption.org), chunk by chunk.

Each chunk is an age file of its own: about 200 bytes more, and memory stays bounded (pyrage's
streaming would hold a thread for the whole length of the dump). Who has only the recipients, as the
process that backs up, can encrypt and never decrypt. age hides and does not sign: who may write to
the storage can put a whole backup of his own there, so write access to it has to stay narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyrage

from rei_core.errors import ConfigurationError
from rei_core.maintenance.backups.errors import DecryptionError

RECIPIENTS_MAX = 20
IDENTITIES_MAX = 100
IDENTITY_FILE_BYTES_MAX = 100_000


class Recipients:
    """For whom backups are encrypted: public keys `age1…`, which are no secret."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not 0 < len(keys) <= RECIPIENTS_MAX:
            raise ConfigurationError(
                "the backup's recipients", f"{len(keys)} of them", f"Give 1 to {RECIPIENTS_MAX}"
            )
        self.keys = tuple(keys)
        self._recipients = [_recipient(key) for key in keys]

    def encrypt(self, data: bytes) -> bytes:
        """The data as an age file. Blocks: call it in a thread."""
        encrypted: bytes = pyrage.encrypt(data, self._recipients)
        return encrypted


class Identities:
    """The secret keys of an identity file, as `age-keygen` writes it."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        if not 0 < len(keys) <= IDENTITIES_MAX:
            raise ConfigurationError(
                "the backup's identity",
                f"{len(keys)} keys in it",
                "Give what `age-keygen` wrote: a line AGE-SECRET-KEY-1…",
            )
        self._identities = [_identity(key) for key in keys]

    def __repr__(self) -> str:
        return f"Identities({len(self._identities)} keys)"

    @classmethod
    def of_file(cls, path: Path) -> Identities:
        """Read an identity file; raises `ConfigurationError`."""
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(IDENTITY_FILE_BYTES_MAX)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                "the backup's identity", f"{path}: {type(error).__name__}", "Name a readable file"
            ) from None
        return cls(text)

    def decrypt(self, data: bytes) -> bytes:
        """What was encrypted; raises `DecryptionError`. Blocks: call it in a thread."""
        try:
            decrypted: bytes = pyrage.decrypt(data, self._identities)
        except pyrage.DecryptError as error:
            raise DecryptionError(
                "the identity given does not open this backup",
                "Use the identity of one of the recipients that its manifest names",
            ) from error
        return decrypted


def _recipient(key: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError:
        raise ConfigurationError(
            "the backup's recipients",
            # Somebody may have taken the secret key for the public one: it must not be repeated.
            "one is no age public key",
            "It begins with age1; `age-keygen -y FILE` prints it",
        ) from None


def _identity(key: str) -> Any:
    try:
        return pyrage.x25519.Identity.from_str(key)
    except pyrage.IdentityError:
        raise ConfigurationError(
            "the backup's identity",
            "a line of it is no age secret key",
            "Give what `age-keygen` wrote: a line AGE-SECRET-KEY-1…",
        ) from None
