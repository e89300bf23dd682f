"""The way back: chunks → decryption → decompression → pg_restore, as a stream.

pg_restore works in one transaction. Killed anywhere, or stopped because a chunk is damaged, it
leaves the database as empty as it was. Every chunk is compared with the manifest before a byte of it
is used, and the whole dump before its last piece is handed over, so it can commit nothing else than
what pg_dump once wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from rei_core.ledger.audit import AuditReport, audit
from rei_core.maintenance.backups import chunks, snapshot, tools
from rei_core.maintenance.backups.dump import OnProgress, Progress, silent
from rei_core.maintenance.backups.encryption import Identities
from rei_core.maintenance.backups.errors import BackupDamaged, ObjectMissing, ToolFailed
from rei_core.maintenance.backups.failpoints import reach
from rei_core.maintenance.backups.manifest import Manifest, differences, path_in
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.tools import Running, Server

WRITE_BYTES = 512 * 1024
STALL_SECONDS_MAX = 3600.0
"""How long pg_restore may take for half a megabyte: it does not read while it builds something."""
INDEXES_SECONDS_MAX = 6 * 3600.0
"""Indexes and foreign keys come last, when everything was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A backup that is about to be read, and by what means."""

    storage: Storage
    manifest: Manifest
    identities: Identities | None = None
    tools_folder: Path | None = None
    on_progress: OnProgress = silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A restored database compared with its manifest, and its ledger's audit."""

    differences: tuple[str, ...]
    audit: AuditReport

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong with it, a sentence each."""
        broken = tuple(
            f"the ledger breaks {invariant} {count} times"
            for invariant, count in self.audit.violation_counts.items()
        )
        return (*self.differences, *broken)


async def try_to_open(source: Source) -> None:
    """Read the first chunk, so that a wrong identity or a lost storage shows before anything else."""
    await _piece(source, 0)


async def load(source: Source, *, database_url: str, keep_privileges: bool) -> None:
    """Restore into an empty database. Raises `BackupError`; the database is then still empty.

    Everything belongs to the user who restores. With `keep_privileges` grants are restored too,
    whose roles must exist.
    """
    server = tools.server_of(database_url)
    found = await tools.find_tools(
        server_version=await _server_version(database_url, server), folder=source.tools_folder
    )
    arguments = [
        "--format=custom",
        "--single-transaction",
        "--no-owner",
        "--no-password",
        *([] if keep_privileges else ["--no-privileges"]),
        f"--dbname={server.url}",
    ]
    async with tools.run(
        found.pg_restore, arguments, server=server, application="rei restore", feed=True
    ) as running:
        whole = await _feed(running, source)
        await running.finish(seconds_max=INDEXES_SECONDS_MAX)
        if not whole:
            raise ToolFailed(running.tool, "ended before it had read everything", "Try again")
    reach("loaded")


async def examine(manifest: Manifest, *, database_url: str) -> Examined:
    """Compare a restored database with the manifest, and audit its ledger."""
    server = tools.server_of(database_url)
    connection = await snapshot.connect(database_url, server, application="rei restore")
    try:
        with snapshot.naming_errors(server):
            await connection.execute("ANALYZE")  # a fresh database has no statistics yet
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await snapshot.require_ledger(connection)
                found = await snapshot.facts(connection)
            report = await audit(connection)
    finally:
        connection.terminate()
    reach("examined")
    return Examined(differences=differences(manifest.database, found), audit=report)


async def _server_version(database_url: str, server: Server) -> int:
    connection = await snapshot.connect(database_url, server, application="rei restore")
    try:
        return connection.get_server_version().major
    finally:
        connection.terminate()


async def _feed(running: Running, source: Source) -> bool:
    """Hand the dump over; False if the tool ended before it had all of it."""
    stream = running.process.stdin
    assert stream is not None
    try:
        async with aclosing(_dump_of(source)) as pieces:
            async for piece in pieces:
                await _write(running, stream, piece)
        stream.close()
        await stream.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


async def _write(running: Running, stream: asyncio.StreamWriter, piece: bytes) -> None:
    view = memoryview(piece)
    for start in range(0, len(piece), WRITE_BYTES):
        stream.write(view[start : start + WRITE_BYTES])
        try:
            async with asyncio.timeout(STALL_SECONDS_MAX):
                await stream.drain()
        except TimeoutError:
            raise ToolFailed(
                running.tool,
                f"has read nothing for {STALL_SECONDS_MAX:.0f} s",
                "Look in pg_stat_activity what it waits for",
            ) from None


async def _dump_of(source: Source) -> AsyncGenerator[bytes, None]:
    """The dump again, piece by piece; the next one is fetched while the last one is used."""
    manifest, digest, done_bytes, read_bytes = source.manifest, hashlib.sha256(), 0, 0
    ahead: asyncio.Task[bytes] | None = None
    try:
        for number, chunk in enumerate(manifest.chunks):
            piece = await (ahead or _piece(source, number))
            last = number + 1 == len(manifest.chunks)
            ahead = None if last else asyncio.create_task(_piece(source, number + 1))
            await asyncio.to_thread(digest.update, piece)
            if last and digest.hexdigest() != manifest.dump_sha256:
                raise BackupDamaged(manifest.id, ("the dump as a whole has another checksum",))
            yield piece
            done_bytes += len(piece)
            read_bytes += chunk.stored_bytes
            source.on_progress(
                Progress(
                    dump_bytes=done_bytes,
                    stored_bytes=read_bytes,
                    expected_bytes=manifest.dump_bytes,
                )
            )
    finally:
        if ahead is not None:
            ahead.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await ahead


async def _piece(source: Source, number: int) -> bytes:
    manifest = source.manifest
    if not manifest.chunks:
        raise BackupDamaged(manifest.id, ("it has no chunks",))
    chunk = manifest.chunks[number]
    try:
        stored = await source.storage.get(path_in(manifest.id, chunk.name))
    except ObjectMissing:
        raise BackupDamaged(manifest.id, (f"{chunk.name} is missing",)) from None
    return await asyncio.to_thread(
        chunks.unpack,
        manifest.id,
        chunk,
        stored,
        encryption=manifest.encryption,
        identities=source.identities,
    )
