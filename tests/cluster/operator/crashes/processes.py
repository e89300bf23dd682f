"""Beginning and ending Rei's processes; see nursery.py for where they come from."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rei_core.failpoints import REACHED

NURSERY = Path(__file__).with_name("nursery.py")
READY_SECONDS_MAX = 120.0
END_SECONDS_MAX = 120.0
LOG_LINES = 40


class Process:
    """One of Rei's processes."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def code(self) -> int | None:
        """How it ended, negative for a signal; None while it lives."""
        return self.ended.result() if self.ended.done() else None

    async def wait(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(END_SECONDS_MAX):
            return await asyncio.shield(self.ended)

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await self.wait()

    def ask_to_end(self) -> None:
        """SIGTERM."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def said(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])


class Nursery:
    """Begins processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ready = asyncio.Event()
        self._ordered: deque[tuple[asyncio.Future[Process], Path]] = deque()
        self._alive: dict[int, Process] = {}

    async def begin(
        self, words: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> Process:
        """Begin `rei WORDS` with this environment and no other."""
        assert self._process.stdin is not None
        order = {"words": list(words), "environment": dict(environment), "log": str(log)}
        began: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._ordered.append((began, log))
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(READY_SECONDS_MAX):
            return await began

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._hear(json.loads(line))

    def _hear(self, told: dict[str, Any]) -> None:
        if "began" in told:
            began, log = self._ordered.popleft()
            process = Process(told["began"], log)
            self._alive[process.pid] = process
            if not began.cancelled():
                began.set_result(process)
        elif "ended" in told:
            self._alive.pop(told["ended"]).ended.set_result(told["code"])
        else:
            self._ready.set()


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """One that is ready; all that it began is gone when the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, NURSERY, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    opened = Nursery(process)
    listening = asyncio.create_task(opened._listen())
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await opened._ready.wait()
        yield opened
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(END_SECONDS_MAX):
            await process.wait()
            await listening


def places_in(log: Path) -> list[str]:
    """The failpoints that a watched process passed, in order: `loaded`, and `loaded#2` for the
    second time."""
    found = []
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if told.get("event") == REACHED:
                number = told["number"]
                found.append(told["place"] if number == 1 else f"{told['place']}#{number}")
    return found
