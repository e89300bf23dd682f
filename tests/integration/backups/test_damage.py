"""Whatever is wrong with a backup or its storage is found, named, and remembered."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from rei_core.maintenance.backups.errors import (
    BackupDamaged,
    BackupError,
    BackupNotFound,
    BackupUnreadable,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageGone,
    ToolFailed,
)
from rei_core.maintenance.backups.listing import delete_backup, list_backups
from rei_core.maintenance.backups.manifest import Manifest
from rei_core.maintenance.backups.restore import RestoreOptions, restore_into_new
from rei_core.maintenance.backups.retention import RetentionPolicy, prune
from rei_core.maintenance.backups.storage import Storage, StorageLocation, open_storage
from rei_core.maintenance.backups.verify import (
    ScratchServer,
    verify_by_restoring,
    verify_checksums,
)

from .conftest import NEVER_ENDS, BackUp, Tools, databases_like, until
from .s3 import BUCKET, SECRET, small_s3

PASSWORD = "geheim-0815"
OPTIONS = RestoreOptions()


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def lose(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (flip, "has other bytes than were written"),
        (cut_short, "bytes instead of"),
        (lose, "is missing"),
    ],
)
@pytest.mark.parametrize("number", [0, -1])
async def test_a_damaged_chunk_is_found_named_and_never_restored(  # noqa: PLR0917 - fixtures
    take: BackUp,
    storage: Storage,
    folder: Path,
    database_url: str,
    new_database_url: str,
    harm: Callable[[Path], None],
    told: str,
    number: int,
) -> None:
    manifest = await take()
    await verify_checksums(storage, manifest.id)
    chunk = manifest.chunks[number]
    harm(folder / manifest.id / chunk.name)

    server = ScratchServer(database_url=database_url)
    for verifying in (
        verify_checksums(storage, manifest.id),
        verify_by_restoring(storage, manifest.id, server=server),
    ):
        with pytest.raises(BackupDamaged, match=told) as found:
            await verifying
        assert chunk.name in str(found.value)
        [listed] = await list_backups(storage)
        assert listed.verification is not None
        assert not listed.verification.verified
        assert chunk.name in listed.verification.problems[0]

    with pytest.raises(BackupDamaged, match=told):
        await restore_into_new(storage, manifest.id, database_url=new_database_url, options=OPTIONS)
    assert await databases_like(database_url, new_database_url.rpartition("/")[2]) == []
    assert await databases_like(database_url, "rei\\_verify\\_%") == []


async def test_all_damage_is_told_at_once(take: BackUp, storage: Storage, folder: Path) -> None:
    manifest = await take()
    lose(folder / manifest.id / manifest.chunks[0].name)
    flip(folder / manifest.id / manifest.chunks[1].name)
    with pytest.raises(BackupDamaged) as found:
        await verify_checksums(storage, manifest.id)
    assert len(found.value.problems) == 2


async def test_without_its_manifest_it_is_no_backup(
    take: BackUp, storage: Storage, folder: Path
) -> None:
    manifest = await take()
    lose(folder / manifest.id / "manifest.json")
    with pytest.raises(BackupNotFound):
        await verify_checksums(storage, manifest.id)
    [listed] = await list_backups(storage)
    assert listed.unfinished
    assert listed.touched_at is not None


def _edited(change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    def edit(file: Path) -> None:
        document = json.loads(file.read_bytes())
        change(document)
        file.write_text(json.dumps(document))

    return edit


def _give_money(document: dict[str, object]) -> None:
    document["backup"]["database"]["account_kopecks"]["user"] += 1  # type: ignore[index]


def _from_the_future(document: dict[str, object]) -> None:
    document["version"] = 2


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_edited(_give_money), "its own checksum is wrong"),
        (_edited(_from_the_future), "format version 2.*newer Rei"),
        (cut_short, "cannot be read"),
        (lambda file: file.write_text("{}"), "none of Rei's"),
        (lambda file: file.write_bytes(b"\xff\x00"), "cannot be read"),
    ],
)
async def test_a_manifest_that_is_not_what_was_written_is_refused(
    take: BackUp, storage: Storage, folder: Path, harm: Callable[[Path], None], told: str
) -> None:
    manifest = await take()
    harm(folder / manifest.id / "manifest.json")
    with pytest.raises(BackupUnreadable, match=told):
        await verify_checksums(storage, manifest.id)
    [listed] = await list_backups(storage)
    assert listed.problem
    assert not listed.unfinished


async def test_the_manifest_of_another_backup_is_refused(
    take: BackUp, storage: Storage, folder: Path
) -> None:
    first, second = await take(), await take()
    other = (folder / first.id / "manifest.json").read_bytes()
    (folder / second.id / "manifest.json").write_bytes(other)
    with pytest.raises(BackupUnreadable, match=f"that of another backup, {first.id}"):
        await verify_checksums(storage, second.id)


async def test_a_verification_of_another_manifest_counts_for_nothing(
    take: BackUp, storage: Storage, folder: Path
) -> None:
    first, second = await take(), await take()
    await verify_checksums(storage, first.id)
    verified = (folder / first.id / "verification.json").read_bytes()
    (folder / second.id / "verification.json").write_bytes(verified)
    # Two of one second are listed in any order.
    known = {one.id: one.verification is not None for one in await list_backups(storage)}
    assert known == {first.id: True, second.id: False}


# --- the storage ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk with room for one chunk: a real one, which only root can mount, or one in words."""
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)],
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode == 0:
        (disk / "filler").write_bytes(b"x" * 24_000)
        yield disk
        subprocess.run(["umount", str(disk)], check=True)
        return
    stored: list[str] = []
    put = obstore.put_async

    async def refusing(store: Any, path: str, data: bytes, **options: Any) -> object:
        if stored:
            said = "Unable to copy data to file: No space left on device (os error 28)"
            raise GenericError(f"Generic LocalFileSystem error: {said}")
        stored.append(path)
        return await put(store, path, data, **options)

    monkeypatch.setattr(obstore, "put_async", refusing)
    yield disk


