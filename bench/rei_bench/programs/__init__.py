"""What runs as a process of its own: loads, servers that are measured, stand-ins of the outside.

Each takes one JSON object as its argument and tells what it does in JSON objects, one a line.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def config() -> dict[str, Any]:
    """What the parent asks for."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def tell(event: str, **figures: Any) -> None:
    """A line for the parent; `at` is the machine's clock, the same for all processes."""
    sys.stdout.write(json.dumps({"event": event, "at": time.time(), **figures}) + "\n")
    sys.stdout.flush()
