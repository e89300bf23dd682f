"""Taking a backup: pg_dump → compression → encryption → storage, as a stream.

Guarantees. The manifest is written last, when pg_dump has ended well and every chunk is stored: a
backup that has a manifest is whole. Ended anywhere before, by an error or by kill -9, it has none,
`list` shows it as unfinished, and the retention removes it. Asked again under the same id, a
finished backup is returned as it is, so a Job that is started twice backs up once.

Memory is bounded whatever the database's size: at most `PACKED_AT_ONCE` chunks are packed and
uploaded at a time, and pg_dump waits while they are.

Dangers. pg_dump holds a snapshot for its whole run, so vacuum removes nothing meanwhile, and a
migration waits for its locks (pg_dump for the migration's: at most `LOCK_WAIT_SECONDS_MAX`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from rei_core.maintenance.backups import chunks, snapshot, tools
from rei_core.maintenance.backups.encryption import Recipients
from rei_core.maintenance.backups.errors import BackupError, DatabaseUnfit, ToolFailed
from rei_core.maintenance.backups.failpoints import reach
from rei_core.maintenance.backups.listing import find_manifest
from rei_core.maintenance.backups.manifest import (
    CHUNK_BYTES,
    CHUNKS_MAX,
    MANIFEST,
    Chunk,
    Compression,
    Encryption,
    Manifest,
    chunk_name,
    new_run,
    path_in,
    write_manifest,
)
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.tools import Running, Server

logger = structlog.get_logger(__name__)

PACKED_AT_ONCE = 3
LOCK_WAIT_SECONDS_MAX = 60
STALL_SECONDS_MAX = 1800.0
"""How long pg_dump may take for one chunk: long where it reads a table that is nearly all bloat."""
CLEAN_SECONDS_MAX = 30.0
# Uncompressed, since the chunks are compressed here, on another core and with a better method.
DUMP_ARGUMENTS = ("--format=custom", "--compress=0", "--no-password")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a dump, or its way back, has come. `expected_bytes` is a guess, or None."""

    dump_bytes: int
    stored_bytes: int
    expected_bytes: int | None


