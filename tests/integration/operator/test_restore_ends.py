"""The last step of a restore in place, when the Job that should have done it is dead or slow.

The database is replaced, and what it cannot know is not in it yet. The mark says so, and whoever
looks at the Restore next must neither start the bot too early nor leave the step undone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest

from rei_core.db import Connection, Pool
from rei_core.maintenance.backups.databases import (
    MAINTENANCE_DATABASE,
    Mark,
    mark_of,
    set_mark,
    sole_user_of,
)
from rei_core.maintenance.backups.tools import database_of, named
from rei_core.maintenance.runs.model import TryAgain
from rei_core.payments import queries
from rei_core.users import queries as users
from rei_operator.reconciler import Key

TOP_UP = UUID(int=99)
REPLICAS = 2
TAKEN_AGO = timedelta(days=40)
NOTHING: tuple[Any, ...] = ()
AnyProvider = TypeVar("AnyProvider")


class Restored:
    """A bot's database that was put in the place of another one, which is kept."""

    def __init__(self, setting: Any, kept_url: str) -> None:
        self.cluster, self.pool = setting.cluster, setting.pool
        self.kept_url = kept_url
        self.database = database_of(setting.database_url)
        self._setting = setting

    async def marked(self, state: Any = "swapped") -> None:
        mark = Mark(
            operation="rei.back",
            state=state,
            kept_as=database_of(self.kept_url),
            safety_backup_id="20261124t115900z-aa",
            taken_at=datetime.now(UTC) - TAKEN_AGO,
        )
        async with self.pool.acquire() as connection:
            await set_mark(connection, self.database, mark)

    def ask(self, provider: AnyProvider) -> AnyProvider:
        """Let the operator ask this provider."""
        self._setting.provider = provider
        return provider

    def apply(self, *, created: str = "2026-11-24T12:00:00Z") -> Key:
        """The Restore, whose Deployment it has stopped."""
        stored = {
            "storage": {"volume": {"claimName": "backups"}},
            "id": "20261124t115900z-aa",
        }
        spec = {"stored": stored, "inPlace": {"confirmDatabase": self.database}}
        key: Key = self.cluster.apply("Restore", "back", spec)
        self.cluster.objects[key]["metadata"]["creationTimestamp"] = created
        self.cluster.objects[key]["status"] = {"stoppedDeployments": {"rei-bot": REPLICAS}}
        self.cluster.objects[Key("Deployment", key.namespace, "rei-bot")] = {
            "kind": "Deployment",
            "metadata": {"name": "rei-bot", "namespace": key.namespace, "resourceVersion": "1",
                         "generation": 1},
            "spec": {"replicas": 0},
        }  # fmt: skip
        return key

    def job(self, key: Key, condition: str | None = None) -> None:
        owner = {"uid": self.cluster.objects[key]["metadata"]["uid"]}
        conditions = [{"type": condition, "status": "True"}] if condition else []
        self.cluster.objects[Key("Job", key.namespace, "restore-back")] = {
            "kind": "Job",
            "metadata": {"name": "restore-back", "ownerReferences": [owner]},
            "status": {"conditions": conditions},
        }

    async def settle(self, key: Key) -> None:
        await self._setting.operator(database=self.database).settle(key)

    def replicas(self, key: Key) -> int:
        deployment = self.cluster.objects[Key("Deployment", key.namespace, "rei-bot")]
        wanted: int = deployment["spec"]["replicas"]
        return wanted

    async def top_ups(self) -> list[str]:
        rows = await self.pool.fetch("SELECT status FROM payments WHERE id = $1", TOP_UP)
        return [row["status"] for row in rows]

    async def state(self) -> str | None:
        async with self.pool.acquire() as connection:
            mark = await mark_of(connection, self.database)
        return None if mark is None else mark.state


@pytest.fixture
async def restored(setting: Any, template_database: str) -> AsyncIterator[Restored]:
    """With a top-up that only the database of before knows."""
    url = setting.database_url
    kept_url = named(url, f"{database_of(url)}_before_20261124t120000z"[:63])
    server = await asyncpg.connect(named(url, MAINTENANCE_DATABASE))
    try:
        kept = database_of(kept_url)
        await server.execute(f'CREATE DATABASE "{kept}" TEMPLATE {template_database}')
        await _begin_a_top_up(kept_url)
        yield Restored(setting, kept_url)
        await server.execute(f'DROP DATABASE "{kept}" WITH (FORCE)')
    finally:
        await server.close()


