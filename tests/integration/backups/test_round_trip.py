"""There and back: what is restored is what was backed up, to the last row, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pyrage
import pytest

from rei_core.db import Pool
from rei_core.errors import ConfigurationError
from rei_core.ledger.audit import audit
from rei_core.maintenance.backups.encryption import Identities, Recipients
from rei_core.maintenance.backups.errors import (
    DatabaseUnfit,
    DecryptionError,
    RestoreRefused,
    ToolMissing,
)
from rei_core.maintenance.backups.listing import list_backups, require_manifest
from rei_core.maintenance.backups.manifest import Encryption
from rei_core.maintenance.backups.restore import RestoreOptions, restore_into_new
from rei_core.maintenance.backups.storage import Storage, StorageLocation, open_storage
from rei_core.maintenance.backups.tools import server_of
from rei_core.maintenance.backups.verify import (
    ScratchServer,
    verify_by_restoring,
    verify_checksums,
)

from .conftest import BackUp, Tools, databases_like, everything_in, execute
from .customers import Customers
from .s3 import SECRET, small_s3

RESTORES = 20
PASSWORD = "geheim-0815"
OPTIONS = RestoreOptions()


async def test_a_restored_database_is_the_backed_up_one(
    take: BackUp, storage: Storage, database_url: str, new_database_url: str
) -> None:
    manifest = await take()
    assert len(manifest.chunks) > 2
    restored = await restore_into_new(
        storage, manifest.id, database_url=new_database_url, options=OPTIONS
    )
    assert restored.audit.consistent
    assert await everything_in(new_database_url) == await everything_in(database_url)


async def test_the_manifest_tells_what_the_database_held(
    take: BackUp, storage: Storage, pool: Pool
) -> None:
    manifest = await take()
    async with pool.acquire() as connection:
        report = await audit(connection)
    facts = manifest.database
    assert facts.account_kopecks == report.accounts
    assert sum(facts.account_kopecks.values()) == 0
    assert facts.account_kopecks["user"] > 0
    assert (
        facts.transfers_count == report.transfers_examined == facts.row_counts["public.transfers"]
    )
    assert facts.row_counts["public.jobs"] == 9
    assert (await require_manifest(storage, manifest.id))[0] == manifest


@pytest.mark.timeout(600)
async def test_twenty_restores_under_write_load_pass_the_audit(
    take: BackUp, customers: Customers, database_url: str
) -> None:
    storage = open_storage(StorageLocation("memory:"))  # the disk is not what is tried here
    server = ScratchServer(database_url=database_url)
    counts = []
    async with customers.at_it():
        for _ in range(RESTORES):
            manifest = await take(to=storage)
            # Compares every count and sum with the manifest's, and audits the ledger.
            await verify_by_restoring(storage, manifest.id, server=server)
            counts.append(manifest.database.transfers_count)
    assert counts == sorted(set(counts)), "nobody wrote between two backups"
    found = await list_backups(storage)
    assert [one.verification is not None and one.verification.restored for one in found] == (
        [True] * RESTORES
    )
    assert await databases_like(database_url, "rei\\_verify\\_%") == []


async def test_through_s3(take: BackUp, database_url: str, new_database_url: str) -> None:
    async with small_s3() as s3:
        storage = open_storage(s3.location())
        manifest = await take(to=storage)
        await verify_checksums(storage, manifest.id)
        await restore_into_new(storage, manifest.id, database_url=new_database_url, options=OPTIONS)
        [listed] = await list_backups(storage)
        assert listed.manifest == manifest
        assert all(path.startswith(f"rei/{manifest.id}/") for path in s3.objects)
        assert SECRET not in repr(storage) + repr(s3.location())
    assert await everything_in(new_database_url) == await everything_in(database_url)


async def test_an_encrypted_backup_opens_for_its_recipient_only(
    take: BackUp, storage: Storage, folder: Path, database_url: str, new_database_url: str
) -> None:
    ours, other, stranger = (pyrage.x25519.Identity.generate() for _ in range(3))
    recipients = (str(ours.to_public()), str(other.to_public()))
    manifest = await take(encrypt_to=recipients)
    assert manifest.encryption is Encryption.AGE
    for chunk in manifest.chunks:
        assert (folder / manifest.id / chunk.name).read_bytes().startswith(b"age-encryption.org/v1")

    for identities in (None, Identities(str(stranger))):
        with pytest.raises(DecryptionError) as refused:
            await restore_into_new(
                storage,
                manifest.id,
                database_url=new_database_url,
                options=RestoreOptions(identities=identities),
            )
        assert "AGE-SECRET-KEY" not in str(refused.value)
    name = new_database_url.rpartition("/")[2]
    assert await databases_like(database_url, name) == [], "nothing is made before it can be read"

    identities = Identities(f"# created: today\n{other}\n")
    await restore_into_new(
        storage,
        manifest.id,
        database_url=new_database_url,
        options=RestoreOptions(identities=identities),
    )
    assert await everything_in(new_database_url) == await everything_in(database_url)
    # The bytes as stored are compared, so no secret is needed for that.
    await verify_checksums(storage, manifest.id)


def test_a_secret_key_given_for_a_public_one_is_not_repeated() -> None:
    secret = str(pyrage.x25519.Identity.generate())
    with pytest.raises(ConfigurationError) as refused:
        Recipients([secret])
    assert secret not in str(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        Identities(secret[:-1])
    assert secret[:-1] not in str(refused.value)


async def test_a_finished_backup_is_not_taken_again_under_its_id(
    take: BackUp, customers: Customers, folder: Path
) -> None:
    first = await take(backup_id="daily-1")
    await customers.act(1)
    assert await take(backup_id="daily-1") == first
    assert len(list((folder / "daily-1").iterdir())) == len(first.chunks) + 1


async def test_two_runs_of_one_backup_do_not_mix(
    take: BackUp, storage: Storage, customers: Customers, database_url: str
) -> None:
    async with customers.at_it():
        await asyncio.gather(take(backup_id="twin"), take(backup_id="twin"))
    await verify_by_restoring(storage, "twin", server=ScratchServer(database_url=database_url))


async def test_the_password_is_in_no_argument(
    take: BackUp, tools: Tools, database_url: str, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    folder = tools(f'echo "$@" > {seen}; env >> {seen}; exec "$REAL" "$@"')
    await take(tools_folder=folder, url=database_url.replace("postgres@", f"postgres:{PASSWORD}@"))
    arguments, *environment = seen.read_text().splitlines()
    assert "--snapshot=" in arguments
    assert PASSWORD not in arguments
    assert f"PGPASSWORD={PASSWORD}" in environment


async def test_tools_see_nothing_of_our_own_secrets(
    take: BackUp, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_TOKEN", "123456789:AAF-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    seen = tmp_path / "seen"
    await take(tools_folder=tools(f'env > {seen}; exec "$REAL" "$@"'))
    assert "secret" not in seen.read_text()


async def test_tools_older_than_the_server_are_refused(take: BackUp, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for tool in ("pg_dump", "pg_restore"):
        (old / tool).write_text('#!/bin/sh\necho "pg_dump (PostgreSQL) 12.3"\n')
        (old / tool).chmod(0o755)
    with pytest.raises(
        ToolMissing, match=r"only version 12 was found.*Install PostgreSQL's client"
    ):
        await take(tools_folder=old)
    with pytest.raises(ToolMissing, match="none was found"):
        await take(tools_folder=tmp_path)


async def test_another_database_is_not_backed_up_by_mistake(
    take: BackUp, empty_database_url: str
) -> None:
    with pytest.raises(DatabaseUnfit, match="no ledger of Rei's"):
        await take(url=empty_database_url)


async def test_an_unreachable_server_is_named_without_its_password(take: BackUp) -> None:
    with pytest.raises(DatabaseUnfit, match="cannot be reached") as refused:
        await take(url=f"postgresql://rei:{PASSWORD}@127.0.0.1:9/rei")
    assert PASSWORD not in str(refused.value)


async def test_a_database_that_holds_something_is_not_restored_into(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    before = await everything_in(database_url)
    with pytest.raises(RestoreRefused, match="is not empty"):
        await restore_into_new(storage, manifest.id, database_url=database_url, options=OPTIONS)
    assert await everything_in(database_url) == before


async def test_an_empty_database_is_restored_into(
    take: BackUp, storage: Storage, database_url: str, new_database_url: str
) -> None:
    manifest = await take()
    await execute(database_url, f"CREATE DATABASE {new_database_url.rpartition('/')[2]}")
    await restore_into_new(storage, manifest.id, database_url=new_database_url, options=OPTIONS)
    assert await everything_in(new_database_url) == await everything_in(database_url)


async def test_a_restore_asked_for_again_finds_itself_done(
    take: BackUp, storage: Storage, new_database_url: str
) -> None:
    manifest = await take()
    options = RestoreOptions(operation_id="restore-7")
    await restore_into_new(storage, manifest.id, database_url=new_database_url, options=options)
    await execute(new_database_url, "UPDATE users SET first_name = 'since'")
    again = await restore_into_new(
        storage, manifest.id, database_url=new_database_url, options=options
    )
    assert again.audit.consistent
    assert ("since",) in {(row,) for row in await _first_names(new_database_url)}, (
        "what was done since is still there"
    )
    with pytest.raises(RestoreRefused):
        await restore_into_new(
            storage,
            manifest.id,
            database_url=new_database_url,
            options=RestoreOptions(operation_id="restore-8"),
        )


async def _first_names(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row[0] for row in await connection.fetch("SELECT first_name FROM users")}
    finally:
        await connection.close()


def test_an_address_is_taken_apart() -> None:
    server = server_of("postgresql://rei:p%40ss@db:5433/rei?sslmode=require&password=other")
    assert server.url == "postgresql://rei@db:5433/rei?sslmode=require"
    assert server.password == "p@ss"
    assert "ss" not in repr(StorageLocation("s3://b/p", {"secret_access_key": "ss"}))
