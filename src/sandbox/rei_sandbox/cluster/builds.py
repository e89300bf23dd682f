"""Builds that take minutes: told about while they go on, one at a time, gone with whoever wanted them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rei_sandbox.cluster.errors import BuildFailed, NoCluster
from rei_sandbox.services import tail

Say = Callable[[str], None]

BUILD_SECONDS_MAX: Final = 3600.0
PROGRESS_SECONDS: Final = 5.0
STOP_SECONDS_MAX: Final = 10.0
LOOK_SECONDS: Final = 0.2


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    told: str,
    say: Say,
) -> int:
    """Run a build in a process group of its own, which ends with us; say how long it takes.

    Returns its exit status; raises `BuildFailed` if it takes too long.
    """
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, process_group=0,
        )  # fmt: skip
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(PROGRESS_SECONDS)
            seconds = time.monotonic() - started
            if seconds > BUILD_SECONDS_MAX:
                raise BuildFailed(told, f"not done after {seconds:.0f} s", tail(log))
            say(f"{told}: building, {seconds:.0f} s")
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End it and the compilers that it started; nothing is left if it has ended by itself."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS_MAX)
            return


@contextlib.contextmanager
def alone(lock: Path, waiting: str, *, say: Say) -> Iterator[None]:
    """Hold the lock; whoever dies with it sets it free."""
    started = said = time.monotonic()
    with lock.open("w") as held:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            now = time.monotonic()
            if now - started > BUILD_SECONDS_MAX:
                raise NoCluster(f"{waiting}, for more than {BUILD_SECONDS_MAX:.0f} s")
            if now - said >= PROGRESS_SECONDS:
                say(f"{waiting}, {now - started:.0f} s")
                said = now
            time.sleep(LOOK_SECONDS)
        yield
