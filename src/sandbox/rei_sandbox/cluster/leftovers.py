"""What a node leaves behind when it ends, and how all of it is found without its memory.

A node's programs and its pods' shims have the node's folder in their command line, its mounts lie in
there, and the pods' processes are children of the shims. So one way serves at the end, after Ctrl-C,
and after a kill -9 long ago. The order matters: who could start something anew goes first, mounts go
once nobody uses them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rei_sandbox.cluster import cgroups
from rei_sandbox.services import ServiceError

PROC: Final = Path("/proc")
DEVICE_PLUGINS: Final = Path("/var/lib/kubelet/device-plugins")  # kubelet's, wherever its root is
CONTAINER_LOGS: Final = Path("/var/log/containers")  # kubelet's links, wherever the logs are
PROGRAMS: Final = frozenset(
    {
        "containerd",
        "coredns",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubelet",
    }
)
SHIM: Final = "containerd-shim"
GONE_SECONDS_MAX: Final = 20.0
LOOK_SECONDS: Final = 0.05
ROUNDS_MAX: Final = 5


def remove_all(folder: Path, *, cgroup: str) -> None:
    """End the node of `folder` and its pods, and remove what is theirs; safe where nothing is.

    Raises `ServiceError` if something does not go.
    """
    for _ in range(ROUNDS_MAX):  # until no shim has had the time to start one more
        if not (found := _processes_of(folder)):
            break
        _kill(found)
    else:
        raise ServiceError("node", f"processes of {folder} do not end", str(found))
    for mount in reversed(_mounts_below(folder)):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    cgroups.remove(cgroup)
    _remove_dangling_logs(folder)
    shutil.rmtree(DEVICE_PLUGINS, ignore_errors=True)
    with contextlib.suppress(OSError):
        DEVICE_PLUGINS.parent.rmdir()
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise ServiceError("node", f"{folder} cannot be removed", "")


def of_another_kubelet() -> bool:
    """Whether this machine is a node of somebody's already, which ours would get in the way of."""
    root = DEVICE_PLUGINS.parent
    return root.exists() and any(entry != DEVICE_PLUGINS for entry in root.iterdir())


def _processes_of(folder: Path) -> list[int]:
    """The node's own processes first, then its shims, then what runs in pods.

    By the program's name too: who reads one of its logs has the folder in his command line as well.
    """
    named = {
        pid: Path(command[0]).name
        for pid in _pids()
        if str(folder) in " ".join(command := _command(pid))
    }
    servers = [pid for pid, program in named.items() if program in PROGRAMS]
    shims = [pid for pid, program in named.items() if program.startswith(SHIM)]
    return [*servers, *shims, *(pid for pid in _pids() if _parent(pid) in shims)]


def _kill(pids: Iterable[int]) -> None:
    """kill -9, and wait until they are gone or only wait to be buried."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_SECONDS_MAX
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _command(pid: int) -> list[str]:
    """Its words; [""] if it has none, or is gone."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")
    return [""]


def _status(pid: int) -> tuple[str, int]:
    """Its state, such as "S", and its parent; ("X", 0) if it is gone."""
    with contextlib.suppress(OSError):
        state, parent = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[:2]
        return state, int(parent)
    return "X", 0


def _runs(pid: int) -> bool:
    return _status(pid)[0] not in "ZX"


def _parent(pid: int) -> int:
    return _status(pid)[1]


def _mounts_below(folder: Path) -> list[str]:
    """In the order in which they were made."""
    mounts = (PROC / "self" / "mountinfo").read_text().splitlines()
    points = (line.split()[4].encode().decode("unicode_escape") for line in mounts)
    return [point for point in points if point.startswith(f"{folder}/")]


def _remove_dangling_logs(folder: Path) -> None:
    if not CONTAINER_LOGS.is_dir():
        return
    for link in CONTAINER_LOGS.iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(f"{folder}/"):
            link.unlink()
