"""The aiohttp server around every peer that answers HTTP."""

import asyncio

from aiohttp import web
from bench_peer import tell


async def serve(app, port):
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    tell("ready")
    await asyncio.Event().wait()
