"""No secret of ours is ever written anywhere: planted, and then looked for in all that there is.

The whole of Rei runs as real processes at DEBUG, with random credentials; customers order and top
up while every service fails in every way the stand-ins know; strangers guess; commands are run, and
processes are started on settings that are wrong. Then everything is searched that a person, a log
collector or a customer could read: output, metrics, chats, tables, Redis, command lines.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import asyncpg
import httpx
import pytest
import redis as sync_redis

from rei_core.commands.doctor import SERVICES
from rei_core.db import create_pool
from rei_sandbox.demo.person import Person
from rei_sandbox.demo.story import CUSTOMER_ID, Story
from rei_sandbox.stage import Stage

from ..integration.security.listening import LOOPBACK, listens_on
from .secrets_search import forms, leaks

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

SECONDS_MAX: Final = 120.0
SUPPORT: Final = "@control-support"
"""No secret: to see that the output of commands is searched at all."""
PROMPT: Final = "кот в скафандре, акварель"
TELEGRAM_FAULTS: Final = ("internal", "rate_limited", "unavailable", "done_no_answer")
YOOKASSA_FAULTS: Final = ("internal", "rate_limited", "unavailable", "done_no_answer")
GEMINI_FAULTS: Final = (
    "rate_limited", "unavailable", "internal", "done_no_answer", "truncated", "garbage",
    "not_an_image", "no_image",
)  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """Our credentials, and those of a shop that somebody mixed up: no process may show either."""

    token: str = field(default_factory=lambda: f"7000000001:{_random(35)}")
    other_token: str = field(default_factory=lambda: f"7000000002:{_random(35)}")
    webhook: str = field(default_factory=lambda: _random(40))
    # None of a shape that a pattern in the logs could know: nothing but not writing them helps.
    yookassa: str = field(default_factory=lambda: _random(43))
    gemini: str = field(default_factory=lambda: _random(39))
    database: str = field(default_factory=lambda: f"{_random(12)}/+:@ %{_random(12)}")
    redis: str = field(default_factory=lambda: f"{_random(12)}/@:{_random(12)}")
    mistaken: str = field(default_factory=lambda: _random(32))

    def sought(self) -> dict[str, str]:
        """The part of each that nobody can know."""
        return {
            "BOT_TOKEN": self.token.partition(":")[2],
            "another BOT_TOKEN": self.other_token.partition(":")[2],
            "REI_WEBHOOK_SECRET": self.webhook,
            "YOOKASSA_SECRET_KEY": self.yookassa,
            "GEMINI_API_KEY": self.gemini,
            "password of PostgreSQL": self.database,
            "its first half": self.database[:12],
            "its second half": self.database[-12:],
            "password of Redis": self.redis,
            "its beginning": self.redis[:12],
            "a mistaken setting": self.mistaken,
        }


@dataclass
class Run:
    """What was written while everything happened, by where it was found."""

    planted: Planted
    sources: dict[str, bytes] = field(default_factory=dict)
    listening: dict[str, set[str]] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    answers: list[httpx.Response] = field(default_factory=list)

    def keep(self, source: str, content: str | bytes) -> None:
        """Remember what is to be searched."""
        known = self.sources.get(source, b"")
        self.sources[source] = known + (content.encode() if isinstance(content, str) else content)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Everything that may happen to a Rei, once; the tests then read what it has left."""
    planted = Planted()
    run = Run(planted)
    with tempfile.TemporaryDirectory(prefix="rei-", ignore_cleanup_errors=True) as name:
        stage = _stage(Path(name), planted)
        try:
            stage.start(lambda part, _seconds: _lock(stage, part, planted))
            asyncio.run(_live(run, stage))
            _commands(run, stage)
            _bad_starts(run, stage)
            asyncio.run(_collect(run, stage))
        finally:
            stage.stop()
            for log in stage.logs():
                run.keep(f"log {log.name}", log.read_bytes())
        yield run


def test_no_secret_is_found_anywhere(run: Run) -> None:
    assert leaks(run.sources, run.planted.sought()) == []


def test_all_of_it_was_searched(run: Run) -> None:
    """Each kind of place holds what it must, so that an empty one cannot pass for a clean one."""
    for source, words in {
        "log bot-0.log": '"level": "debug"',
        "log worker-0.log": '"level": "debug"',
        "log sandbox.log": "chat page",
        "log postgres.log": "ready to accept connections",
        "log redis.log": "Ready to accept connections",
        "metrics of the bot": "rei_bot_updates_total",
        "metrics of the worker": "rei_worker_jobs_total",
        "chats": PROMPT,
        "table jobs": PROMPT,
        "table payments": "succeeded",
        "redis": "rei",
        "command line of bot-0": "rei_core",
        "rei config check": SUPPORT,
        "rei doctor": "database",
        "rei api test": "Saved",
    }.items():
        assert words in run.sources[source].decode(errors="replace"), source
    assert b"***" in run.sources["rei config check"]


