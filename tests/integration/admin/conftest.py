"""`rei` as somebody on call has it: on a database, with a shop in it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from rei_core.cli import rei as rei_command
from rei_sandbox.app import Running

from ..core.conftest import shop as shop  # noqa: PLC0414 - fixtures of this folder, too
from ..core_adapters.conftest import SECRET_KEY, SHOP_ID
from ..core_adapters.conftest import endpoint as endpoint  # noqa: PLC0414
from ..core_adapters.conftest import http as http  # noqa: PLC0414
from ..core_adapters.conftest import sandbox as sandbox  # noqa: PLC0414
from ..core_adapters.conftest import till as till  # noqa: PLC0414
from ..core_adapters.conftest import yookassa as yookassa  # noqa: PLC0414


@dataclass(frozen=True)
class Said:
    """How a command ended; `out` is the result, `err` what was said on the way."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result as a program reads it."""
        assert self.code == 0, self.err
        return json.loads(self.out)


async def _as_process(words: Sequence[str], environment: Mapping[str, str | None]) -> Said:
    bare = {name: value for name, value in os.environ.items() if name not in environment}
    given = {name: value for name, value in environment.items() if value is not None}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rei_core", *words,
        env=bare | given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


Rei = Callable[..., Awaitable[Said]]


@pytest.fixture
def rei(database_url: str, sandbox: Running) -> Rei:
    """`await rei("credit", "1", "300", "--reason", "r")`, with the settings of an operator's pod."""
    unset = dict.fromkeys(name for name in os.environ if name.startswith(("REI_", "YOOKASSA_")))
    environment = {
        **unset,
        "REI_DATABASE_URL": database_url,
        "YOOKASSA_SHOP_ID": SHOP_ID,
        "YOOKASSA_SECRET_KEY": SECRET_KEY,
        "YOOKASSA_API_URL": f"{sandbox.url}/yookassa/v3",
    }

    async def run(*words: str) -> Said:
        if words[0] == "refund":  # as a process, which shows that the log stays out of the result
            return await _as_process(words, environment)
        with capture_logs():  # nobody has set up a log in this process
            ended = await asyncio.to_thread(
                CliRunner().invoke, rei_command, words, prog_name="rei", env=environment
            )
        error = ended.exception
        if error is not None and not isinstance(error, SystemExit):
            return Said(1, ended.stdout, f"{type(error).__name__}: {error}")
        return Said(ended.exit_code, ended.stdout, ended.stderr)

    return run
