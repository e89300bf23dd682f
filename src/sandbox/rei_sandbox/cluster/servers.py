"""One server of a control plane as a child process, with a log and a pid file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rei_sandbox.services import ServiceError, tail, write_whole

LOOK_SECONDS: Final = 0.05
LOG_LINES: Final = 30


class Server:
    """A child process; `folder` stands in its command line, by which a stale one is known."""

    def __init__(self, name: str, *, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._pid_file = folder / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str]) -> None:
        """Start it; whether it is ready is for `wait_ready` to find out."""
        assert any(str(self._folder) in word for word in command), "a stale one must be known"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,  # Ctrl-C reaches us, and we end them in order
            )
        write_whole(self._pid_file, str(self._process.pid))

    @property
    def pid(self) -> int | None:
        """The pid of the running process, None if there is none."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def wait_ready(self, is_ready: Callable[[], bool], *, until: float) -> None:
        """Return once it is; raises `ServiceError` at `until` (monotonic) or when it has ended."""
        while not is_ready():
            if self.pid is None:
                raise self.failed("ended while it started")
            if time.monotonic() > until:
                raise self.failed("did not become ready in time")
            time.sleep(LOOK_SECONDS)

    def failed(self, problem: str) -> ServiceError:
        """An error with the end of the log."""
        return ServiceError(self.name, problem, tail(self.log, lines=LOG_LINES))

    def kill(self) -> None:
        """kill -9; gone when this returns."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
        self._pid_file.unlink(missing_ok=True)

    def kill_stale(self) -> None:
        """End the one that a killed parent left on this folder."""
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int(self._pid_file.read_text())
            if str(self._folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)
