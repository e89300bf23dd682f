"""A node that was killed leaves things behind, and all of it can be taken away without its memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rei_sandbox.cluster.cgroups import ROOT
from rei_sandbox.cluster.errors import NoCluster
from rei_sandbox.cluster.images import Images
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl
from rei_sandbox.cluster.node import FOLDER, NAME, obtain

from .conftest import not_here
from .pods import SERVE, create, pod, ready

NODE = (sys.executable, "-m", "rei_sandbox.cluster", "node")
READY = "Ctrl-C ends it"
CLEAN_SECONDS_MAX = 120.0


@pytest.fixture
def kubectl_program(store: Images, say: Callable[[str], None]) -> Path:
    """kubectl; what a node is made of has been built then, too."""
    store.build("pause", "worker")
    try:
        return obtain(say=say).control_plane.kubectl
    except NoCluster as error:
        not_here(error)


@pytest.fixture
def clean() -> Iterator[Callable[[], None]]:
    """Takes away what is left; at the end of the test in any case."""

    def cleaned() -> None:
        subprocess.run([*NODE, "clean"], check=True, timeout=CLEAN_SECONDS_MAX)

    yield cleaned
    cleaned()


def test_what_a_killed_node_left_is_taken_away(
    kubectl_program: Path, clean: Callable[[], None]
) -> None:
    word = f"left-{uuid.uuid4().hex}"
    assert not left(word), "a node ran before"
    up = subprocess.Popen([*NODE, "up", "--load=worker"], stdout=subprocess.PIPE, text=True)
    try:
        assert up.stdout is not None
        assert any(READY in line for line in up.stdout), "it ended while it started"
        cluster = Cluster(FOLDER / "kubeconfig", kubectl_program, FOLDER, ours=True)
        asyncio.run(run_a_pod(cluster.kubectl(), word))
    finally:
        up.kill()
        up.wait()
    everything = {"servers", "pod", "mounts", "network", "wire", "cgroups", "folder", "kubelet"}
    assert left(word) == everything, "there is less to take away than there should be"
    clean()
    assert not left(word)


async def run_a_pod(kubectl: Kubectl, word: str) -> None:
    await create(kubectl, pod("left", "worker", "python", "-c", SERVE, word))
    await ready(kubectl, "left")


def left(word: str) -> set[str]:
    """What there is of a node, and of the pod with this word in its command line."""
    commands = [_text(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    mounts = [line.split()[4] for line in _text(Path("/proc/self/mountinfo")).splitlines()]
    found = {
        "servers": any(f"--root-dir={FOLDER}" in command for command in commands),
        "pod": any(word in command for command in commands),
        "mounts": any(mount.startswith(f"{FOLDER}/") for mount in mounts),
        "network": Path("/run/netns", NAME).exists(),
        "wire": Path("/sys/class/net", f"{NAME}-out").exists(),
        "cgroups": any(ROOT.glob(f"*/{NAME}")) or (ROOT / NAME).exists(),
        "folder": FOLDER.exists(),
        "kubelet": Path("/var/lib/kubelet").exists(),
    }
    return {name for name, is_there in found.items() if is_there}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # a process that has just ended
        return ""
