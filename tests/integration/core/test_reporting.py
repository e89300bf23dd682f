"""What a dashboard's role sees in PostgreSQL: sums and pseudonyms, and nothing that leads to a person."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from rei_core.db import Pool

VIEWS = ("payments", "refunds", "jobs", "transfers", "customers")
CUSTOMERS = (123456789, 987654321)
TEXTS = ("geheim", "Anna", "anna_k")


@pytest.fixture
async def sold(pool: Pool) -> None:
    """Two customers with a payment, a refund, a job and a transfer each."""
    async with pool.acquire() as connection, connection.transaction():
        for user_id in CUSTOMERS:
            await connection.execute(
                "INSERT INTO users (id, username, first_name) VALUES ($1, 'anna_k', 'Anna')",
                user_id,
            )
            await connection.execute("INSERT INTO balances (user_id) VALUES ($1)", user_id)
            payment = await connection.fetchval(
                """INSERT INTO payments (id, user_id, amount_kopecks, status, request_key, chat_id,
                                         provider_payment_id, settled_at)
                   VALUES (gen_random_uuid(), $1, 20000, 'succeeded', 'k', $1, $1::bigint::text, now())
                   RETURNING id""",
                user_id,
            )
            await connection.execute(
                """INSERT INTO payment_refunds (id, payment_id, operation_id, amount_kopecks)
                   VALUES (gen_random_uuid(), $1, $2, 100)""",
                payment, f"operation-{user_id}",
            )  # fmt: skip
            await connection.execute(
                """INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account,
                                          credit_account, amount_kopecks, balance_after_kopecks, note)
                   VALUES ('topup', 'payment', $1, $2, 'payments', 'user', 20000, 20000, 'geheim')""",
                str(payment), user_id,
            )  # fmt: skip
            await connection.execute(
                """INSERT INTO jobs (user_id, idempotency_key, model, prompt, aspect_ratio, image_size,
                                     price_kopecks, attempts_max, deadline_at, chat_id, error_detail)
                   VALUES ($1, 'k', 'm', 'geheim', '1:1', '1K', 1500, 4, now(), $1, 'geheim')""",
                user_id,
            )


@pytest.fixture
async def grafana(pool: Pool, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the role that docs/dashboards.md makes."""
    role = f"grafana_{make_url(database_url).database}"
    await pool.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    await pool.execute(f"GRANT USAGE ON SCHEMA reporting TO {role}")
    await pool.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO {role}")
    url = make_url(database_url).set(username=role, password="p")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    yield connection
    await connection.close()
    await pool.execute(f"DROP OWNED BY {role}")
    await pool.execute(f"DROP ROLE {role}")


@pytest.mark.usefixtures("sold")
async def test_each_view_shows_its_rows_and_no_person(grafana: asyncpg.Connection) -> None:
    for view in VIEWS:
        rows = await grafana.fetch(f"SELECT * FROM reporting.{view}")
        assert len(rows) == len(CUSTOMERS), view
        shown = str([dict(row) for row in rows])
        for hidden in (*map(str, CUSTOMERS), *TEXTS):
            assert hidden not in shown, view


@pytest.mark.usefixtures("sold")
async def test_a_customer_has_one_pseudonym_everywhere(grafana: asyncpg.Connection) -> None:
    seen = {
        view: {row["customer"] for row in await grafana.fetch(f"SELECT * FROM reporting.{view}")}
        for view in VIEWS
    }
    assert len({frozenset(names) for names in seen.values()}) == 1
    assert len(seen["jobs"]) == len(CUSTOMERS)


@pytest.mark.usefixtures("sold")
async def test_a_pseudonym_cannot_be_had_by_trying_ids(grafana: asyncpg.Connection) -> None:
    names = {row["customer"] for row in await grafana.fetch("SELECT * FROM reporting.customers")}
    tried = {f"c-{hashlib.sha256(str(one).encode()).hexdigest()[:12]}" for one in CUSTOMERS}
    assert not names & tried
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await grafana.fetch("SELECT key FROM pseudonym_key")


async def test_a_dashboard_reads_nothing_else_and_writes_nothing(
    grafana: asyncpg.Connection,
) -> None:
    for table in ("users", "payments", "jobs", "transfers", "admin_actions", "pseudonym_key"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await grafana.fetch(f"SELECT * FROM {table}")
    for view in VIEWS:
        with pytest.raises(
            (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)
        ):
            await grafana.execute(f"DELETE FROM reporting.{view}")


async def test_there_is_one_key_of_full_length(pool: Pool) -> None:
    key = await pool.fetchval("SELECT key FROM pseudonym_key")
    assert len(key) == 32
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute("INSERT INTO pseudonym_key (key) VALUES ('x')")
