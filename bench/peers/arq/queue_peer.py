"""arq on Redis, with its defaults."""

import asyncio

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker
from bench_peer import Meter, call, client, config, tell

asked = config()
state = {}


async def noop(ctx):
    state["meter"].ended()


async def make_call(ctx):
    await call(state["http"], asked["url"])
    state["meter"].ended()


async def enqueue():
    name = "noop" if asked["kind"] == "noop" else "make_call"
    redis = await create_pool(RedisSettings.from_dsn(asked["redis_url"]))
    tell("started")
    turns = iter(range(asked["count"]))

    async def some():
        for _ in turns:
            await redis.enqueue_job(name)

    await asyncio.gather(*(some() for _ in range(asked["clients"])))
    tell("enqueued")
    await redis.aclose()


async def work():
    state["meter"] = meter = Meter(asked["count"])
    async with client() as state["http"]:
        worker = Worker(
            functions=[noop, make_call],
            redis_settings=RedisSettings.from_dsn(asked["redis_url"]),
            max_jobs=asked["concurrency"],
            handle_signals=False,
        )
        working = asyncio.create_task(worker.async_run())
        watching = asyncio.create_task(meter.watch())
        tell("ready")
        await asyncio.wait(
            {working, asyncio.create_task(meter.finished.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        watching.cancel()
        working.cancel()


uvloop.run(enqueue() if asked["do"] == "enqueue" else work())
