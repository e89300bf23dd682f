"""The whole of Rei on one machine, each part a real process: for the demo and the tests.

PostgreSQL and Redis from PyPI, the sandbox, any number of bots and workers; no root, no Docker.
The outside world is the sandbox, but for those services whose credentials are in the environment:
with `BOT_TOKEN`, `YOOKASSA_SHOP_ID` and `YOOKASSA_SECRET_KEY`, or `GEMINI_API_KEY` set, that one is
the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from rei_core.db.migrate import migrate
from rei_sandbox.programs import Program
from rei_sandbox.services import Postgres, Redis, free_port
from rei_sandbox.settings import SandboxSettings

TELEGRAM: Final = ("BOT_TOKEN",)
YOOKASSA: Final = ("YOOKASSA_SHOP_ID", "YOOKASSA_SECRET_KEY")
GEMINI: Final = ("GEMINI_API_KEY",)
SANDBOX_TOKEN: Final = "7000000001:sandbox-token"  # noqa: S105 - the stand-in lets any token in

MAINTENANCE_DATABASE: Final = "postgres"

Say = Callable[[str, float], None]
"""Told what has just become ready, and after how many seconds."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Which services are the real ones."""

    telegram: bool = False
    yookassa: bool = False
    gemini: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Real is what has all of its credentials."""

        def given(names: tuple[str, ...]) -> bool:
            return all(environment.get(name) for name in names)

        return cls(telegram=given(TELEGRAM), yookassa=given(YOOKASSA), gemini=given(GEMINI))


class Stage:
    """All processes under `folder`. Start and stop are blocking; use a thread inside a loop."""

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        outside: Outside | None = None,
        mode: Literal["polling", "webhook"] = "polling",
        bots: int = 1,
        workers: int = 1,
        sandbox_port: int = 0,
        environment: Mapping[str, str] | None = None,
        database_url: str = "",
        database: str = MAINTENANCE_DATABASE,
    ) -> None:
        """`environment` adds settings of all processes; `database_url` replaces what they would use.

        (A proxy between them and PostgreSQL has its address only once PostgreSQL has one.)
        `database` is the name of a database of their own, which is made if it is another than the
        server's.
        """
        self.outside = outside or Outside()
        self.folder = folder
        self.log_levels = folder.absolute() / "log-levels"
        self.postgres = Postgres(folder, durable=durable)
        self.redis = Redis(folder / "redis")
        self.mode = mode
        self._database_url = database_url
        self._database = database
        self._sandbox_port = sandbox_port or free_port()
        self.bot_ports = [free_port() for _ in range(bots)]
        self._bot_metrics_ports = [free_port() for _ in range(bots)]
        self._worker_ports = [free_port() for _ in range(workers)]
        # Each port was free when it was asked for; two askers may have got the same one.
        self.sandbox_url = f"http://127.0.0.1:{self._sandbox_port}"
        self._webhook_secret = secrets.token_urlsafe(24)
        self._environment = self._settings(environment or {})
        self.sandbox = self._program(
            "sandbox", "sandbox", url=self.sandbox_url, ready="/_sandbox/healthz"
        )
        self.bots = [
            self._program(
                f"bot-{number}", "bot", url=f"http://127.0.0.1:{metrics_port}", ready="/readyz",
                extra={"REI_PORT": str(port), "REI_METRICS_PORT": str(metrics_port)},
            )
            for number, (port, metrics_port) in enumerate(
                zip(self.bot_ports, self._bot_metrics_ports, strict=True)
            )
        ]  # fmt: skip
        self.workers = [
            self._program(
                f"worker-{number}", "worker", url=f"http://127.0.0.1:{port}", ready="/readyz",
                extra={"REI_METRICS_PORT": str(port)},
            )
            for number, port in enumerate(self._worker_ports)
        ]  # fmt: skip

    @property
    def database_url(self) -> str:
        """Where the processes' database is, without any proxy between."""
        return self.postgres.url(self._database)

    @property
    def bot(self) -> Program:
        return self.bots[0]

    @property
    def worker(self) -> Program:
        return self.workers[0]

    @property
    def bot_url(self) -> str:
        """Where the first bot takes webhooks."""
        return f"http://127.0.0.1:{self.bot_ports[0]}"

    @property
    def bot_metrics_url(self) -> str:
        """Where the first bot tells how it is."""
        return f"http://127.0.0.1:{self._bot_metrics_ports[0]}/metrics"

    @property
    def worker_metrics_url(self) -> str:
        """Where the first worker tells how it is."""
        return f"http://127.0.0.1:{self._worker_ports[0]}/metrics"

    @property
    def metrics_addresses(self) -> list[str]:
        """What Prometheus scrapes: every bot and every worker."""
        ports = [*self._bot_metrics_ports, *self._worker_ports]
        return [f"127.0.0.1:{port}" for port in ports]

    @property
    def programs(self) -> list[Program]:
        """Everything of our own, in the order of starting."""
        return [self.sandbox, *self.bots, *self.workers]

    def start(self, say: Say = lambda name, seconds: None) -> Self:
        """Bring everything up in order; `say` hears of each part."""
        for name, begin in (
            ("PostgreSQL", self.postgres.start),
            ("Redis", self.redis.start),
            ("schema", self.bring_schema),
        ):
            started = time.monotonic()
            begin()
            say(name, time.monotonic() - started)
        started = time.monotonic()
        for program in self.programs:  # each takes seconds to import, and none needs another to
            program.start(wait=False)
        for program in self.programs:
            program.wait_ready()
            say(program.name, time.monotonic() - started)
        return self

    def stop(self) -> None:
        """End everything, the takers of work first."""
        for program in reversed(self.programs):
            program.stop()
        self.redis.stop()
        self.postgres.stop()

    def kill(self) -> None:
        """End everything at once."""
        for program in self.programs:
            program.kill()
        self.redis.kill()
        self.postgres.kill()

    @contextlib.contextmanager
    def running(self, say: Say = lambda name, seconds: None) -> Iterator[Self]:
        """Everything is up inside the block, and gone after it."""
        try:
            yield self.start(say)
        finally:
            self.stop()

    def end_stale(self) -> None:
        """End what a killed run left behind on this folder."""
        for program in reversed(self.programs):
            program.end_stale()
        self.redis.end_stale()
        self.postgres.end_stale()

    def logs(self) -> list[Path]:
        """The log of each process."""
        return [*(program.log for program in self.programs), self.postgres.log, self.redis.log]

    def bring_schema(self) -> None:
        """Make the database if it is not there, and bring its schema up."""
        if self._database != MAINTENANCE_DATABASE:
            self.postgres.make_database(self._database)
        asyncio.run(migrate(self.database_url))

    def _program(
        self, name: str, word: str, *, url: str, ready: str, extra: Mapping[str, str] | None = None
    ) -> Program:
        return Program(
            word,
            name=name,
            folder=self.folder,
            environment={**self._environment, **(extra or {})},
            ready_url=f"{url}{ready}",
        )

    def _settings(self, extra: Mapping[str, str]) -> dict[str, str]:
        sandbox = SandboxSettings()
        settings = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        settings |= {
            "REI_DATABASE_URL": self._database_url or self.database_url,
            "REI_REDIS_URL": self.redis.url,
            "REI_MODE": self.mode,
            "REI_HOST": "127.0.0.1",
            "REI_PUBLIC_URL": self.bot_url,
            "REI_WEBHOOK_SECRET": self._webhook_secret,
            "REI_SANDBOX_PORT": str(self._sandbox_port),
            "REI_SANDBOX_NOTIFICATION_URL": f"{self.bot_url}/webhook/yookassa",
            # A dead worker's job goes to another one while people are still watching.
            "REI_LEASE_SECONDS": "5",
            "REI_CIRCUIT_PROBE_SECONDS": "2",
            "REI_LOG_LEVELS_DIR": str(self.log_levels),
        }
        settings |= _side(
            real=self.outside.telegram,
            prefixes=("BOT_TOKEN", "REI_TELEGRAM_"),
            instead={"BOT_TOKEN": SANDBOX_TOKEN, "REI_TELEGRAM_API_URL": self.sandbox_url},
        )
        settings |= _side(
            real=self.outside.yookassa,
            prefixes=("YOOKASSA_", "REI_RECEIPT_"),
            instead={
                "YOOKASSA_SHOP_ID": sandbox.yookassa_shop_id,
                "YOOKASSA_SECRET_KEY": sandbox.yookassa_secret_key,
                "YOOKASSA_API_URL": f"{self.sandbox_url}/yookassa/v3",
                "YOOKASSA_RETURN_URL": "https://t.me/",
            },
        )
        settings |= _side(
            real=self.outside.gemini,
            prefixes=("GEMINI_",),
            instead={
                "GEMINI_API_KEY": sandbox.gemini_api_key,
                "GEMINI_BASE_URL": f"{self.sandbox_url}/gemini",
            },
        )
        return settings | dict(extra)


def _side(*, real: bool, prefixes: tuple[str, ...], instead: dict[str, str]) -> dict[str, str]:
    """One service's settings: the environment's own, or those of the stand-in."""
    if not real:
        return instead
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes)}


def _is_ours(name: str) -> bool:
    """Settings of another Rei in this shell must not leak into this one."""
    kept = name == "REI_CATALOG_FILE" or name.startswith("REI_SANDBOX_")
    return name.startswith(("BOT_TOKEN", "REI_", "YOOKASSA_", "GEMINI_")) and not kept
