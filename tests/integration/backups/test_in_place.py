"""In place of the living database: nothing is lost, nothing half done, nothing done twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pyrage
import pytest

from rei_core.db import Connection, Pool, create_pool
from rei_core.jobs.claim_queries import claim
from rei_core.jobs.end_queries import complete
from rei_core.jobs.model import Job, Output
from rei_core.ledger.audit import audit
from rei_core.ledger.queries import balance_kopecks
from rei_core.ledger.service import adjust
from rei_core.maintenance.backups import databases, restore
from rei_core.maintenance.backups.encryption import Identities
from rei_core.maintenance.backups.errors import (
    BackupDamaged,
    BackupError,
    DatabaseUnreachable,
    PaymentsLeftBehind,
    RestoreMismatch,
    RestoreRefused,
)
from rei_core.maintenance.backups.listing import find_manifest, list_backups
from rei_core.maintenance.backups.restore import (
    Hooks,
    Restored,
    RestoreOptions,
    finish_in_place,
    restore_in_place,
    restore_into_new,
)
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.tools import database_of, named
from rei_core.maintenance.backups.verify import ScratchServer, maintenance, verify_by_restoring
from rei_core.payments import queries
from rei_core.users import queries as users

from .conftest import BackUp, databases_like, everything_in, execute, until
from .customers import Customers

BREAK_THE_LEDGER = """
SET session_replication_role = replica;
UPDATE balances SET balance_kopecks = balance_kopecks + 1 WHERE user_id = 1
"""


@pytest.fixture
async def tidy(database_url: str) -> AsyncIterator[None]:
    """Drops what restores have kept."""
    yield
    for name in await databases_like(database_url, f"{database_of(database_url)}\\_before\\_%"):
        await execute(named(database_url, "postgres"), f'DROP DATABASE "{name}" WITH (FORCE)')


async def in_place(
    storage: Storage,
    backup_id: str,
    url: str,
    *,
    hooks: Hooks | None = None,
    operation_id: str | None = None,
    identities: Identities | None = None,
) -> Restored:
    return await restore_in_place(
        storage,
        backup_id,
        database_url=url,
        confirmed_name=database_of(url),
        options=RestoreOptions(operation_id=operation_id, identities=identities),
        hooks=hooks,
    )


class Witness:
    """Hooks that write down the order in which they are called."""

    def __init__(self, *, reconcile_fails: bool = False) -> None:
        self.calls: list[str] = []
        self._reconcile_fails = reconcile_fails

    @property
    def hooks(self) -> Hooks:
        return Hooks(quiesce=self._quiesce, reconcile=self._reconcile, resume=self._resume)

    async def _quiesce(self) -> None:
        self.calls.append("quiesce")

    async def _reconcile(self) -> None:
        self.calls.append("reconcile")
        if self._reconcile_fails:
            raise RuntimeError("no answer from https://shop:secret-of-ours@api.yookassa.ru")

    async def _resume(self) -> None:
        self.calls.append("resume")


@pytest.mark.usefixtures("tidy")
async def test_the_old_database_is_kept_and_the_restored_one_takes_its_place(
    take: BackUp, storage: Storage, customers: Customers, database_url: str
) -> None:
    manifest = await take()
    as_backed_up = await everything_in(database_url)
    await customers.act(1)
    as_it_was = await everything_in(database_url)
    witness = Witness()

    restored = await in_place(storage, manifest.id, database_url, hooks=witness.hooks)

    as_restored = await everything_in(database_url)
    assert as_restored.pop("sequences") == as_it_was["sequences"], "it numbers on from there"
    del as_backed_up["sequences"]
    begun_since = set(as_restored.pop("payments")) - set(as_backed_up.pop("payments"))
    assert as_restored == as_backed_up
    assert len(begun_since) == 1, "a top-up since then, which waits to be settled"
    assert restored.audit.consistent
    assert restored.kept_as is not None
    assert await everything_in(named(database_url, restored.kept_as)) == as_it_was
    assert restored.how_to_drop_kept == f'DROP DATABASE "{restored.kept_as}"'
    assert witness.calls == ["quiesce", "reconcile", "resume"]
    assert restored.safety_backup_id is not None
    safety = await find_manifest(storage, restored.safety_backup_id)
    assert safety is not None
    assert safety.database.transfers_count == len(as_it_was["transfers"])
    assert await databases_like(database_url, "rei\\_restore\\_%") == []


@pytest.mark.usefixtures("tidy")
async def test_who_is_connected_is_cut_off_and_comes_back_to_the_restored_one(
    take: BackUp, storage: Storage, customers: Customers, database_url: str
) -> None:
    manifest = await take()
    forgotten = await asyncpg.connect(database_url)
    await forgotten.execute("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE")
    await in_place(storage, manifest.id, database_url)
    assert not await _answers(forgotten)
    forgotten.terminate()
    again = await create_pool(database_url, application="test", size_max=2)
    try:
        count = await again.fetchval("SELECT count(*) FROM transfers")
    finally:
        await again.close()
    assert count == manifest.database.transfers_count
    del customers


@pytest.mark.usefixtures("tidy")
async def test_what_a_worker_writes_in_the_middle_is_in_the_safety_backup_or_in_the_restored_one(
    take: BackUp, storage: Storage, customers: Customers, database_url: str
) -> None:
    """Whatever scales the workers starts one again: it may wait or fail, but not write aside."""
    manifest = await take()
    stop = asyncio.Event()
    acknowledged: list[str] = []

    async def insist(who: str) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            connection = None
            try:
                connection = await asyncpg.connect(database_url)
                for step in itertools.count():
                    name = f"{who}-{number}-{step}"
                    async with connection.transaction():
                        await adjust(
                            connection, user_id=1, change_kopecks=1, operation_id=name, reason="w"
                        )
                    acknowledged.append(name)
                    if stop.is_set():
                        return
            except (
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
                OSError,
            ):
                await asyncio.sleep(0.01)
            finally:
                if connection is not None:
                    connection.terminate()

    async def more() -> bool:
        return len(acknowledged) > seen

    insisting = [asyncio.create_task(insist(who)) for who in ("a", "b", "c")]
    try:
        seen = 5
        await until(more)
        restored = await in_place(storage, manifest.id, database_url)
        seen = len(acknowledged)
        await until(more)
    finally:
        stop.set()
        await asyncio.gather(*insisting)

    assert restored.kept_as is not None
    assert restored.safety_backup_id is not None
    safety = await find_manifest(storage, restored.safety_backup_id)
    assert safety is not None
    aside = await _operations(named(database_url, restored.kept_as))
    assert safety.database.transfers_count == aside[0], "written after the backup that was made"
    here = await _operations(database_url)
    assert set(acknowledged) <= aside[1] | here[1]
    del customers


async def _operations(url: str) -> tuple[int, set[str]]:
    """How many transfers there are, and the operations among them."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT ref_type, ref_id FROM transfers")
    finally:
        await connection.close()
    return len(rows), {row["ref_id"] for row in rows if row["ref_type"] == "operation"}


