"""Bare taskiq on its Redis stream broker, with its defaults."""

import asyncio

import uvloop
from bench_peer import Meter, call, client, config, tell
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

asked = config()
broker = RedisStreamBroker(asked["redis_url"])
state = {}


@broker.task(task_name="noop")
async def noop() -> None:
    state["meter"].ended()


@broker.task(task_name="call")
async def make_call() -> None:
    await call(state["http"], asked["url"])
    state["meter"].ended()


async def enqueue():
    task = noop if asked["kind"] == "noop" else make_call
    await broker.startup()
    tell("started")
    turns = iter(range(asked["count"]))

    async def some():
        for _ in turns:
            await task.kiq()

    await asyncio.gather(*(some() for _ in range(asked["clients"])))
    tell("enqueued")
    await broker.shutdown()


async def work():
    state["meter"] = meter = Meter(asked["count"])
    async with client() as state["http"]:
        broker.is_worker_process = True
        receiver = asyncio.create_task(
            run_receiver_task(broker, max_async_tasks=asked["concurrency"], run_startup=True)
        )
        watching = asyncio.create_task(meter.watch())
        tell("ready")
        await asyncio.wait(
            {receiver, asyncio.create_task(meter.finished.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        watching.cancel()
        receiver.cancel()


uvloop.run(enqueue() if asked["do"] == "enqueue" else work())
