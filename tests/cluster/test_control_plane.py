"""A control plane of our own: shared while anybody needs it, gone once nobody does."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rei_sandbox.cluster import shared
from rei_sandbox.cluster.control_plane import ControlPlane
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.cluster.programs import Programs, obtain
from rei_sandbox.cluster.servers import Server
from rei_sandbox.services import ServiceError, free_port

WAIT_SECONDS_MAX = 60.0
SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager")
Say = Callable[[str], None]
# A user in a process of its own; it ends when it is killed, or at the end of its standard input.
USER = """
import os, sys
from pathlib import Path
from rei_sandbox.cluster import shared
with shared.cluster(Path(sys.argv[1]), os.environ, say=print) as cluster:
    print("using", cluster.kubeconfig, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def programs(cluster: Cluster, say: Say) -> Programs:
    """The programs that the shared cluster runs, if it is ours."""
    if not cluster.ours:
        pytest.skip(f"{shared.GIVEN} names a cluster: none is started here")
    return obtain(os.environ, say=say)


def pids(folder: Path) -> dict[str, int]:
    return {name: int((folder / "plane" / f"{name}.pid").read_text()) for name in SERVERS}


def runs(pid: int) -> bool:
    """Whether there is such a process; one that only waits to be buried is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(true: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.05)


def shows(folder: Path, server: Server) -> bool:
    """Whether its command line is to be seen: for a moment after the start there is none."""
    return str(folder) in Path(f"/proc/{server.pid}/cmdline").read_text()


def start_user(folder: Path) -> subprocess.Popen[str]:
    user = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    while not (line := user.stdout.readline()).startswith("using"):
        assert line, "the user ended before it had a cluster"
    return user


def end(user: subprocess.Popen[str]) -> None:
    user.kill()
    user.wait()
    assert user.stdin is not None
    assert user.stdout is not None
    user.stdin.close()
    user.stdout.close()


@pytest.mark.usefixtures("programs")
@pytest.mark.timeout(600)
def test_it_is_one_for_all_and_goes_with_the_last_even_killed(tmp_path: Path, say: Say) -> None:
    first = start_user(tmp_path)
    try:
        started = pids(tmp_path)
        assert all(map(runs, started.values()))
        with shared.cluster(tmp_path, os.environ, say=say) as second:
            assert pids(tmp_path) == started
            assert second.kubeconfig.stat().st_mode & 0o077 == 0
            end(first)
            # The keeper looks every tenth of a second: it has had ten looks by now.
            kubectl = [str(second.kubectl_program), f"--kubeconfig={second.kubeconfig}"]
            for _ in range(10):
                asked = [*kubectl, "get", "--raw", "/readyz"]
                assert subprocess.run(asked, check=True, capture_output=True).stdout == b"ok"
        until(lambda: not any(map(runs, started.values())), what="the servers go")
        until(lambda: not (tmp_path / "plane" / "etcd").exists(), what="the data goes")
        assert not second.kubeconfig.exists()
    finally:
        end(first)

    # Whoever comes after the end gets another one.
    third = start_user(tmp_path)
    anew = pids(tmp_path)
    assert not set(anew.values()) & set(started.values())
    end(third)
    until(lambda: not any(map(runs, anew.values())), what="the servers go")


@pytest.mark.timeout(300)
def test_a_server_that_does_not_start_is_shown_and_nothing_is_left(
    programs: Programs, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no such flag: --tls-cert-file >&2\nexit 3\n")
    broken.chmod(0o755)
    plane = ControlPlane(
        tmp_path / "plane",
        Programs(
            etcd=programs.etcd,
            kube_apiserver=broken,
            kube_controller_manager=programs.kube_controller_manager,
            kubectl=programs.kubectl,
        ),
    )
    with pytest.raises(ServiceError, match="no such flag") as failed:
        plane.start()
    assert failed.value.service == "kube-apiserver"
    assert set(plane.pids().values()) == {None}
    assert not plane.kubeconfig.exists()


@pytest.mark.timeout(300)
def test_a_port_that_somebody_took_meanwhile_is_given_up_for_another(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        ports = itertools.chain([somebody.getsockname()[1]], iter(free_port, None))
        monkeypatch.setattr("rei_sandbox.cluster.control_plane.free_port", lambda: next(ports))
        plane = ControlPlane(tmp_path / "plane", programs)
        try:
            plane.start()
            assert all(plane.pids().values())
            assert "address already in use" in (plane.folder / "etcd.log").read_text()
        finally:
            plane.stop()


def test_what_a_killed_parent_left_is_ended_and_nobody_else(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    left = {folder: Server("sleeper", folder=folder) for folder in (ours, other)}
    for folder, server in left.items():
        folder.mkdir()
        os.mkfifo(folder / "gate")  # nobody ever opens the other end: it waits for good
        server.start(["sh", "-c", "read line <$0/gate", str(folder)])
    until(lambda: all(map(shows, left, left.values())), what="they show what they run")
    # A pid that was given to somebody else since: it is not ours to end.
    (ours / "stranger.pid").write_text(str(left[other].pid))
    try:
        Server("stranger", folder=ours).kill_stale()
        Server("sleeper", folder=ours).kill_stale()
        until(lambda: left[ours].pid is None, what="the stale one ends")
        assert left[other].pid is not None
        assert not list(ours.glob("*.pid"))
    finally:
        for server in left.values():
            server.kill()
