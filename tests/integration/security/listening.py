"""Where a process listens, asked of the kernel and not of the process."""

from __future__ import annotations

import re
from pathlib import Path

LISTENING = "0A"
LOOPBACK = re.compile(r"0100007F|0{24}01000000", re.IGNORECASE)
"""127.0.0.1 and ::1 as /proc/net writes them."""


def listens_on(pid: int) -> set[str]:
    """The addresses, as the kernel writes them, that a process listens on."""
    sockets = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found