async def _begin_a_top_up(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await users.see(connection, 5, first_name="B")
        await queries.open_payment(
            connection, TOP_UP, user_id=5, amount_kopecks=100, request_key="click", chat_id=5
        )
    finally:
        await connection.close()


async def test_while_the_job_is_at_it_nothing_goes_on(restored: Restored) -> None:
    await restored.marked()
    key = restored.apply()
    restored.job(key)
    await restored.settle(key)
    assert restored.cluster.condition(key, "Succeeded") == ("Unknown", "InProgress")
    assert (await restored.state(), await restored.top_ups()) == ("swapped", [])
    assert restored.replicas(key) == 0


@pytest.mark.parametrize("condition", ["Failed", None])
async def test_what_a_dead_job_left_is_done_before_the_bot_comes_back(
    restored: Restored, condition: str | None
) -> None:
    await restored.marked()
    key = restored.apply()
    if condition is not None:
        restored.job(key, condition)
    await restored.settle(key)
    assert restored.cluster.condition(key, "Succeeded") == ("True", "Restored")
    assert (await restored.state(), await restored.top_ups()) == ("done", ["created"])
    assert restored.replicas(key) == REPLICAS


async def test_a_job_that_is_still_dying_is_waited_for(restored: Restored, pool: Pool) -> None:
    await restored.marked()
    key = restored.apply()
    server: Connection = await asyncpg.connect(named(restored.kept_url, MAINTENANCE_DATABASE))
    try:
        async with sole_user_of(server, restored.database):
            with pytest.raises(TryAgain, match="another run is at work"):
                await restored.settle(key)
            assert restored.replicas(key) == 0
            assert await restored.top_ups() == []
    finally:
        await server.close()
    await restored.settle(key)
    assert restored.cluster.condition(key, "Succeeded") == ("True", "Restored")
    assert await restored.top_ups() == ["created"]


async def test_what_cannot_be_carried_over_is_told_and_can_be_tried_again(
    restored: Restored,
) -> None:
    kept = await asyncpg.connect(restored.kept_url)
    try:
        await kept.execute("ALTER TABLE payments RENAME TO damaged")
        await restored.marked()
        key = restored.apply()
        await restored.settle(key)
        answer = restored.cluster.condition(key, "Succeeded")
        assert answer == ("False", "TopUpsNotCarriedOver")
        assert "TopUpsNotCarriedOver" in restored.cluster.events(key)
        assert restored.replicas(key) == REPLICAS, "the bot does not stay away for it"
        await kept.execute("ALTER TABLE damaged RENAME TO payments")
    finally:
        await kept.close()
    # Deleted and applied again: a new object, which finds the same mark.
    del restored.cluster.objects[key]
    key = restored.apply(created="2026-11-24T12:30:00Z")
    await restored.settle(key)
    assert restored.cluster.condition(key, "Succeeded") == ("True", "Restored")
    assert await restored.top_ups() == ["created"]


class Lists:
    """A provider that has nothing, and remembers from when on it was asked."""

    def __init__(self) -> None:
        self.since: list[datetime] = []

    async def list(self, *, created_since: datetime, **_: Any) -> AsyncIterator[Any]:
        self.since.append(created_since)
        for one in NOTHING:
            yield one

    async def list_refunds(self, *, created_since: datetime, **_: Any) -> AsyncIterator[Any]:
        self.since.append(created_since)
        for one in NOTHING:
            yield one


async def test_payments_are_looked_for_from_the_backup_on(restored: Restored) -> None:
    """Forty days ago it was taken, which is longer than any resource may look back."""
    provider = restored.ask(Lists())
    await restored.marked("done")
    await restored.settle(restored.apply())
    assert len(provider.since) == 2, "payments and refunds"
    assert all(TAKEN_AGO < datetime.now(UTC) - since < 2 * TAKEN_AGO for since in provider.since)


async def test_the_restore_of_somebody_elses_database_is_not_ours(
    restored: Restored, setting: Any, template_database: str
) -> None:
    """Two Rei on one PostgreSQL server, in namespaces of one name, with Restores of one name."""
    other = f"{restored.database}_of_another"[:63]
    await restored.pool.execute(f'CREATE DATABASE "{other}" TEMPLATE {template_database}')
    try:
        async with restored.pool.acquire() as connection:
            await set_mark(connection, other, Mark(operation="rei.back", state="done"))
        key = restored.apply()
        await restored.settle(key)
        assert restored.cluster.condition(key, "Succeeded") == ("Unknown", "InProgress")
        assert Key("Job", key.namespace, "restore-back") in restored.cluster.objects
    finally:
        await restored.pool.execute(f'DROP DATABASE "{other}" WITH (FORCE)')