def test_every_service_failed_meanwhile(run: Run) -> None:
    for service, kinds in (
        ("telegram", TELEGRAM_FAULTS),
        ("yookassa", YOOKASSA_FAULTS),
        ("gemini", (*GEMINI_FAULTS, "bad_key")),
    ):
        for kind in kinds:
            assert run.faults.get(f"{service}.{kind}"), (service, kind, run.faults)


def test_strangers_were_refused_and_told_nothing(run: Run) -> None:
    assert {answer.status_code for answer in run.answers} == {400, 401, 404, 405, 413}


def test_a_wrong_setting_is_one_line_that_names_it(run: Run) -> None:
    starts = {name: text for name, text in run.sources.items() if name.startswith("start ")}
    assert len(starts) == len(_bad_settings(run.planted))
    for name, text in starts.items():
        _start, _number, word, variable = name.split()
        assert b"Traceback" not in text, (name, text.decode())
        assert variable.encode() in text, (name, text.decode())
        if word != "doctor":  # which tells of everything else as well
            assert text.splitlines()[-1].startswith(b"rei: "), (name, text.decode())


def test_everything_listens_on_loopback_only(run: Run) -> None:
    assert set(run.listening) == {"sandbox", "bot-0", "worker-0"}
    for name, addresses in run.listening.items():
        assert addresses, name
        assert all(LOOPBACK.fullmatch(address) for address in addresses), (name, addresses)


def test_the_search_finds_every_form_wherever_it_stands() -> None:
    import base64

    planted = Planted()
    for name, secret in planted.sought().items():
        for form, sought in forms(secret).items():
            sample = {"clean": b"nothing here", "control": b'{"a": "' + sought + b'"}'}
            found = leaks(sample, {name: secret})
            assert (name, form) in {(leak.secret, leak.form) for leak in found}
            assert {leak.source for leak in found} == {"control"}
        for before in ("", "1", "12", "100500:", "user:"):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                header = b"Authorization: Basic " + encode(f"{before}{secret}!".encode())
                assert leaks({"header": header}, {name: secret}), (name, before)
    assert leaks({"clean": b"nothing here"}, planted.sought()) == []


def test_a_secret_that_a_process_does_write_is_found(tmp_path: Path) -> None:
    """The same way as the others' output: a child of ours, its log, the search."""
    planted = Planted()
    log = tmp_path / "child.log"
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, "-c", "import os; print('key', os.environ['GEMINI_API_KEY'])"],
            env={"GEMINI_API_KEY": planted.gemini},
            stdout=output,
            check=True,
        )
    found = leaks({"log": log.read_bytes()}, planted.sought())
    assert {(leak.source, leak.secret, leak.before) for leak in found} == {
        ("log", "GEMINI_API_KEY", "key ")
    }


