"""Words of the `rei` command in a process of its own, and the most memory that it had."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rei_bench.programs import config, tell
from rei_core.cli import rei


def main() -> None:
    asked = config()
    os.environ["REI_DATABASE_URL"] = asked["database_url"]
    try:
        rei(asked["words"], standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    tell("done", peak_megabytes=high_water_megabytes())


def high_water_megabytes() -> float:
    """The kernel's own mark. Read here, since the bench's modules would be a part of it."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
