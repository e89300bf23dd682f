"""The calls and nothing else: what Python and an HTTP client leave of the ideal."""

import asyncio

import aiohttp
import uvloop
from bench_peer import CALL_BODY, CALL_PATH, Meter, call, client, config, tell

asked = config()


async def by_httpx(meter):
    async with client() as http:

        async def one():
            await call(http, asked["url"])
            meter.ended()

        await asyncio.gather(*(one() for _ in range(asked["count"])))


async def by_aiohttp(meter):
    connector = aiohttp.TCPConnector(limit=2048)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one():
            async with session.post(asked["url"] + CALL_PATH, json=CALL_BODY) as answer:
                answer.raise_for_status()
                await answer.json()
            meter.ended()

        await asyncio.gather(*(one() for _ in range(asked["count"])))


async def main():
    meter = Meter(asked["count"])
    watching = asyncio.create_task(meter.watch())
    tell("ready")
    await (by_httpx if asked["with"] == "httpx" else by_aiohttp)(meter)
    watching.cancel()


uvloop.run(main())
