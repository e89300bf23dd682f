"""Top-ups that only the database knows that a restore has put aside: carried over as questions, each
once, and credited once if they were paid."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import Pool, create_pool
from rei_core.ledger.audit import audit
from rei_core.maintenance.backups import carry_over
from rei_core.maintenance.backups.carry_over import OVERLAP, carry_payments
from rei_core.maintenance.backups.errors import DatabaseUnreachable, PaymentsLeftBehind
from rei_core.maintenance.backups.tools import named
from rei_core.payments import queries
from rei_core.users import queries as users

from ..maintenance.conftest import crash_at, no_crash
from ..money_models.profiles import PROFILE, SECONDS_MAX
from ..money_models.real_books import EMPTY
from .conftest import execute

TAKEN_AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
PAGE = 2
"""Small, so that a life has several, and rows of one moment lie on both sides of an edge."""


@dataclass(frozen=True, slots=True)
class TopUp:
    """One that the database of before has. `backed_up`: the restored one has it, too, as it was
    when the backup was taken; `paid` says the provider."""

    minutes: int
    user_id: int
    kopecks: int
    status: str
    backed_up: bool
    paid: bool

    @property
    def created_at(self) -> datetime:
        return TAKEN_AT + timedelta(minutes=self.minutes)

    @property
    def carried_status(self) -> str:
        """What the restored database should say of it: what had come of it is asked again."""
        if self.backed_up or self.status == "succeeded":
            return "created" if self.status == "created" else "pending"
        return self.status


def _possible(one: TopUp) -> TopUp:
    """What was begun long before the backup is in it, what was begun after it is not; and nobody has
    paid what was cancelled."""
    backed_up = timedelta(minutes=-one.minutes) > OVERLAP or (one.backed_up and one.minutes < 0)
    return replace(one, backed_up=backed_up, paid=one.paid and one.status != "canceled")


TOP_UP = st.builds(
    TopUp,
    minutes=st.sampled_from([-6_000, -61, -60, -1, 0, 1, 1, 1, 600]),
    user_id=st.integers(1, 3),
    kopecks=st.sampled_from([100, 300]),
    status=st.sampled_from(["created", "pending", "pending", "succeeded", "succeeded", "canceled"]),
    backed_up=st.booleans(),
    paid=st.booleans(),
).map(_possible)
Numbered = tuple[UUID, TopUp]


class Databases:
    """That of before, and the one in its place."""

    def __init__(self, before: Pool, restored: Pool, *, before_url: str, restored_url: str) -> None:
        self.before = before
        self.restored = restored
        self.before_url = before_url
        self.restored_url = restored_url

    async def fill(self, top_ups: list[TopUp]) -> list[Numbered]:
        for pool in (self.before, self.restored):
            await pool.execute(EMPTY)
        numbered = [(UUID(int=n), one) for n, one in enumerate(top_ups, start=1)]
        for payment_id, one in numbered:
            await _begin(self.before, payment_id, one, one.status)
            if one.backed_up:
                await _begin(self.restored, payment_id, one, one.carried_status)
        return numbered

    async def carry(self) -> int:
        return await carry_payments(
            from_url=self.before_url, to_url=self.restored_url, taken_at=TAKEN_AT
        )

    async def settle(self, numbered: list[Numbered]) -> dict[int, int]:
        """Credit all that was paid, twice; the balances then."""
        for payment_id, one in [*numbered, *numbered]:
            if one.paid:
                async with self.restored.acquire() as connection:
                    await _credit(connection, payment_id, one)
        rows = await self.restored.fetch("SELECT user_id, balance_kopecks FROM balances")
        return {row["user_id"]: row["balance_kopecks"] for row in rows if row["balance_kopecks"]}

    async def known(self) -> dict[UUID, tuple[int, int, str]]:
        rows = await self.restored.fetch("SELECT * FROM payments")
        return {
            UUID(str(row["id"])): (row["user_id"], row["amount_kopecks"], row["status"])
            for row in rows
        }

    async def require_consistent(self) -> None:
        async with self.restored.acquire() as connection:
            assert (await audit(connection)).consistent


async def _begin(pool: Pool, payment_id: UUID, one: TopUp, status: str) -> None:
    async with pool.acquire() as connection:
        await users.see(connection, one.user_id, first_name="Ася")
        await queries.open_payment(
            connection, payment_id, user_id=one.user_id, amount_kopecks=one.kopecks,
            request_key=str(payment_id), chat_id=one.user_id,
        )  # fmt: skip
        await connection.execute(
            "UPDATE payments SET created_at = $2 WHERE id = $1", payment_id, one.created_at
        )
        there = f"there-{payment_id}"
        if status == "pending":
            await queries.mark_pending(
                connection, payment_id, provider_payment_id=there, confirmation_url=None
            )
        elif status == "succeeded":
            await _credit(connection, payment_id, one)
        elif status == "canceled":
            await queries.mark_canceled(
                connection, payment_id, provider_payment_id=there, reason="expired"
            )


async def _credit(connection: Any, payment_id: UUID, one: TopUp) -> None:
    await queries.credit(
        connection, payment_id, provider_payment_id=f"there-{payment_id}",
        amount_kopecks=one.kopecks, currency="RUB",
    )  # fmt: skip


def paid_by(numbered: list[Numbered]) -> dict[int, int]:
    """What each customer has paid for, as the provider knows it."""
    sums: dict[int, int] = {}
    for _, one in numbered:
        if one.paid:
            sums[one.user_id] = sums.get(one.user_id, 0) + one.kopecks
    return sums


@asynccontextmanager
async def opened(server_url: str, template: str, restored_url: str) -> AsyncIterator[Databases]:
    """The restored database, and one beside it that was put aside."""
    name = f"rei_before_{os.getpid()}"
    before_url = named(server_url, name)
    await execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        pools = [await create_pool(url, application="test", size_max=3)
                 for url in (before_url, restored_url)]  # fmt: skip
        yield Databases(*pools, before_url=before_url, restored_url=restored_url)
        for pool in pools:
            await pool.close()
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def databases(
    postgres_url: str, template_database: str, database_url: str
) -> AsyncIterator[Databases]:
    async with opened(postgres_url, template_database, database_url) as both:
        yield both


async def carried_as_questions(databases: Databases, top_ups: list[TopUp], times: int) -> None:
    """However often they are carried."""
    numbered = await databases.fill(top_ups)
    missing = [one for _, one in numbered if not one.backed_up]
    assert await databases.carry() == len(missing)
    for _ in range(times - 1):
        assert await databases.carry() == 0
    assert await databases.known() == {
        payment_id: (one.user_id, one.kopecks, one.carried_status) for payment_id, one in numbered
    }
    await databases.require_consistent()  # no money has moved: nothing is in the ledger
    assert await databases.restored.fetchval("SELECT count(*) FROM transfers") == 0
    assert await databases.settle(numbered) == paid_by(numbered)
    assert await databases.carry() == 0, "what is credited here stays as it is"
    assert await databases.settle(numbered) == paid_by(numbered)
    await databases.require_consistent()


@pytest.mark.timeout(SECONDS_MAX)
def test_whatever_there_was_is_carried_as_questions_and_credited_once(
    postgres_url: str, template_database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry_over, "PAGE", PAGE)
    with asyncio.Runner() as runner:
        both = opened(postgres_url, template_database, database_url)
        databases = runner.run(both.__aenter__())

        @PROFILE
        @given(top_ups=st.lists(TOP_UP, max_size=8), times=st.integers(1, 3))
        def always(top_ups: list[TopUp], times: int) -> None:
            runner.run(carried_as_questions(databases, top_ups, times))

        try:
            always()
        finally:
            runner.run(both.__aexit__(None, None, None))


LIFE = [
    TopUp(minutes, user_id, 100, "succeeded", backed_up=False, paid=True)
    for minutes, user_id in ((1, 1), (1, 2), (2, 1), (3, 3), (3, 3))
]


@pytest.mark.parametrize("table", ["users", "balances", "payments"])
@pytest.mark.parametrize("nth", [2, 3])
async def test_a_crash_at_any_write_leaves_whole_pages_and_the_next_try_the_rest(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, table: str, nth: int
) -> None:
    monkeypatch.setattr(carry_over, "PAGE", PAGE)
    numbered = await databases.fill(LIFE)
    await crash_at(databases.restored, table, nth=nth)
    with pytest.raises(DatabaseUnreachable):
        await databases.carry()
    known = await databases.known()
    assert len(known) % PAGE == 0
    assert len(known) < len(LIFE)
    await databases.require_consistent()

    await no_crash(databases.restored, table)
    assert await databases.carry() == len(LIFE) - len(known)
    assert await databases.settle(numbered) == paid_by(numbered)
    await databases.require_consistent()


async def test_what_cannot_be_read_there_is_said_and_nothing_is_carried(
    databases: Databases,
) -> None:
    await databases.fill(LIFE)
    await databases.before.execute("ALTER TABLE payments RENAME COLUMN chat_id TO gone")
    with pytest.raises(PaymentsLeftBehind, match="UndefinedColumnError") as refused:
        await databases.carry()
    assert refused.value.kept_as in databases.before_url
    assert await databases.known() == {}
