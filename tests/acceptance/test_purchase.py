"""`rei purchase`, as `helm test` runs it: beside a bot and a worker that others have started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rei_sandbox.stage import Stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@pytest.fixture
def stage(stage_folder: Path) -> Iterator[Stage]:
    stage = Stage(stage_folder, durable=False, mode="webhook")
    with stage.running(lambda name, seconds: None):
        yield stage


def purchase(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    bare = {name: text for name, text in os.environ.items() if not name.startswith("REI_")}
    return subprocess.run(
        [sys.executable, "-m", "rei_core", "purchase", f"--sandbox={stage.sandbox_url}", *words],
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


def test_what_does_not_come_up_is_named(stage: Stage) -> None:
    done = purchase(stage, f"--ready={stage.sandbox_url}/nowhere", "--wait=1")
    assert done.returncode == 1
    assert "/nowhere is not ready: HTTP 404" in done.stderr
