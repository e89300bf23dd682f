"""The stand-ins have no password: they listen on loopback, and say so when told to do otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rei_sandbox.services import free_port
from rei_sandbox.settings import SandboxSettings

from .listening import LOOPBACK, listens_on

START_SECONDS_MAX = 60.0


@contextmanager
def sandbox(log: Path, *words: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`rei sandbox` as a person starts it; its output goes to `log`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REI_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rei_core", "sandbox", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**ours, "PYTHONUNBUFFERED": "1", **settings},
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def until_said(log: Path, words: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS_MAX
    while words not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return log.read_text()


def test_by_default_only_this_machine_is_let_in(tmp_path: Path) -> None:
    assert SandboxSettings.model_fields["host"].default == "127.0.0.1"
    log = tmp_path / "sandbox.log"
    with sandbox(log, "--port", "0") as process:
        text = until_said(log, "Ctrl-C", process)
        addresses = listens_on(process.pid)
    assert addresses
    assert all(LOOPBACK.fullmatch(address) for address in addresses)
    assert "password" not in text


def test_whoever_opens_it_to_others_is_told_what_that_means(tmp_path: Path) -> None:
    log = tmp_path / "sandbox.log"
    with sandbox(log, "--host", "0.0.0.0", "--port", str(free_port())) as process:
        text = until_said(log, "Ctrl-C", process)
        addresses = listens_on(process.pid)
    assert addresses == {"00000000"}  # so the look at the addresses above can fail
    assert "no password" in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "sandbox.example.com"])
def test_no_setting_opens_it_by_itself(tmp_path: Path, host: str) -> None:
    log = tmp_path / "sandbox.log"
    with sandbox(log, REI_SANDBOX_HOST=host, REI_SANDBOX_PORT=str(free_port())) as process:
        assert process.wait(60) != 0
    assert "no password" in log.read_text()
