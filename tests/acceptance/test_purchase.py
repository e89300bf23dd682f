"""`rei purchase`, as `helm test` runs it: beside a bot and a worker that others have started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rei_sandbox.stage import Stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@pytest.fixture
def stage(stage_folder: Path) -> Iterator[Stage]:
    stage = Stage(stage_folder, durable=False, mode="webhook")
    with stage.running(lambda name, seconds: None):
        yield stage


IMPATIENT = """
from rei_core.cli import main
from rei_sandbox.demo import person

person.WAIT_SECONDS_MAX = 3
main()
"""


def purchase(
    stage: Stage, *words: str, program: tuple[str, ...] = ("-m", "rei_core")
) -> subprocess.CompletedProcess[str]:
    bare = {name: text for name, text in os.environ.items() if not name.startswith("REI_")}
    return subprocess.run(
        [sys.executable, *program, "purchase", f"--sandbox={stage.sandbox_url}", *words],
        check=False, capture_output=True, text=True, timeout=200,
        env={**bare, "REI_DATABASE_URL": stage.database_url},
    )  # fmt: skip


def test_a_purchase_is_played_and_audited_in_a_new_shop_only(
    stage: Stage,
) -> None:
    ready = stage.bot_metrics_url.replace("/metrics", "/readyz")
    done = purchase(stage, f"--ready={ready}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every step held" in done.stdout
    again = purchase(stage)
    assert again.returncode == 1
    assert again.stderr.startswith("✗ The database of REI_DATABASE_URL has customers already")
    assert "Anya" not in again.stdout


def test_a_step_that_does_not_hold_is_named(stage: Stage) -> None:
    fault = {"service": "yookassa", "kind": "internal", "operation": "create", "count": 100}
    httpx.post(f"{stage.sandbox_url}/_sandbox/faults", json=fault).raise_for_status()
    done = purchase(stage, program=("-c", IMPATIENT))
    assert done.returncode == 1
    assert "✗ expected" in done.stderr
    assert "Every step held" not in done.stdout


def test_what_does_not_come_up_is_named(stage: Stage) -> None:
    done = purchase(stage, f"--ready={stage.sandbox_url}/nowhere", "--wait=1")
    assert done.returncode == 1
    assert "/nowhere is not ready: HTTP 404" in done.stderr