async def test_a_full_disk(take: BackUp, small_disk: Path) -> None:
    storage = open_storage(StorageLocation(str(small_disk)))
    with pytest.raises(StorageFull, match=r"No space left.*Make room"):
        await take(to=storage)
    assert [one for one in await list_backups(storage) if not one.unfinished] == []
    assert not list(small_disk.rglob("*.chunk")), (
        "what was written is removed, there is need of room"
    )


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageGone, match=r"no such folder.*mount the volume"):
        open_storage(StorageLocation(str(tmp_path / "unmounted")))


async def test_a_folder_that_goes_away(take: BackUp, storage: Storage, folder: Path) -> None:
    manifest = await take()
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(StorageGone, match="still mounted"):
        await verify_checksums(storage, manifest.id)


async def test_a_lost_bucket(take: BackUp) -> None:
    async with small_s3() as s3:
        storage = open_storage(s3.location())
        manifest = await take(to=storage)
        await verify_checksums(storage, manifest.id)
        del s3.buckets[BUCKET]
        for work in (
            verify_checksums(storage, manifest.id),
            list_backups(storage),
            take(to=storage),
        ):
            with pytest.raises(StorageGone, match="Make the bucket, or correct its name") as lost:
                await work
            assert SECRET not in str(lost.value)


async def test_a_bucket_lost_on_the_way_leaves_no_backup(take: BackUp, tools: Tools) -> None:
    async with small_s3() as s3:
        storage = open_storage(s3.location())
        # The dump stands still after its first chunk, until the bucket is gone.
        gate = Path(tools("true")).parent / "gate"
        os.mkfifo(gate)
        slow = tools(f'"$REAL" "$@" | {{ head -c 20000; cat {gate}; cat; }}')
        taking = asyncio.create_task(take(to=storage, tools_folder=slow))
        await until(storage.folders)
        s3.failing = 503
        await asyncio.to_thread(gate.write_text, "")
        with pytest.raises(StorageError, match=f"s3://{BUCKET}/rei: cannot write") as failed:
            await taking
        assert SECRET not in str(failed.value)
        s3.failing = None
        assert [one.unfinished for one in await list_backups(storage)] == [True]


async def test_wrong_credentials(take: BackUp) -> None:
    async with small_s3() as s3:
        with pytest.raises(StorageDenied, match="credentials") as denied:
            await take(to=open_storage(s3.location(key="AKIDOTHER")))
        assert SECRET not in str(denied.value)


async def test_nobody_listens_at_the_endpoint(take: BackUp) -> None:
    async with small_s3() as s3:
        location = s3.location()
    with pytest.raises(StorageGone, match="reachable"):
        await take(to=open_storage(location))


# --- pg_dump --------------------------------------------------------------------------------------


