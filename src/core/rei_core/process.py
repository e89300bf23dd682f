"""What every long-running process of Rei does the same way: obey signals, end its own tasks, watch
its own loop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import structlog

logger = structlog.get_logger(__name__)

EXIT_AT_ONCE = 130
LAG_CHECK_SECONDS = 0.5
CANCEL_AGAIN_SECONDS = 1.0
CANCELS_MAX = 10


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` on the first SIGTERM or SIGINT; end the process on the spot on the second.

    Ending on the spot is safe: leases lapse, and whatever was open is found again.
    """
    seen: list[int] = []

    def on_signal(number: int) -> None:
        if seen:
            logger.warning("process.exits_at_once")
            os._exit(EXIT_AT_ONCE)
        seen.append(number)
        logger.info("process.signal", signal=signal.Signals(number).name)
        stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended; what they died of is logged.

    Once is not enough for a loop that outlives errors: asyncpg, told to give a connection back on
    which a statement was cancelled, waits for a silent server and then raises a TimeoutError in
    place of the cancellation. The next cancellation finds it waiting, or in its loop. A task that is
    still there after `CANCELS_MAX` of them is left behind and named: the process has to end.
    """
    left = set(tasks)
    for _ in range(CANCELS_MAX):
        if not left:
            break
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
    for task in left:
        where = [f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in task.get_stack()]
        logger.error("process.task_hangs", task=task.get_name(), frames=where)
    for task in set(tasks) - left:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("process.task_died", task=task.get_name(), exc_info=error)


async def watch_loop_lag(report: Callable[[float], None]) -> None:
    """Tell `report` how many seconds late the event loop wakes, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        expected = loop.time() + LAG_CHECK_SECONDS
        await asyncio.sleep(LAG_CHECK_SECONDS)
        report(max(0.0, loop.time() - expected))