async def _answers(connection: object) -> bool:
    try:
        await connection.fetchval("SELECT 1")  # type: ignore[attr-defined]
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        return False  # the last but one is how asyncpg sometimes takes being cut off
    return True


@pytest.mark.usefixtures("tidy")
async def test_customers_who_never_stop_do_not_keep_it_from_being_swapped(
    take: BackUp, storage: Storage, customers: Customers, database_url: str
) -> None:
    manifest = await take()
    stop = asyncio.Event()

    async def insist() -> None:
        while not stop.is_set():
            try:
                connection = await asyncpg.connect(database_url)
            except (asyncpg.PostgresError, OSError):
                await asyncio.sleep(0.01)
                continue
            while not stop.is_set() and await _answers(connection):
                pass
            connection.terminate()

    insisting = [asyncio.create_task(insist()) for _ in range(8)]
    try:
        restored = await in_place(storage, manifest.id, database_url)
    finally:
        stop.set()
        await asyncio.gather(*insisting)
    assert restored.audit.consistent
    del customers


@pytest.mark.usefixtures("tidy")
async def test_a_top_up_that_was_begun_after_the_backup_can_still_be_credited_and_once(
    take: BackUp, storage: Storage, pool: Pool, database_url: str
) -> None:
    """Also of somebody who came after it. Whether it was paid, YooKassa is asked."""
    manifest = await take()
    async with pool.acquire() as connection, connection.transaction():
        await users.see(connection, 99, first_name="New")
        for number in (1, 2):
            await queries.open_payment(
                connection,
                UUID(int=number),
                user_id=99,
                amount_kopecks=50_000,
                request_key=f"click-{number}",
                chat_id=99,
            )
            await queries.mark_pending(
                connection,
                UUID(int=number),
                provider_payment_id=f"there-{number}",
                confirmation_url=None,
            )
        assert await credited(connection)

    for _ in range(2):
        await in_place(storage, manifest.id, database_url, operation_id="restore-1")

    again = await create_pool(database_url, application="test", size_max=2)
    try:
        async with again.acquire() as connection:
            waiting = await connection.fetch("SELECT status FROM payments WHERE user_id = 99")
            assert [row["status"] for row in waiting] == ["pending", "pending"]
            assert await balance_kopecks(connection, 99) == 0
            assert await credited(connection)
            assert not await credited(connection)
            assert await balance_kopecks(connection, 99) == 50_000
            assert (await audit(connection)).consistent
        await in_place(storage, manifest.id, database_url, operation_id="restore-1")
        async with again.acquire() as connection:
            assert await balance_kopecks(connection, 99) == 50_000
    finally:
        await again.close()


