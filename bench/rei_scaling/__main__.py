"""`bench/scaling`: replay everything, and write the figures into docs/scaling.md and its pictures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rei_scaling.report import filled
from rei_scaling.study import study

BENCH = Path(__file__).parents[1]
PAGE = BENCH.parent / "docs" / "scaling.md"
PICTURES = BENCH.parent / "docs" / "scaling"
RAW = BENCH / "results" / "scaling.json"


def main() -> None:
    """Some minutes on one core; nothing but Python is needed."""
    began = time.monotonic()

    def tell(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:4.0f} s  {what}\n")
        sys.stderr.flush()

    done = study(tell=tell)
    RAW.write_text(json.dumps(asdict(done)), encoding="utf-8")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), done), encoding="utf-8")
    _draw()
    tell(f"written: {PAGE.relative_to(BENCH.parent)}")


def _draw() -> None:
    """In an environment of its own: Rei needs no matplotlib to run."""
    python = BENCH / "plots" / ".venv" / "bin" / "python"
    command = [str(python), str(BENCH / "plots" / "draw_scaling.py"), str(RAW), str(PICTURES)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
