"""The stand-ins of the outside world, and Rei's own processes that are pointed at them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx

from rei_bench.children import program
from rei_bench.stage import Stage
from rei_sandbox.programs import Program
from rei_sandbox.services import free_port

TOKEN = "42:bench"  # noqa: S105 - nobody's
SECRET = "bench_secret"  # noqa: S105 - nobody's


@dataclass(frozen=True, slots=True)
class Calls:
    """When the calls of the image provider began and ended, on the machine's clock, in order."""

    began: list[float]
    ended: list[float]


class Outside:
    """Where the stand-ins listen."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def reset(self, *, seconds: float) -> None:
        """Forget all calls; from now on one takes this long."""
        httpx.post(f"{self.url}/control/reset", json={"seconds": seconds}, trust_env=False)

    def calls(self) -> Calls:
        answer = httpx.get(f"{self.url}/control/calls", timeout=30, trust_env=False).json()
        return Calls(answer["began"], answer["ended"])


@contextlib.contextmanager
def outside(stage: Stage) -> Iterator[Outside]:
    """The stand-ins, running."""
    port = free_port()
    with program(stage, "standins", port=port) as child:
        child.told("ready")
        yield Outside(port)


@contextlib.contextmanager
def worker(
    stage: Stage, world: Outside, *, database: str, name: str, settings: Mapping[str, str]
) -> Iterator[Program]:
    """The real `rei worker`, not yet started."""
    port = free_port()
    wanted = {
        "REI_METRICS_PORT": str(port),
        "GEMINI_API_KEY": "bench",
        "GEMINI_BASE_URL": world.url,
        "REI_PROVIDER_CALLS_PER_MINUTE_MAX": "1000000",
        "REI_PROVIDER_CONCURRENCY_MAX": "1000000",
        **settings,
    }
    with _rei(
        stage, world, "worker", database=database, name=name, port=port, settings=wanted
    ) as child:
        yield child


@contextlib.contextmanager
def bot(
    stage: Stage, world: Outside, *, database: str, port: int, settings: Mapping[str, str]
) -> Iterator[Program]:
    """The real `rei bot` in webhook mode, not yet started."""
    metrics_port = free_port()
    wanted = {
        "REI_MODE": "webhook",
        "REI_HOST": "127.0.0.1",
        "REI_PORT": str(port),
        "REI_METRICS_PORT": str(metrics_port),
        "REI_PUBLIC_URL": "https://bot.example.com",
        "REI_WEBHOOK_SECRET": SECRET,
        "YOOKASSA_SHOP_ID": "bench",
        "YOOKASSA_SECRET_KEY": "bench",
        "YOOKASSA_API_URL": f"{world.url}/yookassa/v3",
        **settings,
    }
    with _rei(
        stage, world, "bot", database=database, name="bot", port=metrics_port, settings=wanted
    ) as child:
        yield child


@contextlib.contextmanager
def _rei(
    stage: Stage,
    world: Outside,
    word: str,
    *,
    database: str,
    name: str,
    port: int,
    settings: Mapping[str, str],
) -> Iterator[Program]:
    """`port` is that of health and metrics."""
    ours = ("REI_", "BOT_TOKEN", "YOOKASSA_", "GEMINI_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    child = Program(
        word,
        name=name,
        folder=stage.folder,
        environment={
            **inherited,
            "REI_DATABASE_URL": stage.url(database),
            "REI_REDIS_URL": stage.redis.url,
            "BOT_TOKEN": TOKEN,
            "REI_TELEGRAM_API_URL": world.url,
            **settings,
        },
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )
    try:
        yield child
    finally:
        child.kill()  # nothing that it would drain is of any worth


def gauge(metrics_url: str, name: str) -> float:
    """One figure of a process's own metrics."""
    for line in httpx.get(metrics_url, timeout=5, trust_env=False).text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    return 0.0


def metrics_url(child: Program) -> str:
    return child.ready_url.replace("/readyz", "/metrics")
