"""A small `rei chaos`, as an operator runs it; the full size is `make chaos`, in CI by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

SMALL = (
    "--jobs", "120", "--customers", "24", "--kills", "4", "--postgres", "1", "--redis", "1",
    "--flushes", "1", "--freezes", "1", "--cuts", "6", "--services", "12",
)  # fmt: skip


def test_nothing_is_lost_while_everything_breaks(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    done = subprocess.run(
        [sys.executable, "-m", "rei_core", "chaos", *SMALL, "--report", str(report)],
        check=False,
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    rows = {
        what.strip(): value.strip()
        for line in report.read_text().splitlines()[2:]
        for what, value in [line.strip("|").split("|")]
    }
    assert rows["violations"] == "0"
    assert rows["orders lost"] == "0"
    assert rows["paid at YooKassa"] == rows["credited"] != "0.00 ₽"
    for kind in ("kill bot", "kill worker", "kill postgres", "kill redis", "freeze", "lost_answer"):
        assert kind in rows["faults"], rows["faults"]
    assert "completed" in rows["jobs"]
