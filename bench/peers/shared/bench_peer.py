"""What every peer's script does alike: counts, times, watches its loop, and tells.

Nothing but the standard library and httpx, because it runs in each peer's environment.
"""

import asyncio
import json
import sys
import time

import httpx

CALL_PATH = "/v1beta/models/bench:generateContent"
CALL_BODY = {"contents": [{"role": "user", "parts": [{"text": "A cat in a spacesuit"}]}]}


def config():
    return json.loads(sys.argv[1])


def tell(event, **figures):
    print(json.dumps({"event": event, "at": time.time(), **figures}), flush=True)


class Meter:
    """Counts the ends of jobs up to `count`; `lag` is the latest that the loop has ever woken."""

    def __init__(self, count):
        self.count = count
        self.done = 0
        self.lag = 0.0
        self.finished = asyncio.Event()

    def ended(self):
        self.done += 1
        if self.done == self.count:
            tell("done", lag_seconds=self.lag, peak_megabytes=peak_megabytes())
            self.finished.set()

    async def watch(self):
        loop = asyncio.get_running_loop()
        while True:
            expected = loop.time() + 0.05
            await asyncio.sleep(0.05)
            self.lag = max(self.lag, loop.time() - expected)


def peak_megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def client():
    """The HTTP client that Rei uses, with Rei's limits."""
    limits = httpx.Limits(max_connections=2048, max_keepalive_connections=256)
    return httpx.AsyncClient(timeout=60, limits=limits, trust_env=False)


async def call(http, url):
    """One call of the image provider."""
    answer = await http.post(url + CALL_PATH, json=CALL_BODY)
    answer.raise_for_status()
    return answer.json()
