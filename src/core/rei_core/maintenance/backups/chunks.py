"""A piece of a dump on its way into a chunk and back: compressed, then perhaps encrypted.

Each chunk is a zstd frame of its own. So chunks are packed beside each other on several cores,
memory is bounded on both ways, and a damaged one is named without reading the others. Everything
here blocks and lets go of the interpreter's lock while it works: call it in a thread.
"""

from __future__ import annotations

import hashlib

import zstandard

from rei_core.maintenance.backups.encryption import Identities, Recipients
from rei_core.maintenance.backups.errors import BackupDamaged, DecryptionError
from rei_core.maintenance.backups.manifest import Chunk, Encryption

ZSTD_LEVEL = 1
"""Measured on one core: rows of the ledger shrink 3.2 times at 400 MB/s, pictures (hex digits in a
dump) 2.0 times at 1000 MB/s. Level 3 took twice and six times as long and saved nothing, gzip's 6
(pg_dump's own) twelve and thirty times as long."""


def pack(piece: bytes, *, recipients: Recipients | None) -> bytes:
    """A piece of the dump as it is stored."""
    packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(piece)
    return packed if recipients is None else recipients.encrypt(packed)


def described(name: str, piece: bytes, stored: bytes) -> Chunk:
    """What the manifest says about a chunk."""
    return Chunk(
        name=name,
        stored_bytes=len(stored),
        sha256=hashlib.sha256(stored).hexdigest(),
        dump_bytes=len(piece),
    )


def damage(chunk: Chunk, stored: bytes) -> str | None:
    """What is wrong with the stored bytes, None if they are as they were written."""
    if len(stored) != chunk.stored_bytes:
        return f"{chunk.name} has {len(stored)} bytes instead of {chunk.stored_bytes}"
    if hashlib.sha256(stored).hexdigest() != chunk.sha256:
        return f"{chunk.name} has other bytes than were written"
    return None


def unpack(
    backup_id: str,
    chunk: Chunk,
    stored: bytes,
    *,
    encryption: Encryption,
    identities: Identities | None,
) -> bytes:
    """The piece of the dump again; raises `BackupDamaged` and `DecryptionError`.

    Nothing is decrypted or decompressed that is not, byte for byte, what was written.
    """
    problem = damage(chunk, stored)
    if problem is not None:
        raise BackupDamaged(backup_id, (problem,))
    packed = stored
    if encryption is Encryption.AGE:
        if identities is None:
            raise DecryptionError(
                f"backup {backup_id} is encrypted",
                "Give the identity (secret key) of one of its recipients",
            )
        packed = identities.decrypt(stored)
    return _decompressed(backup_id, chunk, packed)


def _decompressed(backup_id: str, chunk: Chunk, packed: bytes) -> bytes:
    # The frame's own word about its size decides how much is allocated: ask before believing.
    try:
        if zstandard.frame_content_size(packed) == chunk.dump_bytes:
            return zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError:
        pass
    raise BackupDamaged(backup_id, (f"{chunk.name} does not unpack to what the manifest says",))
