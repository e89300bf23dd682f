"""One image as one process, under the conditions that Rei's pods have: runc without a cluster."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rei_sandbox.cluster.images import Images, image_of

COMMAND_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Container:
    """The files and settings of an image, ready to be run any number of times."""

    root: Path
    settings: dict[str, Any]
    folder: Path

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """The image's entrypoint with `command`: not root, a read-only root, no rights, no network."""
        bundle = self.folder / uuid.uuid4().hex
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._spec(command)))
        runc = ["runc", f"--root={self.folder / 'runc'}"]
        process = subprocess.Popen(
            [*runc, "run", f"--bundle={bundle}", bundle.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            # Not runc itself: it would leave its container behind.
            subprocess.run([*runc, "delete", "--force", bundle.name], check=False)
            process.wait()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        with self.running(*command) as process:
            said, complained = process.communicate(timeout=COMMAND_SECONDS_MAX)
        return subprocess.CompletedProcess(command, process.returncode, said, complained)

    def _spec(self, command: Sequence[str]) -> dict[str, Any]:
        user, group = map(int, self.settings["User"].split(":"))
        none: list[str] = []
        kinds = ("bounding", "effective", "inheritable", "permitted", "ambient")
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.root), "readonly": True},
            "process": {
                "args": [*self.settings["Entrypoint"], *command],
                "cwd": self.settings["WorkingDir"],
                "env": self.settings["Env"],
                "user": {"uid": user, "gid": group},
                "capabilities": dict.fromkeys(kinds, none),
                "noNewPrivileges": True,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {
                    "destination": "/tmp",
                    "type": "tmpfs",
                    "source": "tmpfs",
                    "options": ["nosuid", "nodev", "mode=1777"],
                },
            ],
            "linux": {
                "namespaces": [
                    {"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")
                ],
            },
        }


@contextlib.contextmanager
def container(images: Images, name: str, folder: Path) -> Iterator[Container]:
    """An image of this checkout, mounted for as long as the block lasts."""
    with images.root(image_of(name)) as root:
        yield Container(root, dict(images.settings(image_of(name))), folder)
