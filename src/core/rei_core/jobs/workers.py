"""What a worker calls itself in `jobs.worker`: who works on a job, and in a cluster in which pod."""

from __future__ import annotations

import os
import socket
import uuid


def worker_name() -> str:
    """A name that no other process has, or will have after a restart in the same pod."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def host_of(worker: str) -> str:
    """The host of a worker by its name. A pod's is the pod's own name."""
    return worker.rsplit("-", 2)[0]
