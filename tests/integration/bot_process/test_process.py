"""The real `rei bot`: both modes, killed and stopped, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rei_core.settings import BotSettings
from rei_sandbox.programs import Program

from .conftest import SECRET, SECRET_HEADER, TOKEN, Json, Stage, until

VARIABLES = {
    "BOT_TOKEN": "bot_token",
    "YOOKASSA_SHOP_ID": "yookassa_shop_id",
    "YOOKASSA_SECRET_KEY": "yookassa_secret_key",
    "YOOKASSA_API_URL": "yookassa_api_url",
}


def environment(settings: BotSettings) -> dict[str, str]:
    """The settings as a process reads them."""
    fields = {f"REI_{name}".upper(): name for name in (
        "database_url", "redis_url", "telegram_api_url", "mode", "host", "port", "metrics_port",
        "public_url", "webhook_secret",
    )}  # fmt: skip
    values: dict[str, str] = {}
    for variable, name in (fields | VARIABLES).items():
        value: Any = getattr(settings, name)
        if value is not None:
            secret = getattr(value, "get_secret_value", None)
            values[variable] = str(secret() if callable(secret) else value)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | values


class RealBot:
    """`rei bot` as a child process."""

    def __init__(self, stage: Stage, folder: Path, mode: str) -> None:
        settings = stage.settings(mode)
        self.url = f"http://127.0.0.1:{settings.port}"
        self.status_url = f"http://127.0.0.1:{settings.metrics_port}"
        self.program = Program(
            "bot",
            name="bot",
            folder=folder,
            environment=environment(settings),
            ready_url=f"{self.status_url}/readyz",
        )

    async def start(self) -> None:
        await asyncio.to_thread(self.program.start)

    async def kill(self) -> None:
        await asyncio.to_thread(self.program.kill)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        process = self.program._process
        assert process is not None
        await asyncio.to_thread(self.program.stop)
        return process.returncode

    async def post(self, update: Json) -> int:
        async with httpx.AsyncClient(timeout=40, trust_env=False) as http:
            answer = await http.post(
                f"{self.url}/webhook/telegram", json=update, headers={SECRET_HEADER: SECRET}
            )
        return answer.status_code

    @property
    def log(self) -> str:
        return self.program.log.read_text()


@pytest.fixture
def real(stage: Stage, tmp_path: Path) -> Callable[[str], Any]:
    """`async with real("polling") as bot`: a bot that is up, and gone afterwards."""

    @asynccontextmanager
    async def up(mode: str) -> AsyncIterator[RealBot]:
        bot = RealBot(stage, tmp_path, mode)
        await bot.start()
        try:
            yield bot
        finally:
            await bot.kill()

    return up


async def test_polling_works_and_ends_in_order(stage: Stage, real: Any) -> None:
    async with real("polling") as bot:
        update = stage.telegram.queue(stage.telegram.message("рыжий кот"))
        await until(lambda: update not in stage.telegram.waiting)
        assert "рыжий кот" in stage.telegram.texts()[-1]
        assert await bot.stop() == 0
        assert "bot stopped" in bot.log
        assert TOKEN not in bot.log


async def test_webhook_mode_works_and_ends_in_order(stage: Stage, real: Any) -> None:
    async with real("webhook") as bot:
        await until(lambda: stage.telegram.of("setWebhook"))
        assert await bot.post(stage.telegram.message("рыжий кот")) == 200
        assert "рыжий кот" in stage.telegram.texts()[-1]
        assert await bot.stop() == 0
        assert "bot stopped" in bot.log
        assert SECRET not in bot.log
        assert "test_sandbox_secret_key" not in bot.log


async def test_killed_in_a_handler_the_update_comes_again(stage: Stage, real: Any) -> None:
    telegram = stage.telegram
    gate = telegram.gates["sendMessage"] = asyncio.Event()
    async with real("polling") as bot:
        update = telegram.queue(telegram.message("рыжий кот"))
        await until(lambda: telegram.of("sendMessage"))
        await bot.kill()
        assert telegram.waiting == [update]
        gate.set()
        await bot.start()
        await stage.lapse_leases()
        await until(lambda: not telegram.waiting)
        assert await stage.is_handled(update)
        assert await stage.count("drafts") == 1


async def test_killed_between_handling_and_confirming_nothing_is_lost_or_done_twice(
    stage: Stage, real: Any
) -> None:
    telegram = stage.telegram
    sending = telegram.gates["sendMessage"] = asyncio.Event()
    async with real("polling") as bot:
        first = telegram.queue(telegram.message("рыжий кот"))
        await until(lambda: telegram.of("sendMessage"))
        polling = telegram.gates["getUpdates"] = asyncio.Event()
        second = telegram.queue(telegram.message("белый кот"))
        sending.set()
        await until(lambda: stage.is_handled(first))
        await bot.kill()
        assert telegram.waiting == [first, second]
        polling.set()
        await bot.start()
        await until(lambda: not telegram.waiting)
    texts = telegram.texts()
    assert len([text for text in texts if "рыжий кот" in text]) == 1
    assert len([text for text in texts if "белый кот" in text]) == 1
    assert await stage.count("drafts") == 2


async def test_killed_in_a_confirmation_the_customer_is_charged_once(
    stage: Stage, real: Any
) -> None:
    telegram = stage.telegram
    await stage.customer()
    async with real("webhook") as bot:
        assert await bot.post(telegram.message("рыжий кот")) == 200
        press = telegram.press(stage.button("Нарисовать"), message_id=1000)
        gate = telegram.gates["answerCallbackQuery"] = asyncio.Event()
        posting = asyncio.create_task(bot.post(press))
        await until(lambda: telegram.of("answerCallbackQuery"))  # the order is committed by now
        await bot.kill()
        with pytest.raises(httpx.HTTPError):
            await posting
        gate.set()
        # The lease of the dead one, however long the new one takes to start.
        await stage.pool.execute(
            "UPDATE telegram_updates SET lease_until = now() + interval '1 hour' "
            "WHERE handled_at IS NULL"
        )
        await bot.start()
        assert await bot.post(press) == 503
        await stage.lapse_leases()
        assert await bot.post(press) == 200
    assert await stage.count("jobs") == 1
    price: int = await stage.pool.fetchval("SELECT price_kopecks FROM jobs")
    assert await stage.balance() == 100_000 - price


async def test_a_second_signal_ends_it_on_the_spot(stage: Stage, real: Any) -> None:
    telegram = stage.telegram
    telegram.gates["sendMessage"] = asyncio.Event()
    async with real("polling") as bot:
        telegram.queue(telegram.message("рыжий кот"))
        await until(lambda: telegram.of("sendMessage"))
        process = bot.program._process
        process.send_signal(signal.SIGTERM)
        await until(lambda: "bot stopping" in bot.log or "process.signal" in bot.log)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 5) == 130


@pytest.mark.timeout(240)  # five processes start at once
async def test_what_keeps_it_from_starting_is_one_line(stage: Stage, real: Any) -> None:
    good = environment(stage.settings("webhook"))
    empty = good["REI_DATABASE_URL"].rpartition("/")[0] + "/postgres"
    nowhere = "postgresql://u:s3cret@127.0.0.1:9/x"
    async with real("polling") as running:
        cases: list[tuple[dict[str, str | None], list[str]]] = [
            ({"REI_WEBHOOK_SECRET": "not allowed!"}, ["REI_WEBHOOK_SECRET", "openssl rand"]),
            ({"BOT_TOKEN": "no-colon"}, ["BOT_TOKEN", "@BotFather"]),
            ({"REI_DATABASE_URL": empty}, ["REI_DATABASE_URL", "rei migrate"]),
            ({"REI_DATABASE_URL": nowhere}, ["REI_DATABASE_URL", "cannot be reached"]),
            ({"REI_PORT": running.url.rpartition(":")[2]}, ["REI_PORT", "another port"]),
            (
                {"REI_METRICS_PORT": running.status_url.rpartition(":")[2]},
                ["REI_METRICS_PORT", "another port"],
            ),
        ]
        outcomes = await asyncio.gather(
            *(
                asyncio.to_thread(_run, {n: v for n, v in (good | changes).items() if v})
                for changes, _ in cases
            )
        )
    for (changes, words), done in zip(cases, outcomes, strict=True):
        assert done.returncode == 1, changes
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("rei: "), done.stderr
        for word in words:
            assert word in last
        assert "Traceback" not in done.stderr
        for secret in ("s3cret", "not allowed!", TOKEN, SECRET):
            assert secret not in done.stderr


def _run(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rei_core", "bot"],
        env=settings,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