def _random(length: int) -> str:
    """Letters and digits, so that no form of it is quoted away by chance."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _stage(folder: Path, planted: Planted) -> Stage:
    """All processes with the planted credentials, which the stand-ins ask for."""
    stage = Stage(folder, durable=False, mode="webhook")
    environment = {
        "BOT_TOKEN": planted.token,
        "REI_SANDBOX_TELEGRAM_BOT_TOKEN": planted.token,
        "REI_WEBHOOK_SECRET": planted.webhook,
        "YOOKASSA_SECRET_KEY": planted.yookassa,
        "REI_SANDBOX_YOOKASSA_SECRET_KEY": planted.yookassa,
        "GEMINI_API_KEY": planted.gemini,
        "REI_SANDBOX_GEMINI_API_KEY": planted.gemini,
        "REI_DATABASE_URL": _database_url(stage, planted.database),
        "REI_REDIS_URL": f"redis://:{quote(planted.redis, safe='')}@127.0.0.1:{stage.redis.port}/0",
        "REI_LOG_LEVEL": "DEBUG",
        "REI_SUPPORT_CONTACT": SUPPORT,
        "REI_GEMINI_TIMEOUT_SECONDS": "10",
        "REI_RETRY_BASE_SECONDS": "0.2",
    }
    for program in stage.programs:
        program.environment = {**program.environment, **environment}
    return stage


def _database_url(stage: Stage, password: str) -> str:
    address = f"127.0.0.1:{stage.postgres.port}/postgres"
    return f"postgresql://rei:{quote(password, safe='')}@{address}"


def _lock(stage: Stage, part: str, planted: Planted) -> None:
    """Give PostgreSQL and Redis passwords that really are asked for, once they are up."""
    if part == "schema":
        asyncio.run(_create_role(stage, planted))
    elif part == "Redis":
        with sync_redis.Redis(port=stage.redis.port) as redis:
            redis.config_set("requirepass", planted.redis)


async def _create_role(stage: Stage, planted: Planted) -> None:
    connection = await asyncpg.connect(stage.database_url)
    try:
        password = await connection.fetchval("SELECT quote_literal($1::text)", planted.database)
        await connection.execute(f"CREATE ROLE rei LOGIN SUPERUSER PASSWORD {password}")
        rules = stage.postgres.data / "pg_hba.conf"
        rules.write_text(f"host all rei 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        await connection.execute("SELECT pg_reload_conf()")
        await _until(lambda: _asks_for_password(stage), "PostgreSQL asks for the password")
    finally:
        await connection.close()


async def _asks_for_password(stage: Stage) -> bool:
    try:
        connection = await asyncpg.connect(_database_url(stage, "wrong"))
    except asyncpg.InvalidPasswordError:
        return True
    await connection.close()
    return False


async def _live(run: Run, stage: Stage) -> None:
    """Customers and strangers, in fair weather and in foul."""
    pool = await create_pool(stage.database_url, application="test", size_max=2)
    client = httpx.AsyncClient(
        base_url=stage.sandbox_url, timeout=60, trust_env=False, follow_redirects=True
    )
    pictures = stage.folder / "pictures"
    pictures.mkdir()
    async with client as http:
        try:
            story = Story(
                http=http, pool=pool, folder=pictures, outside=stage.outside, tell=lambda line: None
            )
            await story.play()
            await _orders_that_fail(http, pool)
            await _topups_that_fail(http, pool)
            await _strangers(run, stage)
            run.faults = (await http.get("/_sandbox/faults")).json()["taken"]
        finally:
            await pool.close()


async def _orders_that_fail(http: httpx.AsyncClient, pool: Any) -> None:
    for kind in GEMINI_FAULTS:
        await _fault(http, "gemini", kind, operation="generate")
    for kind in TELEGRAM_FAULTS:
        await _fault(http, "telegram", kind, operation="sendMessage")
        await _fault(http, "telegram", kind, operation="sendPhoto")
    anya = Person(http, user_id=CUSTOMER_ID)
    for number in range(5):
        await anya.say(f"{PROMPT}, {number}")
        card = await anya.reads("Ваш заказ")
        await anya.press(card, "Нарисовать за 15 ₽")
        await _until(lambda: _all_jobs_ended(pool), "the jobs end")
    # Last, as it stops the taking of orders until the provider is found well again.
    await _fault(http, "gemini", "bad_key", operation="generate")
    await anya.say(f"{PROMPT}, на прощание")
    card = await anya.reads("Ваш заказ")
    await anya.press(card, "Нарисовать за 15 ₽")
    await _until(lambda: _all_jobs_ended(pool), "the last job ends")


async def _topups_that_fail(http: httpx.AsyncClient, pool: Any) -> None:
    anya = Person(http, user_id=CUSTOMER_ID)
    for kind in YOOKASSA_FAULTS:
        await _fault(http, "yookassa", kind, operation="create")
        await anya.say("/topup")
        menu = await anya.reads("Выберите сумму")
        await anya.press(menu, "200 ₽")
        await _until(lambda kind=kind: _taken(http, f"yookassa.{kind}"), f"yookassa.{kind}")
    assert await pool.fetchval("SELECT count(*) FROM payments") > 1


async def _strangers(run: Run, stage: Stage) -> None:
    """Wrong secrets, wrong paths, wrong bodies: at what the world may reach."""
    header = "X-Telegram-Bot-Api-Secret-Token"
    ours = {header: run.planted.webhook}
    async with httpx.AsyncClient(base_url=stage.bot_url, timeout=30, trust_env=False) as http:
        for method, path, headers, body in (
            ("POST", "/webhook/telegram", {}, b"{}"),
            ("POST", "/webhook/telegram", {header: run.planted.mistaken}, b"{}"),
            ("POST", "/webhook/telegram", {header: run.planted.webhook[:-1]}, b"{}"),
            ("POST", "/webhook/telegram", ours, b"{"),
            ("POST", "/webhook/telegram", ours, b'{"update_id": "x", "message": 5}'),
            ("POST", "/webhook/telegram", ours, b" " * (2 * 1024 * 1024)),
            ("POST", "/webhook/yookassa", {}, b'{"event": 5}'),
            ("GET", "/webhook/telegram", ours, b""),
            ("GET", "/metrics", ours, b""),
            ("GET", f"/bot{run.planted.token}/getMe", {}, b""),
        ):
            answer = await http.request(method, path, headers=headers, content=body)
            run.answers.append(answer)
            run.keep("answers to strangers", f"{answer.headers}\n{answer.text}\n")


async def _fault(http: httpx.AsyncClient, service: str, kind: str, *, operation: str) -> None:
    body = {"service": service, "kind": kind, "operation": operation, "delay_seconds": 1}
    (await http.post("/_sandbox/faults", json=body)).raise_for_status()


async def _taken(http: httpx.AsyncClient, fault: str) -> bool:
    return fault in (await http.get("/_sandbox/faults")).json()["taken"]


async def _all_jobs_ended(pool: Any) -> bool:
    count: int = await pool.fetchval(
        "SELECT count(*) FROM jobs WHERE status IN ('queued', 'processing')"
    )
    return count == 0


async def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not await condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.1)


def _commands(run: Run, stage: Stage) -> None:
    """Each command a person runs: with the right credentials, and with wrong ones."""
    picture = str(stage.folder / "test.png")
    wrong = {
        "BOT_TOKEN": run.planted.other_token,
        "YOOKASSA_SECRET_KEY": run.planted.mistaken,
        "GEMINI_API_KEY": run.planted.mistaken,
        "REI_DATABASE_URL": _database_url(stage, run.planted.mistaken),
        "REI_REDIS_URL": f"redis://:{run.planted.mistaken}@127.0.0.1:{stage.redis.port}/0",
    }
    nowhere = {
        "REI_TELEGRAM_API_URL": "http://127.0.0.1:9",
        "YOOKASSA_API_URL": "http://127.0.0.1:9/v3",
        "GEMINI_BASE_URL": "http://127.0.0.1:9",
        "REI_DATABASE_URL": f"postgresql://rei:{run.planted.mistaken}@127.0.0.1:9/rei",
        "REI_REDIS_URL": f"redis://:{run.planted.mistaken}@127.0.0.1:9/0",
    }
    # An address with a password in it, and secrets where no secrets belong.
    misplaced = {
        "YOOKASSA_API_URL": f"https://user:{run.planted.mistaken}@proxy.example.com/v3",
        "REI_PORT": run.planted.mistaken,
        "YOOKASSA_RETURN_URL": run.planted.mistaken,
        "REI_MODE": run.planted.mistaken,
        "REI_TRUSTED_PROXIES": f'["{run.planted.mistaken}"]',
        "REI_TOPUP_CHOICES_RUBLES": run.planted.mistaken,
    }
    # After all that the shop is ill, and Telegram remembers that it could not bring an update.
    services = ("doctor", *(f"--only={name}" for name in SERVICES if name != "webhook"))
    cases: tuple[tuple[dict[str, str], int, tuple[str, ...]], ...] = (
        ({}, 0, ("config", "check")),
        ({}, 0, services),
        ({}, 0, ("migrate",)),
        ({}, 0, ("api", "test", "кот", "--output", picture)),
        (wrong, 2, services),
        (wrong, 1, ("migrate",)),
        (wrong, 1, ("api", "test", "кот", "--output", picture)),
        (nowhere, 2, services),
        (nowhere, 1, ("migrate",)),
        (nowhere, 1, ("api", "test", "кот", "--output", picture)),
        (misplaced, 1, ("config", "check")),
    )
    for changes, status, words in cases:
        done = _rei({**stage.bot.environment, **changes}, *words)
        name = " ".join(word for word in words[:2] if not word.startswith("--"))
        run.keep(f"rei {name}", done.stdout + done.stderr)
        assert done.returncode == status, (words, done.stdout, done.stderr)


def _bad_settings(planted: Planted) -> list[tuple[str, dict[str, str]]]:
    """What nobody means to write, by the process that reads it."""
    secret = planted.mistaken
    addresses = (
        secret,
        f"mysql://user:{secret}@db/rei",
        f"postgresql://user:{secret}@127.0.0.1:9/rei",
        f"postgresql://user:{secret}@127.0.0.1:port/rei",
        f"postgresql://user:a/{secret}@127.0.0.1:5432/rei",
        f"postgresql://user:{secret}@[db/rei",
        f"postgresql://user:{secret}/x@127.0.0.1:5432/rei",
        f"postgresql://user:x@127.0.0.1:9/rei?sslmode={secret}",
    )
    return [
        ("bot", {"REI_WEBHOOK_SECRET": f"not allowed! {secret}"}),
        ("bot", {"REI_PORT": secret}),
        ("bot", {"BOT_TOKEN": secret}),
        ("worker", {"BOT_TOKEN": secret}),
        ("worker", {"REI_CONCURRENCY": secret}),
        *(("bot", {"REI_DATABASE_URL": address}) for address in addresses),
        ("worker", {"REI_DATABASE_URL": addresses[4]}),
        *(("doctor", {"REI_DATABASE_URL": address}) for address in addresses[6:]),
        ("doctor", {"REI_REDIS_URL": f"redis://:{secret}@127.0.0.1:port/0"}),
        ("migrate", {"REI_DATABASE_URL": addresses[4]}),
        ("migrate", {"REI_DATABASE_URL": addresses[6]}),
        ("bot", {"REI_REDIS_URL": f"redis://:{secret}@127.0.0.1:port/0"}),
        ("bot", {"REI_REDIS_URL": f"http://:{secret}@127.0.0.1/0"}),
        ("bot", {"REI_REDIS_URL": f"redis://:{secret}/x@127.0.0.1:6379/0"}),
        ("worker", {"REI_REDIS_URL": f"redis://:{secret}@127.0.0.1:port/0"}),
    ]


def _bad_starts(run: Run, stage: Stage) -> None:
    """Each on ports of its own kind: none of them gets as far as listening."""
    for number, (word, changes) in enumerate(_bad_settings(run.planted)):
        done = _rei({**stage.bot.environment, "REI_METRICS_PORT": "0", **changes}, word)
        run.keep(f"start {number} {word} {min(changes)}", done.stdout + done.stderr)
        assert done.returncode != 0, (word, changes)


def _rei(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rei_core", *words],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


async def _collect(run: Run, stage: Stage) -> None:
    """What can be read of a running Rei: metrics, chats, tables, Redis, command lines."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        run.keep("metrics of the bot", (await http.get(stage.bot_metrics_url)).text)
        run.keep("metrics of the worker", (await http.get(stage.worker_metrics_url)).text)
        telegram = f"{stage.sandbox_url}/_sandbox/telegram/users"
        for user in (await http.get(telegram)).json()["users"]:
            messages = (await http.get(f"{telegram}/{user['id']}/messages")).json()
            run.keep("chats", json.dumps(messages, ensure_ascii=False))
        for page in ("state", "calls", "notifications", "faults"):
            run.keep("the stand-ins", (await http.get(f"{stage.sandbox_url}/_sandbox/{page}")).text)
    async with _superuser(stage) as connection:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name, tablename "
            "FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for table in tables:
            # Pictures that wait for their delivery come as hex, in which the search looks, too.
            rows = await connection.fetch(f"SELECT t::text AS row FROM {table['name']} t")
            run.keep(f"table {table['tablename']}", "\n".join(row["row"] for row in rows))
        sessions = await connection.fetch("SELECT s::text AS row FROM pg_stat_activity s")
        run.keep("sessions of PostgreSQL", "\n".join(row["row"] for row in sessions))
    _collect_redis(run, stage)
    for program in stage.programs:
        assert program.pid is not None, f"{program.name} has ended"
        run.listening[program.name] = listens_on(program.pid)
        command = Path(f"/proc/{program.pid}/cmdline").read_bytes()
        run.keep(f"command line of {program.name}", command)


def _collect_redis(run: Run, stage: Stage) -> None:
    with sync_redis.Redis(port=stage.redis.port, password=run.planted.redis) as redis:
        for key in redis.scan_iter(count=1000):
            kind = redis.type(key)
            read = {
                b"string": redis.get,
                b"hash": redis.hgetall,
                b"set": redis.smembers,
                b"stream": redis.xrange,
                b"list": lambda name: redis.lrange(name, 0, -1),
                b"zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
            }
            run.keep("redis", f"{key!r} {read[kind](key)!r}\n")
        run.keep("redis", repr(redis.client_list()))


@asynccontextmanager
async def _superuser(stage: Stage) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(stage.database_url)
    try:
        yield connection
    finally:
        await connection.close()