OnProgress = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Tell nobody."""
    del progress


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """How a backup is taken."""

    id: str
    recipients: Recipients | None = None
    """None: not encrypted."""
    tools_folder: Path | None = None
    """Where pg_dump is; None: in PATH."""
    chunk_bytes: int = CHUNK_BYTES


async def back_up(
    *,
    database_url: str,
    storage: Storage,
    options: BackupOptions,
    on_progress: OnProgress = silent,
) -> Manifest:
    """Back the database up; return the manifest of the whole backup. Raises `BackupError`."""
    known = await find_manifest(storage, options.id)
    if known is not None:
        return known
    server = tools.server_of(database_url)
    upload = _Upload(storage, options, on_progress)
    try:
        manifest = await _dump(database_url, server, upload)
    except BaseException as error:
        await upload.undo()
        logger.warning("backup.failed", backup_id=options.id, error=type(error).__name__)
        raise
    reach("dumped")
    # From here on nothing is taken away again: if the answer to the manifest's writing is lost, it
    # may be there, and it must not be there without its chunks.
    await storage.put(path_in(manifest.id, MANIFEST), write_manifest(manifest))
    reach("manifest-stored")
    logger.info(
        "backup.taken",
        backup_id=manifest.id,
        dump_bytes=manifest.dump_bytes,
        stored_bytes=manifest.stored_bytes,
        chunks=len(manifest.chunks),
    )
    return manifest


async def _dump(database_url: str, server: Server, upload: _Upload) -> Manifest:
    async with snapshot.exported(database_url, server) as moment:
        found = await tools.find_tools(
            server_version=moment.server_version_major, folder=upload.options.tools_folder
        )
        arguments = [
            *DUMP_ARGUMENTS,
            f"--lock-wait-timeout={LOCK_WAIT_SECONDS_MAX * 1000}",
            f"--snapshot={moment.name}",
            f"--dbname={server.url}",
        ]
        upload.expected_bytes = moment.database_bytes
        async with tools.run(
            found.pg_dump, arguments, server=server, application="rei backup"
        ) as running:
            stored = await upload.all_of(running)
            await running.finish()
        facts = await moment.facts
    return Manifest(
        id=upload.options.id,
        created_at=moment.taken_at,
        server_version=moment.server_version,
        tool_version=str(found.version),
        compression=Compression.ZSTD,
        encryption=Encryption.AGE if upload.options.recipients else Encryption.NONE,
        recipients=upload.options.recipients.keys if upload.options.recipients else (),
        chunks=tuple(stored),
        dump_bytes=upload.dump_bytes,
        dump_sha256=upload.dump_sha256,
        database=facts,
    )


class _Upload:
    """The dump's way into the storage."""

    def __init__(self, storage: Storage, options: BackupOptions, on_progress: OnProgress) -> None:
        self.options = options
        self.dump_bytes = 0
        self.stored_bytes = 0
        self.expected_bytes: int | None = None
        self._storage = storage
        self._on_progress = on_progress
        self._digest = hashlib.sha256()
        self._run = new_run()
        self._begun: list[str] = []

    @property
    def dump_sha256(self) -> str:
        return self._digest.hexdigest()

    async def all_of(self, running: Running) -> list[Chunk]:
        """Store everything that pg_dump writes."""
        stored: list[Chunk] = []
        under_way: deque[asyncio.Task[Chunk]] = deque()
        try:
            async for piece in _pieces(running, self.options.chunk_bytes):
                await asyncio.to_thread(self._digest.update, piece)
                self.dump_bytes += len(piece)
                if len(under_way) == PACKED_AT_ONCE:
                    stored.append(await under_way.popleft())
                under_way.append(asyncio.create_task(self._store(self._next_name(), piece)))
                del piece
            while under_way:
                stored.append(await under_way.popleft())
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        return stored

    async def undo(self) -> None:
        """Remove what was stored, as well as it goes: what stays is the retention's."""
        with contextlib.suppress(BackupError, TimeoutError):
            async with asyncio.timeout(CLEAN_SECONDS_MAX):
                for name in self._begun:
                    await self._storage.delete(path_in(self.options.id, name))

    def _next_name(self) -> str:
        if len(self._begun) == CHUNKS_MAX:
            raise DatabaseUnfit(
                f"the dump is larger than {CHUNKS_MAX} chunks", "Back it up with larger chunks"
            )
        self._begun.append(chunk_name(self._run, len(self._begun) + 1))
        return self._begun[-1]

    async def _store(self, name: str, piece: bytes) -> Chunk:
        data, chunk = await asyncio.to_thread(self._packed, name, piece)
        del piece  # not needed while it is uploaded, which may take long
        await self._storage.put(path_in(self.options.id, name), data)
        reach("chunk-stored")
        self.stored_bytes += chunk.stored_bytes
        self._on_progress(
            Progress(
                dump_bytes=self.dump_bytes,
                stored_bytes=self.stored_bytes,
                expected_bytes=self.expected_bytes,
            )
        )
        return chunk

    def _packed(self, name: str, piece: bytes) -> tuple[bytes, Chunk]:
        data = chunks.pack(piece, recipients=self.options.recipients)
        return data, chunks.described(name, piece, data)


async def _pieces(running: Running, size_bytes: int) -> AsyncIterator[bytes]:
    """What the tool writes, in pieces of this size; the last one is shorter."""
    stream = running.process.stdout
    assert stream is not None
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS_MAX):
                piece = await stream.readexactly(size_bytes)
        except asyncio.IncompleteReadError as end:
            if end.partial:
                yield end.partial
            return
        except TimeoutError:
            raise ToolFailed(
                running.tool,
                f"has written next to nothing for {STALL_SECONDS_MAX:.0f} s",
                "Look in pg_stat_activity what it waits for",
            ) from None
        yield piece
        del piece  # else it would be kept until the next one is whole
