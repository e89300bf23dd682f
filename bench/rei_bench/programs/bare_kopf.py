"""kopf and nothing else: an object is seen, its status says that it is done. No database, no Events.

What an operator on kopf cannot be faster than. It keeps nothing but what kopf itself keeps.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

import kopf

from rei_bench.programs import config, tell
from rei_core.maintenance.resources import GROUP, VERSION
from rei_operator.watch import settings


async def done(status: Any, patch: Any, type: Any, **_: Any) -> None:  # noqa: A002 - kopf's name
    """Tell it once."""
    if type == "DELETED" or status.get("conditions"):
        return
    condition = {
        "type": "Succeeded",
        "status": "True",
        "reason": "Bare",
        "message": "nothing was done",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patch.status["conditions"] = [condition]


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """As whom KUBECONFIG names."""
    return kopf.login_with_kubeconfig(**kwargs)


def _tell_ready(ready: threading.Event) -> None:
    ready.wait()
    tell("ready")


def main() -> None:
    asked = config()
    os.environ["KUBECONFIG"] = asked["kubeconfig"]
    logging.getLogger("kopf").setLevel(logging.WARNING)
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    kopf.on.event(GROUP, VERSION, "balanceadjustments", registry=registry)(done)
    ready = threading.Event()
    threading.Thread(target=_tell_ready, args=[ready], daemon=True).start()
    asyncio.run(
        kopf.operator(
            registry=registry,
            settings=settings(namespaced=True),
            standalone=True,
            ready_flag=ready,
            namespaces=[asked["namespace"]],
        )
    )


if __name__ == "__main__":
    main()