@pytest.mark.usefixtures("tidy")
async def test_a_worker_from_before_the_restore_brings_nobody_somebody_elses_picture(
    take: BackUp, storage: Storage, customers: Customers, database_url: str
) -> None:
    """The number of its job is given to no other, and what it brings is refused."""
    manifest = await take()
    mine = await claimed(database_url, 1)
    await in_place(storage, manifest.id, database_url)
    theirs = await claimed(database_url, 2)
    assert mine.id != theirs.id
    output = Output(mime_type="image/png", width=9, height=9, data=b"a picture")
    pool = await create_pool(database_url, application="test", size_max=2)
    try:
        async with pool.acquire() as connection:
            assert not await complete(connection, mine.id, attempt=mine.attempt, output=output)
            assert await complete(connection, theirs.id, attempt=theirs.attempt, output=output)
            assert (await audit(connection)).consistent
    finally:
        await pool.close()
    del customers


async def begin_a_top_up(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await users.see(connection, 99, first_name="New")
        await queries.open_payment(
            connection, UUID(int=1), user_id=99, amount_kopecks=50_000, request_key="click",
            chat_id=99,
        )  # fmt: skip


async def top_ups_of_new(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM payments WHERE user_id = 99")
        return count
    finally:
        await connection.close()


async def cut_off_after_the_swap(
    storage: Storage, backup_id: str, url: str, error: BackupError
) -> None:
    """A restore in place that ends before its last step."""

    async def fails(**_: object) -> int:
        raise error

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(restore, "carry_payments", fails)
        # Long ago: two in the same second would put a database aside under the same name.
        patched.setattr(databases, "kept_name", lambda name, _: f"{name}_before_20260101t000000z")
        with pytest.raises(type(error)):
            await in_place(storage, backup_id, url, operation_id="restore-1")


UNREACHABLE = DatabaseUnreachable("gone", "Try again")


@pytest.mark.usefixtures("tidy")
async def test_a_last_step_that_is_left_is_done_by_whoever_comes_next(
    take: BackUp, storage: Storage, pool: Pool, database_url: str
) -> None:
    """Here another restore: after its swap nobody would look into the first database any more."""
    manifest = await take()
    await begin_a_top_up(pool)
    await cut_off_after_the_swap(storage, manifest.id, database_url, UNREACHABLE)
    assert await top_ups_of_new(database_url) == 0
    await in_place(storage, manifest.id, database_url, operation_id="restore-2")
    assert await top_ups_of_new(database_url) == 1


@pytest.mark.usefixtures("tidy")
async def test_a_last_step_that_is_left_can_be_done_alone(
    take: BackUp, storage: Storage, pool: Pool, database_url: str
) -> None:
    await finish_in_place(database_url=database_url)  # nothing was restored: nothing is left
    manifest = await take()
    await begin_a_top_up(pool)
    await cut_off_after_the_swap(storage, manifest.id, database_url, UNREACHABLE)
    await finish_in_place(database_url=database_url)
    assert await top_ups_of_new(database_url) == 1
    await execute(database_url, "DELETE FROM payments WHERE user_id = 99")
    await finish_in_place(database_url=database_url)
    assert await top_ups_of_new(database_url) == 0, "it is done, and not done again"


@pytest.mark.usefixtures("tidy")
async def test_a_last_step_that_can_never_be_done_is_not_in_the_way(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    left = PaymentsLeftBehind("rei_before", "UndefinedTableError")
    await cut_off_after_the_swap(storage, manifest.id, database_url, left)
    maintained = named(database_url, "postgres")
    [kept] = await databases_like(maintained, f"{database_of(database_url)}\\_before\\_%")
    await execute(named(database_url, kept), "ALTER TABLE payments RENAME TO damaged")
    restored = await in_place(storage, manifest.id, database_url, operation_id="restore-2")
    assert restored.audit.consistent


async def claimed(url: str, user_id: int) -> Job:
    """The newest job of a customer who has just ordered, at work."""
    pool = await create_pool(url, application="test", size_max=2)
    try:
        await Customers(pool).order(user_id, key="once more")
        async with pool.acquire() as connection, connection.transaction():
            jobs = await claim(
                connection, worker="w", lease_seconds=60, limit=1000, processing_max=1000
            )
    finally:
        await pool.close()
    return max((job for job in jobs if job.user_id == user_id), key=lambda job: job.id)


async def credited(connection: Connection) -> bool:
    """Credit the first of them, as `settle` does when YooKassa says that it was paid."""
    done = await queries.credit(
        connection,
        UUID(int=1),
        provider_payment_id="there-1",
        amount_kopecks=50_000,
        currency="RUB",
    )
    return done is not None


@pytest.mark.usefixtures("tidy")
async def test_asked_for_again_it_does_not_throw_away_what_customers_did_since(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    first = await in_place(storage, manifest.id, database_url, operation_id="restore-1")
    since = await create_pool(database_url, application="test", size_max=2)
    try:
        await Customers(since).act(2)
    finally:
        await since.close()
    now = await everything_in(database_url)
    witness = Witness()

    again = await in_place(
        storage, manifest.id, database_url, operation_id="restore-1", hooks=witness.hooks
    )

    assert await everything_in(database_url) == now
    assert (again.kept_as, again.safety_backup_id) == (first.kept_as, first.safety_backup_id)
    assert witness.calls == ["reconcile", "resume"]


async def test_without_the_right_name_nothing_happens(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    witness = Witness()
    with pytest.raises(RestoreRefused, match="repeat the database's name"):
        await restore_in_place(
            storage,
            manifest.id,
            database_url=database_url,
            confirmed_name="rei",
            options=RestoreOptions(),
            hooks=witness.hooks,
        )
    assert witness.calls == []
    assert len(await list_backups(storage)) == 1


async def test_a_damaged_backup_leaves_the_database_as_it_was(
    take: BackUp, storage: Storage, folder: Path, database_url: str
) -> None:
    manifest = await take()
    before = await everything_in(database_url)
    (folder / manifest.id / manifest.chunks[-1].name).unlink()
    witness = Witness()
    with pytest.raises(BackupDamaged, match="is missing"):
        await in_place(storage, manifest.id, database_url, hooks=witness.hooks)
    assert await everything_in(database_url) == before
    assert witness.calls == ["quiesce", "resume"], "stopped, so started again"
    assert await databases_like(database_url, "rei\\_restore\\_%") == []


async def test_what_cannot_be_decrypted_stops_nobody(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    owner, stranger = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    manifest = await take(encrypt_to=(str(owner.to_public()),))
    witness = Witness()
    with pytest.raises(BackupError, match="does not open this backup"):
        await in_place(
            storage,
            manifest.id,
            database_url,
            hooks=witness.hooks,
            identities=Identities(str(stranger)),
        )
    assert witness.calls == []


@pytest.mark.usefixtures("tidy")
async def test_the_backup_made_first_is_as_secret_as_the_restored_one(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    owner = pyrage.x25519.Identity.generate()
    manifest = await take(encrypt_to=(str(owner.to_public()),))
    restored = await in_place(storage, manifest.id, database_url, identities=Identities(str(owner)))
    assert restored.safety_backup_id is not None
    safety = await find_manifest(storage, restored.safety_backup_id)
    assert safety is not None
    assert safety.recipients == manifest.recipients


async def test_a_ledger_that_does_not_add_up_is_not_put_in_place(
    take: BackUp, storage: Storage, database_url: str, new_database_url: str
) -> None:
    await execute(database_url, BREAK_THE_LEDGER)
    manifest = await take()
    before = await everything_in(database_url)
    with pytest.raises(RestoreMismatch, match=r"balance_is_sum_of_transfers.*was not touched"):
        await in_place(storage, manifest.id, database_url)
    assert await everything_in(database_url) == before
    with pytest.raises(RestoreMismatch, match="balance_is_sum_of_transfers 1 times"):
        await verify_by_restoring(
            storage, manifest.id, server=ScratchServer(database_url=database_url)
        )
    listed = {one.id: one for one in await list_backups(storage)}[manifest.id]
    assert listed.verification is not None
    assert listed.verification.problems == (
        "the ledger breaks balance_is_sum_of_transfers 1 times",
    )
    # To look at it, it can be restored beside.
    with pytest.raises(RestoreMismatch, match="left as it is, to be looked at"):
        await restore_into_new(
            storage, manifest.id, database_url=new_database_url, options=RestoreOptions()
        )
    assert await everything_in(new_database_url) == before


@pytest.mark.usefixtures("tidy")
async def test_a_reconciliation_that_fails_is_told_and_undoes_nothing(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    witness = Witness(reconcile_fails=True)
    restored = await in_place(storage, manifest.id, database_url, hooks=witness.hooks)
    assert witness.calls == ["quiesce", "reconcile", "resume"]
    assert restored.reconcile_problem is not None
    assert "no answer" in restored.reconcile_problem
    assert "secret-of-ours" not in restored.reconcile_problem


# --- scratch databases ----------------------------------------------------------------------------


async def test_scratch_databases_of_runs_that_died_are_dropped_and_no_others(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    maintained = named(database_url, "postgres")
    note = databases.SCRATCH_COMMENT.replace("'", "''")
    await execute(maintained, "CREATE DATABASE rei_verify_died")
    await execute(maintained, f"COMMENT ON DATABASE rei_verify_died IS '{note}'")
    await execute(maintained, "CREATE DATABASE rei_verify_of_a_person")
    try:
        async with (
            maintenance(database_url, "postgres") as other,
            databases.scratch(
                other,
                "rei_verify_at_work",
                database_url=named(database_url, "rei_verify_at_work"),
            ),
        ):
            await verify_by_restoring(
                storage, manifest.id, server=ScratchServer(database_url=database_url)
            )
            assert await databases_like(database_url, "rei\\_verify\\_%") == [
                "rei_verify_at_work",
                "rei_verify_of_a_person",
            ]
    finally:
        await execute(maintained, "DROP DATABASE rei_verify_of_a_person")
    assert await databases_like(database_url, "rei\\_verify\\_%") == []


async def test_the_same_backup_is_verified_by_one_at_a_time(
    take: BackUp, storage: Storage, database_url: str
) -> None:
    manifest = await take()
    name = databases.scratch_name(databases.VERIFY_PREFIX, manifest.id)
    async with (
        maintenance(database_url, "postgres") as other,
        databases.scratch(other, name, database_url=named(database_url, name)),
    ):
        with pytest.raises(RestoreRefused, match="another run is at work"):
            await verify_by_restoring(
                storage, manifest.id, server=ScratchServer(database_url=database_url)
            )
    [listed] = await list_backups(storage)
    assert listed.verification is None, "nothing is known, so nothing is said"


async def test_grants_are_restored_when_asked_for(
    take: BackUp, storage: Storage, database_url: str, new_database_url: str
) -> None:
    role = f"reader_{database_of(database_url)}"
    await execute(database_url, f"CREATE ROLE {role}", f"GRANT SELECT ON jobs TO {role}")
    try:
        manifest = await take()
        await restore_into_new(
            storage,
            manifest.id,
            database_url=new_database_url,
            options=RestoreOptions(keep_privileges=True),
        )
        connection = await asyncpg.connect(new_database_url)
        try:
            granted = await connection.fetchval(
                "SELECT has_table_privilege($1, 'jobs', 'SELECT')", role
            )
        finally:
            await connection.close()
        assert granted
    finally:
        await execute(database_url, f"DROP OWNED BY {role}")
        await execute(
            named(database_url, "postgres"),
            f"DROP DATABASE IF EXISTS {database_of(new_database_url)}",
        )
        await execute(database_url, f"DROP ROLE {role}")


async def test_an_adjustment_after_the_snapshot_is_not_in_the_backup(
    take: BackUp, pool: Pool
) -> None:
    before = await take()
    async with pool.acquire() as connection, connection.transaction():
        await adjust(
            connection, user_id=1, change_kopecks=100, operation_id="later", reason="later"
        )
    after = await take()
    assert after.database.transfers_count == before.database.transfers_count + 1
    assert after.database.account_kopecks["user"] - before.database.account_kopecks["user"] == 100
