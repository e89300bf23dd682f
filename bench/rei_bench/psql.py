"""PostgreSQL's own client, with the very SQL texts that Rei runs: the same work without Rei."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable

from rei_bench.pgbench import tool
from rei_bench.stage import BenchError, Stage

_FIRST = "\\set QUIET on\nSET jit = off;\n\\o /dev/null\n"
"""As Rei's own connections have it; and nobody reads what a statement returns."""
_PARAMETER = re.compile(r"\$(\d+)")


def prepared(name: str, sql: str, *types: str) -> str:
    """PREPARE of a statement whose parameters have these types."""
    if len(types) != len(set(_PARAMETER.findall(sql))):
        raise BenchError(f"{name}: {len(types)} types for other parameters")
    return f"PREPARE {name} ({', '.join(types)}) AS {sql.strip()};\n"


def run(stage: Stage, lines: Iterable[str], *, database: str) -> float:
    """Run a script; the seconds that it took. Raises `BenchError` if a statement failed."""
    file = stage.folder / "script.sql"
    with file.open("w") as script:
        script.write(_FIRST)
        script.writelines(lines)
    command = [str(tool("psql")), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--file", str(file)]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, stage.url(database)], check=False, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise BenchError(f"psql: exit {done.returncode}\n{done.stderr[-2000:]}")
    return seconds
