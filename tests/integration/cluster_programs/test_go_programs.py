"""Programs are built once for a machine, whole or not at all, by a stand-in for `go`.

The stand-in makes a file that says "whole", and waits for a gate between its two halves: the first
build at the first gate, the second at the second, and so on. Which it is, it asks before anything
of its file can be seen: whoever sees half of it may begin the next build.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from rei_sandbox.cluster import builds, go_programs
from rei_sandbox.cluster.errors import BuildFailed, NoCluster
from rei_sandbox.cluster.go_programs import Module, built
from rei_sandbox.cluster.programs import NAMES, obtain

WAIT_SECONDS_MAX = 60.0
GO = """#!/bin/sh
case $1 in
version) echo "go version go{version} linux/test" ;;
build)
    echo "$*" >>"{home}/built"
    number=$(wc -l <"{home}/built")
    while [ $# -gt 0 ]; do if [ "$1" = -o ]; then out=$2; fi; shift; done
    printf wh >"$out"
    read -r word <"{home}/gate-$number"
    [ "$word" = open ] || {{ echo "it does not compile" >&2; exit 1; }}
    printf ole >>"$out"
    ;;
esac
"""
BUILD = """
import sys
from pathlib import Path
from rei_sandbox.cluster.go_programs import Module, built
built(Module(Path(sys.argv[1]), {"server": "example/server"}, "example"), ["server"], say=print)
"""


@dataclass
class Home:
    """A machine: its cache, the Go on its PATH, the gates that builds wait at."""

    folder: Path
    module: Module
    gates_opened: int = 0

    def install_go(self, version: str, *, to: Path | None = None) -> None:
        program = (to or self.folder / "bin") / "go"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(GO.format(version=version, home=self.folder))
        program.chmod(0o755)

    def gate(self, word: str = "open", *, number: int | None = None) -> None:
        """Let the next build go on, or that of the number; waits until it has come so far."""
        if number is None:
            self.gates_opened += 1
        (self.folder / f"gate-{number or self.gates_opened}").write_text(f"{word}\n")

    def builds(self) -> list[str]:
        """The packages that were built, as often as they were."""
        log = self.folder / "built"
        return [line.split()[-1] for line in log.read_text().splitlines()] if log.exists() else []

    def cached(self) -> list[str]:
        """All that is in the cache, but the locks."""
        files = (self.folder / "cache" / "rei" / "go").rglob("*")
        return sorted(path.name for path in files if path.is_file() and path.name != ".lock")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    folder = tmp_path / "tools" / "example"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module x\n\ngo 1.26.0\n\nrequire example v1.2.3 // indirect\n")
    (folder / "go.sum").write_text("example v1.2.3 h1:abc=\n")
    for number in range(1, 10):
        os.mkfifo(tmp_path / f"gate-{number}")
    packages = {"server": "example/server", "client": "example/client"}
    made = Home(tmp_path, Module(folder, packages, "example", ("example.version",)))
    made.install_go("1.26.3")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(builds, "PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(builds, "LOOK_SECONDS", 0.01)
    return made


class Said:
    """The lines of progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._news:
            self.lines.append(line)
            self._news.notify_all()

    def wait_for(self, words: str) -> None:
        with self._news:
            heard = self._news.wait_for(
                lambda: any(words in line for line in self.lines), WAIT_SECONDS_MAX
            )
        assert heard, f"nobody said {words!r}: {self.lines}"


def until(true: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.01)


def test_two_at_once_build_once_and_both_say_what_they_wait_for(home: Home) -> None:
    first, second = Said(), Said()
    with ThreadPoolExecutor() as threads:
        one = threads.submit(built, home.module, ["server"], say=first)
        first.wait_for("server v1.2.3 (1 of 1): building")
        two = threads.submit(built, home.module, ["server"], say=second)
        second.wait_for("another process is building")
        until(lambda: home.cached() == ["log", "server"], what="half of it, beside its place")
        assert built_programs(home) == []
        home.gate()
        assert one.result(WAIT_SECONDS_MAX) == two.result(WAIT_SECONDS_MAX)
    assert home.builds() == ["example/server"]
    assert one.result()["server"].read_text() == "whole"
    assert home.cached() == ["server"]


def test_what_is_there_is_not_built_again_and_what_is_missing_is(home: Home) -> None:
    with ThreadPoolExecutor() as threads:
        for programs in (["server"], ["server", "client"], ["client"]):
            building = threads.submit(built, home.module, programs, say=Said())
            if programs != ["client"]:
                home.gate()
            building.result(WAIT_SECONDS_MAX)
    assert home.builds() == ["example/server", "example/client"]


@pytest.mark.parametrize("change", ["go.sum", "go.mod", "go"])
def test_other_pins_and_another_go_make_other_programs(home: Home, change: str) -> None:
    with ThreadPoolExecutor() as threads:
        before = threads.submit(built, home.module, ["server"], say=Said())
        home.gate()
        path = before.result(WAIT_SECONDS_MAX)["server"]
        if change == "go":
            home.install_go("1.26.4")
        else:
            with (home.module.folder / change).open("a") as file:
                file.write("// more\n")
        after = threads.submit(built, home.module, ["server"], say=Said())
        home.gate()
        assert after.result(WAIT_SECONDS_MAX)["server"].parent != path.parent


def test_a_build_that_fails_says_why_and_leaves_nothing(home: Home) -> None:
    with ThreadPoolExecutor() as threads:
        failing = threads.submit(built, home.module, ["server"], say=Said())
        home.gate("shut")
        with pytest.raises(BuildFailed, match=r"server was not built.*\n.*does not compile"):
            failing.result(WAIT_SECONDS_MAX)
        assert home.cached() == []
        again = threads.submit(built, home.module, ["server"], say=Said())
        home.gate()
        assert again.result(WAIT_SECONDS_MAX)["server"].read_text() == "whole"


def test_a_killed_build_leaves_nothing_half_made(home: Home) -> None:
    # The same, less what needs another variable: the key is of no interest here.
    module = Module(home.module.folder, {"server": "example/server"}, "example")
    command = [sys.executable, "-c", BUILD, str(module.folder)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until(lambda: "server" in home.cached(), what="half of it is written")
    killed.kill()
    killed.wait()
    assert built_programs(home) == []

    with ThreadPoolExecutor() as threads:
        again = threads.submit(built, module, ["server"], say=Said())
        home.gate(number=2)
        path = again.result(WAIT_SECONDS_MAX)["server"]
    assert path.read_text() == "whole"
    home.gate(number=1)  # the compiler that the killed one left behind goes on, to no effect
    assert built_programs(home) == ["server"]
    assert path.read_text() == "whole"


def built_programs(home: Home) -> list[str]:
    """The programs that somebody would find and use."""
    return [path.name for path in (home.folder / "cache" / "rei" / "go").glob("*/[!.]*")]


def test_only_the_last_generations_are_kept(home: Home) -> None:
    with ThreadPoolExecutor() as threads:
        for number in range(go_programs.GENERATIONS_KEPT + 2):
            home.install_go(f"1.26.{10 + number}")
            building = threads.submit(built, home.module, ["server"], say=Said())
            home.gate()
            newest = building.result(WAIT_SECONDS_MAX)["server"]
    assert len(built_programs(home)) == go_programs.GENERATIONS_KEPT
    assert newest.exists()


def test_a_go_too_old_gives_way_to_the_locked_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.install_go("1.19.8")
    monkeypatch.setattr(go_programs, "CHECKOUT", home.folder)
    home.install_go("1.26.6", to=home.folder / "locked")
    setup = home.folder / "tools" / "setup"
    setup.write_text(
        f'#!/bin/sh\n[ "$1" = go ] && mkdir -p {home.folder}/.cache/go/bin '
        f"&& cp {home.folder}/locked/go {home.folder}/.cache/go/bin/go\n"
    )
    setup.chmod(0o755)
    said = Said()
    with ThreadPoolExecutor() as threads:
        building = threads.submit(built, home.module, ["server"], say=said)
        home.gate()
        assert building.result(WAIT_SECONDS_MAX)["server"].read_text() == "whole"
    assert any("installing the locked one" in line for line in said.lines)


def test_no_go_at_all_is_said_with_the_reason(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.folder / "bin" / "go").unlink()
    monkeypatch.setattr(go_programs, "CHECKOUT", home.folder)
    setup = home.folder / "tools" / "setup"
    setup.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    setup.chmod(0o755)
    with pytest.raises(NoCluster, match="no network"):
        built(home.module, ["server"], say=Said())


def test_given_programs_are_taken_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets, path = tmp_path / "assets", tmp_path / "path"
    for folder, names in ((assets, NAMES[:-1]), (path, NAMES)):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)
    said = Said()
    environment = {"KUBEBUILDER_ASSETS": str(assets), "PATH": str(path)}
    found = obtain(environment, say=said)
    assert found.etcd == path / "etcd", "never one of these and one of those"
    assert said.lines == ["KUBEBUILDER_ASSETS is not used: kubectl not in there"]

    (assets / "kubectl").symlink_to(path / "kubectl")
    assert obtain(environment, say=said).kube_apiserver == assets / "kube-apiserver"
