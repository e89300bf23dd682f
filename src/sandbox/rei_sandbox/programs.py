"""Processes of Rei's own as children that can be killed, frozen and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx

from rei_sandbox.services import ServiceError, tail, write_whole

START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 30.0
LOOK_SECONDS: Final = 0.05


class Program:
    """`rei …` as a child process; `ready_url` answers 200 once it is up.

    A restart keeps the settings and goes on with the same log. The pid file lets the next run on
    the same folder end what a killed parent left behind.
    """

    def __init__(
        self,
        *words: str,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        ready_url: str,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.ready_url = ready_url
        self.starts = 0
        self._words = words
        self.environment = environment
        self._pid_file = folder / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid of the running process, None if there is none."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process is not None else None

    def start(self, *, wait: bool = True) -> None:
        """Start the process and, unless told otherwise, wait until it is ready."""
        if self.pid is not None:
            return
        self.end_stale()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rei_core", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,  # Ctrl-C reaches the parent, which ends them in order
            )
        self.starts += 1
        write_whole(self._pid_file, str(self._process.pid))
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return once it answers; raises `ServiceError` with the end of its log."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_ready():
            if self.pid is None or time.monotonic() > deadline:
                self.kill()
                raise ServiceError(self.name, "did not become ready", tail(self.log))
            time.sleep(LOOK_SECONDS)

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        with contextlib.suppress(httpx.HTTPError):
            # A proxy knows nothing of this machine's loopback.
            answer = httpx.get(self.ready_url, timeout=2, trust_env=False)
            return answer.status_code == httpx.codes.OK
        return False

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """SIGTERM, then patience, then kill -9."""
        self._signal(signal.SIGTERM)
        self._wait()

    def freeze(self) -> None:
        """SIGSTOP: it stands still and believes that no time has passed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def end_stale(self) -> None:
        """End what a killed parent left running on this folder."""
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int(self._pid_file.read_text())
            if b"rei_core" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pid_file.unlink(missing_ok=True)
