"""One node for the two processes of `pytest -n 2`.

Scaling is waiting, mostly, and all else is work. So one process has the node and all tests but those of
scaling, and the other scales a release of its own on that node meanwhile. It comes once the first
release is installed, for the kinds of Rei are that one's; and whoever would be in its way, by a restart
of the node or its end, waits until it has gone. Without xdist, or where only one of the two was asked
for, there is nobody to wait for.

    node      the kubeconfig, once there is something to visit; empty if there never will be
    visitors  locked, shared, by who visits or will: the kernel frees it, however that process ends
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest

NODE, BESIDE = "node", "beside"
"""Groups of tests, each in one process."""
VISITORS = ("test_images", "test_scaling")
LOOK_SECONDS = 0.5
SECONDS_MAX = 7200.0
"""Programs may have to be built first."""


def group_of(nodeid: str) -> str:
    return BESIDE if Path(nodeid.partition("::")[0]).stem in VISITORS else NODE


class Sharing:
    """What a process knows of the other one, by a folder that both know."""

    def __init__(self, folder: Path, *, parallel: bool) -> None:
        self._node, self._visitors = folder / "node", folder / "visitors"
        self._parallel = parallel
        self._visit: IO[str] | None = None

    @property
    def visiting(self) -> bool:
        """Whether the node is the other process's."""
        return self._visit is not None

    def begin(self, item: pytest.Item, items: Sequence[pytest.Item]) -> None:
        """Say before the first test whether this process will visit the other one's node."""
        both = {group_of(each.nodeid) for each in items} == {NODE, BESIDE}
        if self._parallel and both and group_of(item.nodeid) == BESIDE and not self.visiting:
            self._visit = self._visitors.open("w")
            fcntl.flock(self._visit, fcntl.LOCK_SH)

    def invite(self, kubeconfig: Path | None) -> None:
        """Tell the visitor where the node is; None: there is none. Only the first word counts."""
        if not self._node.exists():
            written = self._node.with_suffix(f".{os.getpid()}")
            written.write_text(str(kubeconfig or ""), encoding="utf-8")
            written.rename(self._node)

    def invited(self) -> Path:
        """The kubeconfig of the other process's node, once it has invited."""
        _until(self._node.exists, "the other process has no release to be beside of")
        kubeconfig = self._node.read_text(encoding="utf-8")
        assert kubeconfig, "the other process has no node"
        return Path(kubeconfig)

    def wait_until_alone(self) -> None:
        """Until the visitor has gone, who has to have been invited."""
        with self._visitors.open("w") as file:
            _until(lambda: _took(file), "the other process is still at work on the node")


def _until(holds: Callable[[], bool], complaint: str) -> None:
    end = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < end, f"{complaint} after {SECONDS_MAX:.0f} s"
        time.sleep(LOOK_SECONDS)


def _took(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
