"""The processes that are measured and those that load them: children that tell what they do.

A child of ours prints JSON objects, one a line; whatever else it says goes to a log. It is ended
by us, by its pid, whether it was done or not.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rei_bench.stage import BenchError, Stage
from rei_sandbox.services import tail

BENCH = Path(__file__).parent.parent
TOLD_SECONDS_MAX = 180.0
_numbers = itertools.count()


class Child:
    """A running child; `told` waits for its next object of a kind."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue(maxsize=1000)
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def told(self, event: str, *, within_seconds: float = TOLD_SECONDS_MAX) -> dict[str, Any]:
        """The next object whose "event" this is; raises `BenchError` if none comes."""
        deadline = time.monotonic() + within_seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                raise BenchError(f"no {event!r} in {within_seconds:g} s\n{self._end()}") from None
            if line is None:
                raise BenchError(f"it ended before {event!r}\n{self._end()}")
            if line.get("event") == event:
                return line

    def _end(self) -> str:
        return tail(self._log)

    def ask_to_end(self) -> None:
        """SIGTERM; what it tells then can still be heard by `told`."""
        self._process.terminate()

    def stop(self) -> None:
        """SIGTERM, a moment, then SIGKILL: what it leaves behind is ours to throw away."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def peak_megabytes(pid: int) -> float:
    """The most memory that a process has had resident so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {pid} tells no peak of memory")


@contextlib.contextmanager
def program(stage: Stage, name: str, **config: Any) -> Iterator[Child]:
    """One of Rei's measured programs: `rei_bench.programs.NAME`, in Rei's own environment."""
    with _started(stage, [sys.executable, "-m", f"rei_bench.programs.{name}"], config) as child:
        yield child


@contextlib.contextmanager
def peer(stage: Stage, environment: str, script: str, **config: Any) -> Iterator[Child]:
    """A peer's script, in the peer's own locked environment."""
    folder = BENCH / "peers" / environment
    command = [str(folder / ".venv" / "bin" / "python"), str(folder / f"{script}.py")]
    with _started(stage, command, config) as child:
        yield child


@contextlib.contextmanager
def _started(stage: Stage, command: Sequence[str], config: dict[str, Any]) -> Iterator[Child]:
    log = stage.folder / f"child-{next(_numbers)}.log"
    path = os.pathsep.join([str(BENCH), str(BENCH / "peers" / "shared")])
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, json.dumps(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
            start_new_session=True,
        )
    child = Child(process, log)
    try:
        yield child
    finally:
        child.stop()