async def test_pg_dump_that_fails_is_quoted_without_secrets(
    take: BackUp, storage: Storage, tools: Tools, database_url: str
) -> None:
    broken = tools(
        'echo "pg_dump: error: could not use $PGPASSWORD: no pg_hba.conf entry" >&2; exit 1'
    )
    with pytest.raises(
        ToolFailed, match=r"pg_dump: ended with 1: .*no pg_hba.conf entry"
    ) as failed:
        await take(
            tools_folder=broken,
            url=database_url.replace("postgres@", f"postgres:{PASSWORD}@"),
        )
    assert PASSWORD not in str(failed.value)
    assert await list_backups(storage) == []


async def test_pg_dump_that_dies_after_most_of_its_work(
    take: BackUp, storage: Storage, tools: Tools
) -> None:
    dying = tools('"$REAL" "$@" | head -c 60000; kill -9 $$')
    with pytest.raises(ToolFailed, match="ended by signal 9"):
        await take(tools_folder=dying)
    assert [one for one in await list_backups(storage) if not one.unfinished] == []


async def test_killed_half_way_it_is_no_backup_and_the_retention_removes_it(
    storage: Storage,
    folder: Path,
    tools: Tools,
    take: BackUp,
    database_url: str,
) -> None:
    whole = await take()
    never = tools(NEVER_ENDS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _TAKE_IN_SMALL_CHUNKS, database_url, str(folder), str(never),
    )  # fmt: skip
    try:
        await until(lambda: storage.objects("killed"))
    finally:
        process.kill()
        await process.wait()
    killed = {one.id: one for one in await list_backups(storage)}["killed"]
    assert killed.unfinished
    with pytest.raises(BackupError, match="no finished backup"):
        await verify_checksums(storage, "killed")

    policy = RetentionPolicy(max_age=timedelta(days=30))
    now = datetime.now(UTC)
    assert (await prune(storage, policy, now=now)).deleted == (), "it may still be running"
    pruned = await prune(storage, policy, now=now + timedelta(days=2))
    assert pruned.deleted == ("killed",)
    assert list((folder / "killed").glob("*")) == []
    await verify_checksums(storage, whole.id)


_TAKE_IN_SMALL_CHUNKS = """
import asyncio, sys
from pathlib import Path
from rei_core.maintenance.backups.dump import BackupOptions, back_up
from rei_core.maintenance.backups.storage import StorageLocation, open_storage

asyncio.run(back_up(
    database_url=sys.argv[1],
    storage=open_storage(StorageLocation(sys.argv[2])),
    options=BackupOptions(id="killed", tools_folder=Path(sys.argv[3]), chunk_bytes=16384),
))
"""


# --- deleting -------------------------------------------------------------------------------------


class Killed(BaseException):
    """What stands for a kill -9: nothing that catches errors catches it."""


class Stumbling:
    """A storage whose process dies at the n-th deletion."""

    def __init__(self, storage: Storage, *, after: int) -> None:
        self._storage = storage
        self._left = after

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)

    async def delete(self, path: str) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1
        await self._storage.delete(path)


async def test_a_backup_that_is_half_deleted_never_looks_whole(
    take: BackUp, storage: Storage, folder: Path
) -> None:
    first = await take()
    objects = len(first.chunks) + 1
    for after in range(1, objects):
        manifest: Manifest = await take(backup_id=f"half-{after}")
        with pytest.raises(Killed):
            await delete_backup(Stumbling(storage, after=after), manifest.id)  # type: ignore[arg-type]
        left = {one.id: one for one in await list_backups(storage)}[manifest.id]
        assert left.unfinished
        assert await delete_backup(storage, manifest.id) == objects - after


async def test_a_chunk_whose_writer_was_killed_half_way_through_it_goes_too(
    storage: Storage, folder: Path
) -> None:
    """It has no name yet, and a storage's own listing leaves it out."""
    half = folder / "killed" / "0123abcd-000002.chunk#1"
    half.parent.mkdir()
    half.write_bytes(b"half a chunk")
    [killed] = await list_backups(storage)
    assert killed.unfinished
    policy = RetentionPolicy(max_age=timedelta(days=30))
    assert (await prune(storage, policy)).deleted == (), "it may still be written"
    pruned = await prune(storage, policy, now=datetime.now(UTC) + timedelta(days=2))
    assert pruned.deleted == ("killed",)
    assert list(folder.iterdir()) == []


async def test_what_is_not_of_a_backup_is_not_deleted(
    take: BackUp, storage: Storage, folder: Path
) -> None:
    manifest = await take()
    mine = folder / manifest.id / "notes.txt"
    mine.write_text("why this one matters")
    await delete_backup(storage, manifest.id)
    assert [file.name for file in (folder / manifest.id).iterdir()] == [mine.name]
