"""Where and with what a run was made: a figure without it says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import time
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from rei_bench.children import BENCH
from rei_bench.pgbench import tool
from rei_bench.stage import Stage

OURS = ("asyncpg", "aiogram", "aiohttp", "httpx", "taskiq", "taskiq-redis", "uvloop")
SYNC_SECONDS = 2.0


def machine(folder: Path) -> dict[str, Any]:
    """Cores, memory, kernel, processor, and what the disk under `folder` can promise."""
    return {
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2, 1),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
        "fdatasyncs_per_second": round(fdatasyncs_per_second(folder)),
    }


def fdatasyncs_per_second(folder: Path) -> float:
    """How often 8 kB are written and synced in a second: what a lone commit costs."""
    file = folder / "sync"
    with file.open("wb") as target:
        target.write(bytes(8192))
        target.flush()
        os.fdatasync(target.fileno())
        started, synced = time.perf_counter(), 0
        while (seconds := time.perf_counter() - started) < SYNC_SECONDS:
            os.pwrite(target.fileno(), os.urandom(8192), 0)
            os.fdatasync(target.fileno())
            synced += 1
    file.unlink()
    return synced / seconds


def versions(stage: Stage) -> dict[str, str]:
    """Everything that was measured, by its version."""
    found = {
        "Rei": _said("git", "rev-parse", "--short", "HEAD"),
        "Python": platform.python_version(),
        "PostgreSQL": _said(str(tool("postgres")), "--version").split()[-1],
        "Redis": _redis(stage),
    }
    found |= {f"{name} (Rei)": metadata.version(name) for name in OURS}
    for project in sorted((BENCH / "peers").glob("*/pyproject.toml")):
        found |= _locked(project.parent)
    return found


def _locked(folder: Path) -> dict[str, str]:
    """The packages that a peer asks for itself, by its lock."""
    lock = tomllib.loads((folder / "uv.lock").read_text())
    packages = {package["name"]: package for package in lock["package"]}
    root = packages[f"rei-bench-{folder.name}"]
    return {
        f"{asked['name']} (peer {folder.name})": packages[asked["name"]]["version"]
        for asked in root["dependencies"]
    }


def _redis(stage: Stage) -> str:
    import redis  # noqa: PLC0415

    with redis.Redis.from_url(stage.redis.url) as client:
        return str(client.info("server")["redis_version"])


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        field, _, value = line.partition(":")
        if field.strip() == name:
            return value.strip()
    return "unknown"


def _said(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=BENCH)
    return done.stdout.strip() or "unknown"
