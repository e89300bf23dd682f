"""SAQ on Redis, with its defaults."""

import asyncio

import uvloop
from bench_peer import Meter, call, client, config, tell
from saq import Queue, Worker

asked = config()
queue = Queue.from_url(asked["redis_url"])
state = {}


async def noop(ctx):
    state["meter"].ended()


async def make_call(ctx):
    await call(state["http"], asked["url"])
    state["meter"].ended()


async def enqueue():
    name = "noop" if asked["kind"] == "noop" else "make_call"
    await queue.connect()
    tell("started")
    turns = iter(range(asked["count"]))

    async def some():
        for _ in turns:
            await queue.enqueue(name, timeout=60)

    await asyncio.gather(*(some() for _ in range(asked["clients"])))
    tell("enqueued")
    await queue.disconnect()


async def work():
    state["meter"] = meter = Meter(asked["count"])
    async with client() as state["http"]:
        worker = Worker(queue, functions=[noop, make_call], concurrency=asked["concurrency"])
        working = asyncio.create_task(worker.start())
        watching = asyncio.create_task(meter.watch())
        tell("ready")
        await asyncio.wait(
            {working, asyncio.create_task(meter.finished.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        watching.cancel()
        working.cancel()


uvloop.run(enqueue() if asked["do"] == "enqueue" else work())
