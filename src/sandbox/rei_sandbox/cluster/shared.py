"""One control plane for all processes of a test run, which ends when the last of them has.

pytest-xdist's workers are processes that know nothing of each other but a folder. The first that
needs a cluster starts a keeper, which starts the control plane and holds it; every user holds a
shared lock on a file. The keeper waits for the exclusive one: the kernel hands it over once no
user is left, however they ended, kill -9 included.

    users.lock   shared: a user; exclusive: the keeper, once there is nobody left
    start.lock   held by who looks whether there is a cluster, and starts it if there is none
    plane/       the control plane's; its kubeconfig is there while the cluster is ready
    keeper.log   what the keeper said
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from rei_core.errors import ConfigurationError
from rei_sandbox.cluster.builds import Say
from rei_sandbox.cluster.control_plane import ATTEMPTS, START_SECONDS_MAX, ControlPlane
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.cluster.programs import obtain, obtain_kubectl
from rei_sandbox.services import ServiceError, tail

GIVEN: Final = "REI_TEST_KUBECONFIG"
WAIT_SECONDS_MAX: Final = ATTEMPTS * START_SECONDS_MAX + 30
LOOK_SECONDS: Final = 0.1
LOG_LINES: Final = 40


@contextlib.contextmanager
def cluster(folder: Path, environment: Mapping[str, str], *, say: Say) -> Iterator[Cluster]:
    """A cluster to test on: a given one, else one of our own that all who name `folder` share.

    Only `REI_TEST_KUBECONFIG` gives one. `KUBECONFIG` does not: tests write CRDs and delete
    namespaces, and whoever is on call has production in there.

    Raises `NoCluster` if none is to be had here, `ServiceError` if it did not start,
    `ConfigurationError` if a given one is not there.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if given := environment.get(GIVEN):
        path = Path(given).expanduser().resolve()
        if not path.is_file():
            raise ConfigurationError(
                GIVEN, "there is no such file", "Name a kubeconfig, or unset it"
            )
        program = obtain_kubectl(environment, say=say)
        yield Cluster(kubeconfig=path, kubectl_program=program, folder=folder, ours=False)
        return
    programs = obtain(environment, say=say)  # may take minutes; the keeper then finds them built
    with _locked(folder / "users.lock", fcntl.LOCK_SH):
        with _locked(folder / "start.lock", fcntl.LOCK_EX):
            path = _started(folder)
        yield Cluster(kubeconfig=path, kubectl_program=programs.kubectl, folder=folder, ours=True)


def keep(folder: Path, environment: Mapping[str, str], *, say: Say) -> None:
    """The keeper: hold a control plane for as long as anybody has the lock on users.lock.

    Raises `ServiceError` when one of its servers ends before.
    """
    plane = ControlPlane(folder / "plane", obtain(environment, say=say))
    with (folder / "users.lock").open("w") as lock:
        plane.start()
        try:
            say(f"ready in {plane.ready_seconds:.1f} s: {plane.pids()}")
            while not _took(lock, fcntl.LOCK_EX):
                if server := plane.ended():
                    raise server.failed("ended by itself")
                time.sleep(LOOK_SECONDS)
        finally:
            plane.stop()  # still under the lock: who comes now waits, and starts another one


def launch(folder: Path, environment: Mapping[str, str], *, say: Say) -> bool:
    """Fork the keeper and return once the cluster is ready, or false once it has failed.

    Whoever asked for it may end before it does: so it is the child of one that ends at once.
    """
    keeper = os.fork()
    if keeper == 0:
        keep(folder, environment, say=say)
        os._exit(0)
    while not _kubeconfig(folder).exists():
        if os.waitpid(keeper, os.WNOHANG) != (0, 0):
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _started(folder: Path) -> Path:
    """The kubeconfig of the cluster, which is started if there is none; only under start.lock."""
    path = _kubeconfig(folder)
    if path.exists():
        return path
    log = folder / "keeper.log"
    command = [sys.executable, "-m", "rei_sandbox.cluster", "keep", str(folder)]
    with log.open("ab") as output:
        # In a session of its own: Ctrl-C ends the users, and their end ends the cluster.
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, cwd="/", start_new_session=True,
        )  # fmt: skip
    if done.returncode != 0:
        raise ServiceError("cluster", "did not become ready", tail(log, lines=LOG_LINES))
    return path


def _kubeconfig(folder: Path) -> Path:
    return folder / "plane" / "kubeconfig"


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    with path.open("w") as file:
        while not _took(file, how):
            if time.monotonic() > deadline:
                raise ServiceError("cluster", f"{path.name} is held for too long", "")
            time.sleep(LOOK_SECONDS)
        yield


def _took(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
