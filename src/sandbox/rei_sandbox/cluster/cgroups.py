"""The cgroups that a node's pods live in: one tree of its own, in each hierarchy that there is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
UNIFIED: Final = "cgroup.controllers"  # a file that only the second version of cgroups has


def create(name: str) -> None:
    """kubelet wants it to be there in all hierarchies, and takes no tree that lacks one."""
    for hierarchy in _hierarchies():
        if not (hierarchy / UNIFIED).exists() or hierarchy == ROOT:
            (hierarchy / name).mkdir(exist_ok=True)


def remove(name: str) -> None:
    """Safe where there is none. A cgroup goes by rmdir, once nobody is in it; its files are none."""
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _hierarchies() -> Iterator[Path]:
    """The one of the second version; or those of the first, with the second beside them, where runc
    makes cgroups too."""
    if (ROOT / UNIFIED).exists():
        yield ROOT
        return
    yield from (path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink())
