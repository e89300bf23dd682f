"""Migrations: from nothing to head, each on data of the one before, any number at once."""

from __future__ import annotations

import asyncio
import threading

import asyncpg
import pytest
from click.testing import CliRunner
from sqlalchemy.engine import make_url

from rei_core.commands.migrate import migrate_command
from rei_core.db.migrate import REVISIONS, migrate, schema_state, script_directory
from rei_core.users import queries as users

# What a running bot has left in the database at each revision, so that the next one is tried on
# data. A new revision without an entry here fails `test_every_revision_has_data`.
DATA: dict[str, str] = {
    "0001": """
        INSERT INTO users (id, first_name) VALUES (1, 'A');
        INSERT INTO balances (user_id, balance_kopecks) VALUES (1, 500);
        INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                               amount_kopecks, balance_after_kopecks)
        VALUES ('adjustment', 'operation', 'o', 1, 'adjustments', 'user', 500, 500);
        INSERT INTO users (id, first_name, banned_at, banned_until, ban_reason)
        VALUES (2, 'B', now() - interval '1 day', now() + interval '1 day', 'spam'),
               (3, 'C', now() - interval '1 day', NULL, NULL);
    """,
    "0002": """
        INSERT INTO maintenance_runs (kind, namespace, name, scheduled_for, owner, lease_until)
        VALUES ('LedgerAudit', 'default', 'nightly', now(), 'operator-1', now());
        INSERT INTO user_bans (source, user_id, reason) VALUES ('userban/default/b', 2, 'again');
    """,
    "0003": """
        INSERT INTO admin_actions (operation_id, word, actor, via, user_id, amount_kopecks, reason)
        VALUES ('ticket-1', 'credit', 'anna@laptop', 'rei', 1, 500, 'a broken picture');
        INSERT INTO admin_requests (operation_id, admin_id, word, user_id, reason)
        VALUES ('bot-7-1', 7, 'ban', 2, 'spam');
    """,
    "0004": """
        INSERT INTO payments (id, user_id, amount_kopecks, request_key, chat_id)
        VALUES (gen_random_uuid(), 1, 20000, 'k', 1);
    """,
}


def revisions() -> list[str]:
    """Oldest first."""
    return [script.revision for script in script_directory().walk_revisions()][::-1]


def test_every_revision_has_data_and_sql() -> None:
    assert list(DATA) == revisions()
    for script in script_directory().walk_revisions():
        assert list(REVISIONS.glob(f"{script.revision}_*.sql"))


async def test_each_revision_works_on_the_data_of_the_one_before(empty_database_url: str) -> None:
    for revision in revisions():
        state = await migrate(empty_database_url, target=revision)
        assert state.current == revision
        connection = await asyncpg.connect(empty_database_url)
        await connection.execute(DATA[revision])
        await connection.close()
    assert (await schema_state(empty_database_url)).up_to_date


async def test_bans_from_before_have_a_source_and_can_be_lifted(empty_database_url: str) -> None:
    await migrate(empty_database_url, target="0001")
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(DATA["0001"])
    await migrate(empty_database_url)
    rows = await connection.fetch("""
        SELECT source, user_id, reason = coalesce(ban_reason, '') AND user_bans.created_at = banned_at
               AND expires_at IS NOT DISTINCT FROM banned_until AS the_same
        FROM user_bans JOIN users ON users.id = user_id ORDER BY user_id
    """)
    assert [tuple(row) for row in rows] == [("admin/2", 2, True), ("admin/3", 3, True)]
    await connection.execute("INSERT INTO balances (user_id) VALUES (2), (3)")
    for user_id in (2, 3):
        assert await users.unban(connection, user_id)
        user = await users.find(connection, user_id)
        assert user is not None
        assert not user.banned
    await connection.close()


async def test_an_address_may_hold_what_libpq_knows(empty_database_url: str) -> None:
    state = await migrate(f"{empty_database_url}?sslmode=prefer")
    assert state.up_to_date


async def test_migrations_at_the_same_time_wait_for_each_other(empty_database_url: str) -> None:
    states = await asyncio.gather(*(migrate(empty_database_url) for _ in range(5)))
    assert all(state.up_to_date for state in states)


def test_the_command_tells_what_it_does(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REI_DATABASE_URL", empty_database_url)
    runner = CliRunner()
    missing = runner.invoke(migrate_command, ["--check"])
    assert missing.exit_code == 1
    assert "nothing" in missing.output
    assert "Migrated the schema from nothing to" in runner.invoke(migrate_command).output
    assert "nothing to do" in runner.invoke(migrate_command).output
    assert runner.invoke(migrate_command, ["--check"]).exit_code == 0


def test_a_schema_of_a_newer_version_is_left_as_it_is(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rollback pods of the older version start on it."""
    asyncio.run(migrate(empty_database_url))
    asyncio.run(execute(empty_database_url, "UPDATE alembic_version SET version_num = '9999'"))
    monkeypatch.setenv("REI_DATABASE_URL", empty_database_url)
    for words in ([], ["--check"]):
        ended = CliRunner().invoke(migrate_command, words)
        assert ended.exit_code == 0, ended.output
        assert "newer" in ended.output
    assert asyncio.run(schema_state(empty_database_url)).current == "9999"


def test_the_command_waits_for_a_database_that_comes(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{make_url(empty_database_url).database}_late"
    late = make_url(empty_database_url).set(database=name).render_as_string(hide_password=False)
    monkeypatch.setenv("REI_DATABASE_URL", late)
    assert CliRunner().invoke(migrate_command, []).exception is not None, "it is not there yet"
    comes = threading.Timer(
        1.5, lambda: asyncio.run(execute(empty_database_url, f"CREATE DATABASE {name}"))
    )
    comes.start()
    ended = CliRunner().invoke(migrate_command, ["--wait", "60"])
    comes.join()
    assert ended.exit_code == 0, ended.output
    assert "Migrated the schema from nothing" in ended.output
    asyncio.run(execute(empty_database_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
