"""`caller.py CALLER URL SECONDS ANSWER…`: Rei's own clients against hostile answers, one by one.

Each answer meets a process of its own (a fork), which first has had a good one, so that what it
grows by is the answer's. Prints a line of JSON for each: what came of it, in how many seconds, and
by how many bytes the process grew at the most.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

import stamina
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer

from rei_core.errors import ImageProviderError, PaymentOutcomeUnknown
from rei_core.images.gemini import GeminiClient
from rei_core.images.port import ImageRequest
from rei_core.jobs.model import InputRef
from rei_core.logs import configure
from rei_core.payments.yookassa import YooKassaClient
from rei_worker import inputs
from rei_worker.telegram_session import StrictSession

Call = Callable[[str, float], Coroutine[Any, Any, str]]


async def gemini(url: str, seconds_max: float) -> str:
    client = GeminiClient(api_key="k", base_url=url, timeout_seconds=seconds_max)
    try:
        await client.generate(ImageRequest("m", "кот", "1:1", "1K"))
    except ImageProviderError as error:
        return f"{error.failure.value} {error.code}"
    finally:
        await client.aclose()
    return "taken"


async def yookassa(url: str, seconds_max: float) -> str:
    client = YooKassaClient(
        shop_id="1", secret_key="s", base_url=url, timeout_seconds=2 * seconds_max
    )
    try:
        await client.get("2f1c0f9e-000f-5000-8000-1d0f0b9c4d5e")
    except PaymentOutcomeUnknown:
        return "unknown"
    finally:
        await client.aclose()
    return "taken"


async def telegram(url: str, seconds_max: float) -> str:
    inputs.FETCH_SECONDS_MAX = seconds_max  # type: ignore[assignment]
    bot = Bot("42:TEST", session=StrictSession(api=TelegramAPIServer.from_base(url)))
    try:
        await inputs.fetch(bot, (InputRef("f", "image/jpeg", 4),))
    except inputs.InputLost:
        return "lost"
    except inputs.InputUnusable:
        return "unusable"
    except inputs.InputUnreachable:
        return "unreachable"
    finally:
        await bot.session.close()
    return "taken"


CALLERS: dict[str, Call] = {
    "gemini": gemini, "yookassa": yookassa, "telegram-api": telegram, "telegram-file": telegram,
}  # fmt: skip


def status(what: str) -> int:
    """A line of this process's own status, in bytes."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if what in line]
    return int(line.split()[1]) * 1024


def meet(caller: str, url: str, seconds_max: float, answer: str) -> None:
    call, base = CALLERS[caller], f"{url}/{caller}"
    asyncio.run(call(f"{base}/good", seconds_max))
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before, began = status("VmRSS"), time.monotonic()
    outcome = asyncio.run(call(f"{base}/{quote(answer)}", seconds_max))
    seconds = time.monotonic() - began
    grown = status("VmHWM") - before
    told = {"answer": answer, "outcome": outcome, "seconds": seconds, "grown_bytes": grown}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> None:
    caller, url, seconds_max, *answers = sys.argv[1:]
    stamina.set_testing(True, attempts=1)
    for answer in answers:
        child = os.fork()
        if child == 0:
            try:
                meet(caller, url, float(seconds_max), answer)
            finally:
                os._exit(0)  # the lines of the others are not ours to tell
        os.waitpid(child, 0)


if __name__ == "__main__":
    configure(level="INFO", log_format="json", component="caller")  # to stderr: stdout is told
    main()
