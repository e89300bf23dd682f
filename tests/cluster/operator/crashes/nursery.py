"""Rei's processes, forked from one that has imported them already.

A matrix of crashes begins some two hundred operators and Jobs, and three seconds of importing for
each would be all of its time. So this process imports what they need, once, and forks: a child is a
process like any other, with an environment, a log and an end of its own; it runs `rei WORDS`, makes
its own event loop and threads, and dies as it likes.

Standard input: one order a line, `{"words": […], "environment": {…}, "log": path}`. Standard
output: `{"ready": true}`, then `{"began": pid}` for each order, in their order, and
`{"ended": pid, "code": …}` for each child. When standard input ends, all that lives is killed.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import kopf  # noqa: F401 - imported here so that no child has to
from kubernetes.aio import client, config  # noqa: F401

import rei_core.cli
import rei_operator.cli
import rei_operator.job
import rei_operator.main  # noqa: F401

LOOK_SECONDS = 0.02
READ_BYTES = 1 << 20


def main() -> None:
    """Fork on order until there are none to come."""
    # A fork copies one thread: locks that others hold would stay locked for ever.
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "importing has begun a thread"
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    tell({"ready": True})
    unread = b""
    while True:
        bury(children)
        if not select.select([0], [], [], LOOK_SECONDS)[0]:
            continue
        read = os.read(0, READ_BYTES)
        if not read:
            break
        *lines, unread = (unread + read).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                become(json.loads(line))
            children.add(pid)
            tell({"began": pid})
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def tell(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def bury(children: set[int]) -> None:
    """Tell of those that have ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def become(order: dict[str, Any]) -> NoReturn:
    """Be the process that was ordered."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["rei", *order["words"]]
    code = 1
    try:
        rei_core.cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
