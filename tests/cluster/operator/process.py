"""`rei operator` as a real process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from rei_sandbox.services import free_port

from .waiting import DEADLINE_SECONDS, until

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
"""Of our own environment a process gets these, and what its pod would give it."""
LOG_CHARS = 4000


def bare_environment() -> dict[str, str]:
    """An environment with nothing of ours in it."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


class OperatorProcess:
    """A running `rei operator`. Its log is that of all that were started with the same file."""

    def __init__(self, process: asyncio.subprocess.Process, *, port: int, log: Path) -> None:
        self._process = process
        self._log = log
        self.url = f"http://127.0.0.1:{port}"

    @property
    def runs(self) -> bool:
        return self._process.returncode is None

    async def get(self, path: str) -> httpx.Response | None:
        """What it answers, None if it does not."""
        try:
            async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
                return await client.get(self.url + path)
        except httpx.TransportError:
            return None

    async def ready(self) -> None:
        """Return once /readyz says so."""

        async def look() -> bool:
            assert self.runs, f"the operator ended\n{self.log_end()}"
            answer = await self.get("/readyz")
            return answer is not None and answer.status_code == 200

        await until(look, what="the operator is ready", why=self._why)

    async def metrics(self) -> str:
        """Its metrics as text."""
        answer = await self.get("/metrics")
        assert answer is not None
        return answer.text

    async def stop(self) -> int:
        """SIGTERM; the exit code. One that does not end in time is a failure."""
        self._signal(signal.SIGTERM)
        return await self.died()

    async def kill(self) -> None:
        """kill -9; gone when this returns."""
        self._signal(signal.SIGKILL)
        await self.died()

    async def died(self, *, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for its end; the exit code."""
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"the operator does not end\n{self.log_end()}") from None

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def log_end(self) -> str:
        """The end of its log, for whoever has to find out why."""
        return self.log()[-LOG_CHARS:]

    async def _why(self) -> str:
        return self.log_end()

    def _signal(self, number: signal.Signals) -> None:
        if self.runs:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


@asynccontextmanager
async def running(environment: Mapping[str, str], *, log: Path) -> AsyncIterator[OperatorProcess]:
    """Start an operator; whatever happens in the block, it has ended after it."""
    port = free_port()
    own = {"REI_OPERATOR_HOST": "127.0.0.1", "REI_OPERATOR_PORT": str(port)}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rei_core", "operator",
            env={**bare_environment(), **own, **environment}, cwd="/",
            stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    started = OperatorProcess(process, port=port, log=log)
    try:
        yield started
    finally:
        try:
            await started.stop()
        finally:
            await started.kill()
