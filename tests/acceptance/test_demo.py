"""`rei demo` as a user runs it: the story on real processes, and with kill -9 in its middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

REI = (sys.executable, "-m", "rei_core")


def _demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*REI, "demo", "--once", "--folder", str(folder), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_the_story_holds_to_the_kopeck(stage_folder: Path) -> None:
    done = _demo(stage_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("balance 500", "balance 485", "answered 503", "balance 470", "invariants hold"):
        assert words in done.stdout, done.stdout
    pictures = sorted((stage_folder / "demo" / "pictures").iterdir())
    assert [picture.name for picture in pictures] == ["cat.png", "fox.png"]
    for picture in pictures:
        with Image.open(picture) as image:
            assert (image.format, image.size) == ("PNG", (1024, 1024))


def test_the_story_holds_with_bot_worker_and_redis_killed_in_its_middle(stage_folder: Path) -> None:
    done = _demo(stage_folder, "--kill")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("kill -9") == 4, done.stdout
    assert "invariants hold" in done.stdout


def test_a_story_that_breaks_says_where_and_fails(stage_folder: Path) -> None:
    catalog = stage_folder / "dear.toml"
    bundled = Path(__file__).parents[2] / "src/core/rei_core/catalog/catalog.toml"
    catalog.write_text(bundled.read_text().replace("1500", "1700"))
    done = subprocess.run(
        [*REI, "demo", "--once", "--folder", str(stage_folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "REI_CATALOG_FILE": str(catalog)},
    )
    assert done.returncode == 1
    assert "Нарисовать за 15" in done.stdout
    assert "bot-0.log" in done.stdout.replace("\n", "")


def test_it_stays_up_with_a_chat_page_and_goes_at_a_signal(stage_folder: Path) -> None:
    process = subprocess.Popen(
        [*REI, "demo", "--port", "0", "--folder", str(stage_folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        address = ""
        for line in process.stdout:
            if line.startswith("Chat page:"):
                address = line.split()[2]
                break
        assert "<html" in httpx.get(address, timeout=10, trust_env=False).text
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        with pytest.raises(httpx.TransportError):
            httpx.get(address, timeout=2, trust_env=False)
    finally:
        process.send_signal(signal.SIGTERM)  # so that it ends what it has started, too
        process.wait(60)


def test_what_a_killed_demo_left_behind_is_ended_by_the_next(stage_folder: Path) -> None:
    first = subprocess.Popen(
        [*REI, "demo", "--port", "0", "--folder", str(stage_folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pid_file = stage_folder / "demo" / "worker-0.pid"
    deadline = time.monotonic() + 60
    while not pid_file.exists():
        assert time.monotonic() < deadline, "the first demo did not come up"
        time.sleep(0.1)
    orphan = int(pid_file.read_text())
    first.kill()
    first.wait()
    assert Path(f"/proc/{orphan}").exists(), "killed with its parent: then there is nothing to test"
    done = _demo(stage_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(orphan, 0)
