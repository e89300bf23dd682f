"""The images do what pods ask of them, and hold nothing that a pod does not need."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from rei_sandbox.cluster.images import PARTS, Images, image_of

from .containers import Container, container

BUILD_TOOLS = ("cc", "c++", "gcc", "g++", "clang", "ld", "make", "cmake", "rustc", "cargo", "go")
PACKAGE_INSTALLERS = ("pip", "pip3", "uv", "uvx", "poetry", "conda")
FRAMEWORK_OF = {"bot": "aiogram", "worker": "taskiq", "operator": "kopf", "sandbox": "cryptography"}
NOT_IN = {"bot": "kopf", "worker": "kopf", "operator": "aiogram", "sandbox": "aiogram"}
BYTES_MAX = {"operator": 600e6}
"""A third of it is the Kubernetes client, which has a class for each kind of each version, compiled."""
END_SECONDS_MAX = 60.0
# Says that it is ready, and on SIGTERM that it has heard.
LISTENER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("heard", flush=True), sys.exit(7)))
print("ready", flush=True)
time.sleep(600)
"""
DEAF = "import time; print('ready', flush=True); time.sleep(600)"


@pytest.fixture(scope="module", params=PARTS)
def part(request: pytest.FixtureRequest) -> str:
    """Each of Rei's images in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def started(
    images: Images, part: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """The part's image, to be run without root, rights, network and a place to write but /tmp."""
    with container(images, part, tmp_path_factory.mktemp(part)) as opened:
        yield opened


def test_rei_runs_and_knows_its_own_words(started: Container, part: str) -> None:
    helped = started.run("rei", part, "--help")
    assert helped.returncode == 0, helped.stderr
    assert f"Usage: rei {part}" in helped.stdout
    versioned = started.run("rei", "--version")
    assert versioned.stdout.startswith("rei, version "), versioned


def test_it_has_its_own_extra_and_its_own_part_only(started: Container, part: str) -> None:
    others = [f"rei_{other}" for other in PARTS if other != part]
    ours = started.run("python", "-c", f"import rei_{part}, {FRAMEWORK_OF[part]}")
    assert ours.returncode == 0, ours.stderr
    for module in (*others, NOT_IN[part]):
        done = started.run("python", "-c", f"import {module}")
        assert "ModuleNotFoundError" in done.stderr, f"{module} is in the image of the {part}"


def test_nothing_is_left_to_build_or_install_with(started: Container) -> None:
    unwanted = {*BUILD_TOOLS, *PACKAGE_INSTALLERS}
    folders = [entry for entry in started.settings["Env"] if entry.startswith("PATH=")]
    places = folders[0].removeprefix("PATH=").split(":")
    assert any("python" in name for name in _programs(started.root, places)), "looked elsewhere"
    assert not unwanted & _programs(started.root, places)
    assert "No module named pip" in started.run("python", "-m", "pip", "--version").stderr


def test_it_is_nobody_and_writes_nowhere_but_tmp(started: Container) -> None:
    assert started.settings["User"] == "10001:10001"
    assert started.run("id", "-u").stdout.strip() == "10001"
    assert started.run("touch", "/tmp/there").returncode == 0
    assert "Read-only file system" in started.run("touch", "/opt/rei/there").stderr
    # Where the root could be written to, its files would still not be this user's.
    owned = [path for path in (started.root / "opt/rei").rglob("*") if path.lstat().st_uid != 0]
    assert not owned


@pytest.mark.parametrize(("script", "status"), [(LISTENER, 7), (DEAF, 128 + signal.SIGTERM)])
def test_sigterm_reaches_python_at_once(started: Container, script: str, status: int) -> None:
    with started.running("python", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(_first_process(process.pid), signal.SIGTERM)
        assert process.wait(END_SECONDS_MAX) == status
        assert process.stdout.read() == ("heard\n" if script is LISTENER else "")


def test_it_says_what_it_is_of(images: Images, part: str) -> None:
    labels = images.settings(image_of(part))["Labels"]
    assert isinstance(labels, dict)
    assert labels["org.opencontainers.image.title"] == f"rei-{part}"
    assert labels["org.opencontainers.image.version"] == version("rei")
    assert len(labels["org.opencontainers.image.revision"]) == 40


def test_its_size_is_known(
    images: Images,
    part: str,
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    size = images.size_bytes(image_of(part))
    record_property("bytes", size)
    say(f"{image_of(part)}: {size / 1e6:.0f} MB")
    assert size < BYTES_MAX.get(part, 450e6)


@pytest.mark.parametrize("part", ["operator"], indirect=True, scope="module")
class TestPostgresqlTools:
    """The operator's image has them; the newest, since pg_dump refuses newer servers."""

    @pytest.mark.parametrize("tool", ["pg_dump", "pg_restore", "psql"])
    def test_they_are_of_the_newest_version(self, started: Container, tool: str) -> None:
        assert "(PostgreSQL) 18." in started.run(tool, "--version").stdout

    def test_they_speak_tls(self, started: Container) -> None:
        """Nobody listens: the attempt is what shows that libpq can, which not every build does."""
        refused = started.run("psql", "host=127.0.0.1 port=9 sslmode=require dbname=x")
        assert "Connection refused" in refused.stderr or "unreachable" in refused.stderr


def _programs(root: Path, folders: list[str]) -> set[str]:
    found = (root / folder.lstrip("/") for folder in folders)
    return {entry.name for folder in found if folder.is_dir() for entry in folder.iterdir()}


def _first_process(runc: int) -> int:
    """The container's process 1: runc's only child."""
    children = subprocess.run(
        ["pgrep", "--parent", str(runc)], check=True, capture_output=True, text=True
    )
    return int(children.stdout.split()[0])
