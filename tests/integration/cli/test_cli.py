"""The `rei` command as a person has it: an environment, an exit code and texts.

What talks to the world runs as a process of its own; what only reads settings runs in this one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click
import httpx
import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy.engine import make_url

from rei_core.cli import rei as rei_command
from rei_core.commands import look
from rei_sandbox.app import Running, running
from rei_sandbox.services import free_port
from rei_sandbox.settings import SandboxSettings

RUN_SECONDS_MAX = 60
PASSWORD = "geheim-0815"
TOKEN = "123456789:AAF-abcdefghijklmnopqrstuvwxyz01234"

Environment = dict[str, str]


@dataclass(frozen=True)
class Ended:
    """How a command ended; `said` is everything it wrote."""

    code: int
    said: str


def is_setting(name: str) -> bool:
    return name.startswith(("REI_", "YOOKASSA_", "GEMINI_", "BOT_TOKEN"))


def checked(ended: Ended) -> Ended:
    assert "Traceback" not in ended.said, ended.said
    assert PASSWORD not in ended.said
    return ended


def rei_here(*words: str, environment: Environment | None = None) -> Ended:
    """Run `rei WORDS` in this process, with no settings but these."""
    unset = {name: None for name in os.environ if is_setting(name)}
    result = CliRunner().invoke(
        rei_command, words, prog_name="rei", env={**unset, **(environment or {})}
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return checked(Ended(result.exit_code, result.output))


async def rei(*words: str, environment: Environment | None = None) -> Ended:
    """Run `rei WORDS` as a process, with no settings but these."""
    bare = {name: value for name, value in os.environ.items() if not is_setting(name)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rei_core", *words,
        env={**bare, "NO_PROXY": "127.0.0.1", "COLUMNS": "200", **(environment or {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(RUN_SECONDS_MAX):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return checked(Ended(process.returncode, output.decode()))


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    async with running(SandboxSettings(port=0, gemini_latency_seconds=0)) as server:
        yield server


@pytest.fixture
def gemini(sandbox: Running) -> Environment:
    return {"GEMINI_API_KEY": "sandbox-gemini-key", "GEMINI_BASE_URL": f"{sandbox.url}/gemini"}


@pytest.fixture
def everything(
    sandbox: Running, gemini: Environment, database_url: str, redis_url: str
) -> Environment:
    """All that the bot and the worker need, at the sandbox."""
    return {
        **gemini,
        "REI_DATABASE_URL": database_url,
        "REI_REDIS_URL": redis_url,
        "BOT_TOKEN": TOKEN,
        "REI_TELEGRAM_API_URL": sandbox.url,
        "YOOKASSA_SHOP_ID": "100500",
        "YOOKASSA_SECRET_KEY": "test_sandbox_secret_key",
        "YOOKASSA_API_URL": f"{sandbox.url}/yookassa/v3",
    }


@pytest.fixture
def offline() -> Environment:
    """All that has no default, for what only looks at it."""
    return {
        "REI_DATABASE_URL": f"postgresql://rei:{PASSWORD}@db/rei",
        "BOT_TOKEN": TOKEN,
        "YOOKASSA_SHOP_ID": "100500",
        "YOOKASSA_SECRET_KEY": PASSWORD,
        "GEMINI_API_KEY": PASSWORD,
    }


# --- rei ------------------------------------------------------------------------------------------


async def test_help_names_every_word() -> None:
    ended = await rei("--help")
    assert ended.code == 0
    for word in ("api", "bot", "config", "demo", "doctor", "migrate", "run", "sandbox", "worker"):
        assert f"\n  {word} " in ended.said
    assert rei_here("--help").said == rei_here("-h").said
    assert rei_here("--version").said.startswith("rei, version ")


def test_every_word_leads_to_the_command_of_that_name() -> None:
    context = click.Context(rei_command)
    words = rei_command.list_commands(context)
    found = [rei_command.get_command(context, word) for word in words]
    assert [command.name for command in found if command is not None] == words
    assert {command.name for command in look.COMMANDS} <= set(words)


@pytest.mark.parametrize(
    "word",
    [
        "api test",
        "backup",
        "backups list",
        "backups prune",
        "backups verify",
        "bot",
        "config check",
        "demo",
        "doctor",
        "migrate",
        "restore",
        "sandbox",
        "worker",
    ],
)
def test_every_word_explains_itself(word: str) -> None:
    ended = rei_here(*word.split(), "--help")
    assert ended.code == 0
    assert ended.said.startswith(f"Usage: rei {word} ")
    assert len(ended.said.splitlines()) > 4


def test_an_unknown_word_is_refused() -> None:
    ended = rei_here("dance")
    assert ended.code == 2
    assert "No such command 'dance'" in ended.said


# --- rei config check -----------------------------------------------------------------------------


def test_config_check_tells_what_is_missing_and_how_to_mend_it() -> None:
    ended = rei_here("config", "check")
    assert ended.code == 1
    for variable in ("REI_DATABASE_URL", "BOT_TOKEN", "YOOKASSA_SHOP_ID", "GEMINI_API_KEY"):
        assert f"✗ {variable}: is not set." in ended.said
        assert f"export {variable}=…" in ended.said


def test_config_check_of_one_part_asks_for_no_more_than_that() -> None:
    ended = rei_here("config", "check", "--part", "worker")
    assert ended.code == 1
    assert "✗ GEMINI_API_KEY" in ended.said
    assert "YOOKASSA" not in ended.said


def test_config_check_covers_the_operator(offline: Environment) -> None:
    wrong = {"REI_RESTORE_STOPS": "rei-bot", "REI_JOB_MEMORY_LIMIT": "lots"}
    whole = rei_here("config", "check", environment={**offline, **wrong})
    part = rei_here("config", "check", "--part", "operator", environment={**offline, **wrong})
    for ended in (whole, part):
        assert ended.code == 1
        assert "✗ REI_RESTORE_STOPS: is no JSON list." in ended.said
        assert "✗ REI_JOB_MEMORY_LIMIT" in ended.said
    assert "BOT_TOKEN" not in part.said
    assert "GEMINI" not in part.said
    needed = {name: offline[name] for name in offline if name.startswith(("REI_", "YOOKASSA_"))}
    assert rei_here("config", "check", "--part", "operator", environment=needed).code == 0


def test_config_check_masks_secrets_and_finds_all_well(offline: Environment) -> None:
    secrets = {
        "REI_REDIS_URL": f"redis://:{PASSWORD}@redis/0",
        "BOT_TOKEN": f"123456:{PASSWORD}",
        "REI_WEBHOOK_SECRET": PASSWORD,
        "REI_TOPUP_CHOICES_RUBLES": "[100, 200]",
        "YOOKASSA_API_URL": f"https://user:{PASSWORD}@proxy.example.com/v3",
    }
    ended = rei_here("config", "check", environment={**offline, **secrets})
    assert ended.code == 0, ended.said
    assert "all settings make sense" in ended.said
    assert ended.said.count("***") >= 6
    assert "[100, 200]" in ended.said
    assert "https://***@proxy.example.com/v3" in ended.said


def test_config_check_shows_the_default_of_each_process(offline: Environment) -> None:
    ended = rei_here("config", "check", environment=offline)
    assert "8082, 8081" in ended.said
    assert "8083" in ended.said, "the operator's own: all three start on one machine"


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("REI_PORT", PASSWORD, "valid integer"),
        ("REI_MODE", "pigeon", "'polling' or 'webhook'"),
        ("REI_TRUSTED_PROXIES", "10.0.0.0/8", "is no JSON list"),
        ("REI_TRUSTED_PROXIES", f'["{PASSWORD}"]', "number 1 of the list is no network"),
        ("REI_REDIS_URL", f"redis://:{PASSWORD}/x@redis/0", "is no address of a Redis"),
        ("YOOKASSA_API_URL", "[/red]", "is no address. It looks like https://host"),
        ("BOT_TOKEN", "", "is empty"),
        ("REI_CATALOG_FILE", "/nonexistent/catalog.toml", "cannot be used"),
    ],
)
def test_config_check_tells_what_is_wrong(
    offline: Environment, variable: str, value: str, problem: str
) -> None:
    ended = rei_here("config", "check", environment={**offline, variable: value})
    assert ended.code == 1
    assert variable in ended.said
    assert problem in ended.said
    assert "all settings make sense" not in ended.said


def test_config_check_names_all_that_is_wrong_at_once(offline: Environment) -> None:
    wrong = {
        "REI_REDIS_URL": "nonsense", "REI_TOPUP_MIN_RUBLES": "0", "REI_LEASE_SECONDS": "nan",
        "REI_MODE": "carrier pigeon", "REI_ACTIVE_JOBS_MAX": "many",
        "REI_CATALOG_FILE": "/nowhere/catalog.toml",
    }  # fmt: skip
    ended = rei_here("config", "check", environment={**offline, **wrong})
    assert ended.code == 1
    problems = [line for line in ended.said.splitlines() if line.startswith("✗")]
    for variable in wrong:
        assert sum(variable in line for line in problems) == 1, variable
    assert len(problems) == len(wrong)


# --- rei migrate ----------------------------------------------------------------------------------


async def test_migrate_an_empty_database_url_once(empty_database_url: str) -> None:
    environment = {"REI_DATABASE_URL": empty_database_url}
    missing = await rei("migrate", "--check", environment=environment)
    assert missing.code == 1
    assert "the schema is at nothing" in missing.said
    # As several pods do at the same moment: one works, the others find nothing to do.
    together = await asyncio.gather(*(rei("migrate", environment=environment) for _ in range(3)))
    assert [one.code for one in together] == [0, 0, 0], together
    again = await rei("migrate", environment=environment)
    assert (again.code, "nothing to do" in again.said) == (0, True)
    assert (await rei("migrate", "--check", environment=environment)).code == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "REI_DATABASE_URL: is not set"),
        ("garbage", "is no address of a database"),
        ("postgresql://rei:{password}/x@127.0.0.1/rei", "is no address of a database"),
        ("postgresql://rei:{password}@127.0.0.1:{port}/rei", "cannot be reached"),
    ],
)
async def test_migrate_without_a_database_is_one_line(url: str, said: str) -> None:
    full = url.format(password=PASSWORD, port=free_port())
    ended = await rei("migrate", environment={"REI_DATABASE_URL": full} if url else None)
    assert ended.code == 1
    assert said in ended.said
    assert len(ended.said.splitlines()) == 1


# --- rei doctor -----------------------------------------------------------------------------------


async def test_doctor_finds_all_well(everything: Environment, sandbox: Running) -> None:
    ended = await rei("doctor", environment=everything)
    assert ended.code == 0, ended.said
    for name in ("database: PostgreSQL", "redis: Redis", "telegram: @", "yookassa: shop 100500",
                 "gemini: models gemini-"):  # fmt: skip
        assert f"✓ {name}" in ended.said
    assert "✓ webhook: none, as polling wants it" in ended.said
    assert "✓ backup: never yet: there are no customers" in ended.said
    counts = sandbox.sandbox.calls.counts()["gemini"]
    assert set(counts) == {"probe"}, "nothing is billed"


async def test_doctor_looks_whether_updates_reach_us(
    everything: Environment, sandbox: Running
) -> None:
    public = {"REI_MODE": "webhook", "REI_PUBLIC_URL": "https://bot.example.com"}
    ask = ("doctor", "--only", "webhook")
    ended = await rei(*ask, environment={**everything, **public})
    assert ended.code == 2
    assert "to nowhere, and not to https://bot.example.com/webhook/telegram" in ended.said
    async with httpx.AsyncClient() as client:
        url = "https://bot.example.com/webhook/telegram"
        await client.get(f"{sandbox.url}/bot{TOKEN}/setWebhook", params={"url": url})
    assert (await rei(*ask, environment={**everything, **public})).code == 0
    ended = await rei(*ask, environment=everything)
    assert ended.code == 2
    assert "REI_MODE is polling" in ended.said


async def test_doctor_tells_what_is_ill_and_the_remedy(
    everything: Environment, empty_database_url: str
) -> None:
    ill = {
        "REI_DATABASE_URL": empty_database_url,
        "REI_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0",
        "BOT_TOKEN": PASSWORD,
        "YOOKASSA_SECRET_KEY": PASSWORD,
        "GEMINI_API_KEY": PASSWORD,
    }
    ended = await rei("doctor", environment={**everything, **ill})
    assert ended.code == 2
    assert "✗ database: schema is at nothing" in ended.said
    assert "rei migrate" in ended.said
    assert "✗ redis: ConnectionError" in ended.said
    assert "✗ telegram: getMe refused" in ended.said
    assert "✗ webhook: getWebhookInfo refused" in ended.said
    assert "✗ shop: not known: queue" in ended.said
    assert "✗ yookassa: GET /yookassa/v3/me: HTTP 401 invalid_credentials" in ended.said
    assert "✗ gemini: bad_key" in ended.said
    assert "✓" not in ended.said


async def test_doctor_does_not_faint(everything: Environment) -> None:
    odd = {
        "REI_DATABASE_URL": f"mysql://rei:{PASSWORD}@db/rei",
        "REI_REDIS_URL": "garbage",
        "REI_TELEGRAM_API_URL": f"http://127.0.0.1:{free_port()}",
        "YOOKASSA_API_URL": f"http://127.0.0.1:{free_port()}",
        "GEMINI_BASE_URL": f"http://127.0.0.1:{free_port()}",
    }
    ended = await rei("doctor", environment={**everything, **odd})
    assert ended.code == 2
    assert ended.said.count("✗") == 7
    # A key is not to blame for a network that is away.
    assert ended.said.count("Can this machine reach 127.0.0.1:") == 4
    assert TOKEN not in ended.said
    unset = await rei("doctor")
    assert unset.code == 2
    assert unset.said.count("is not set") == 6  # Redis has a default, and is looked for there


# --- rei api test ---------------------------------------------------------------------------------


async def test_api_test_saves_a_picture(gemini: Environment, tmp_path: Path) -> None:
    output = tmp_path / "cat.png"
    ended = await rei(
        "api", "test", "a cat on the Moon", "--ratio", "16:9", "--size", "2K",
        "--output", str(output), environment=gemini,
    )  # fmt: skip
    assert ended.code == 0, ended.said
    assert "2752×1536 image/png" in ended.said
    with Image.open(output) as picture:
        assert picture.size == (2752, 1536)


async def test_api_test_takes_the_configured_catalogue(
    gemini: Environment, sandbox: Running, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(
        '[[models]]\nid = "gemini-3-pro-image"\ntitle = "Pro"\ninput_images_max = 1\n'
        'aspect_ratios = ["1:1"]\nprices_kopecks = { "1K" = 100 }\n'
    )
    ended = await rei(
        "api", "test", "a cat", "--output", str(tmp_path / "x.png"),
        environment={**gemini, "REI_CATALOG_FILE": str(catalog)},
    )  # fmt: skip
    assert ended.code == 0, ended.said
    assert sandbox.sandbox.calls.counts()["gemini"]["made"] == {"gemini-3-pro-image": 1}


@pytest.mark.parametrize(
    ("prompt", "key", "said"),
    [
        ("forbidden", "sandbox-gemini-key", "rei: blocked"),
        ("a cat", PASSWORD, "rei: bad_key"),
        ("a cat", "", "GEMINI_API_KEY: is empty"),
    ],
)
async def test_api_test_tells_why_there_is_no_picture(
    gemini: Environment, tmp_path: Path, prompt: str, key: str, said: str
) -> None:
    output = tmp_path / "x.png"
    ended = await rei(
        "api", "test", prompt, "--output", str(output),
        environment={**gemini, "GEMINI_API_KEY": key},
    )  # fmt: skip
    assert ended.code == 1
    assert said in ended.said
    assert not output.exists()


async def test_api_test_bills_nothing_for_a_picture_it_could_not_save(
    gemini: Environment, sandbox: Running, tmp_path: Path
) -> None:
    output = tmp_path / "none" / "x.png"
    ended = await rei("api", "test", "a cat", "--output", str(output), environment=gemini)
    assert ended.code == 2
    assert "is no folder" in ended.said
    assert "gemini" not in sandbox.sandbox.calls.counts()


# --- rei preflight --------------------------------------------------------------------------------


def verdicts(said: str) -> dict[str, str]:
    """OK or FAIL by precondition, from the table."""
    rows = (line.split("│") for line in said.splitlines() if line.startswith("│"))
    return {cells[1].strip(): cells[2].strip() for cells in rows if cells[2].strip()}


async def test_preflight_lets_an_install_on_an_empty_database_begin(
    everything: Environment, empty_database_url: str, sandbox: Running
) -> None:
    """What `rei doctor` calls ill is what an install is for."""
    environment = {**everything, "REI_DATABASE_URL": empty_database_url}
    ended = await rei("preflight", environment=environment)
    assert ended.code == 0, ended.said
    assert set(verdicts(ended.said).values()) == {"OK"}
    assert set(verdicts(ended.said)) == {
        "database", "schema", "new-databases", "redis", "telegram", "yookassa", "gemini",
    }  # fmt: skip
    assert "will be migrated" in ended.said
    assert set(sandbox.sandbox.calls.counts()["gemini"]) == {"probe"}, "nothing is billed"


async def test_preflight_leaves_a_newer_schema_alone(
    everything: Environment, empty_database_url: str
) -> None:
    environment = {**everything, "REI_DATABASE_URL": empty_database_url}
    assert (await rei("migrate", environment=environment)).code == 0
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    ended = await rei("preflight", environment=environment)
    assert ended.code == 0, ended.said
    assert "newer" in ended.said


async def test_preflight_says_what_a_database_user_lacks(
    everything: Environment, empty_database_url: str
) -> None:
    role = f"lowly_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    lowly = make_url(empty_database_url).set(username=role, password=PASSWORD)
    url = lowly.render_as_string(hide_password=False)
    try:
        ended = await rei("preflight", environment={**everything, "REI_DATABASE_URL": url})
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()
    assert ended.code == 1
    found = verdicts(ended.said)
    assert {name for name, verdict in found.items() if verdict == "FAIL"} == {
        "schema",
        "new-databases",
    }
    assert "GRANT CREATE ON SCHEMA public" in ended.said
    assert "ALTER ROLE <user> CREATEDB" in ended.said


async def test_preflight_before_there_is_a_database_asks_the_others(
    everything: Environment,
) -> None:
    environment = {name: text for name, text in everything.items() if "REI_DATABASE" not in name}
    environment["GEMINI_API_KEY"] = PASSWORD
    ended = await rei("preflight", "--without=database", environment=environment)
    assert ended.code == 1
    assert verdicts(ended.said) == {
        "redis": "OK", "telegram": "OK", "yookassa": "OK", "gemini": "FAIL",
    }  # fmt: skip


async def test_preflight_names_each_secret_that_is_missing(redis_url: str) -> None:
    ended = await rei("preflight", "--without=database", environment={"REI_REDIS_URL": redis_url})
    assert ended.code == 1
    for name in ("BOT_TOKEN", "YOOKASSA_SHOP_ID", "GEMINI_API_KEY"):
        assert f"{name}: is not set" in " ".join(ended.said.split())
