"""procrastinate on PostgreSQL, with its defaults."""

import asyncio

import procrastinate
import uvloop
from bench_peer import Meter, call, client, config, tell

asked = config()
connector = procrastinate.PsycopgConnector(conninfo=asked["database_url"], max_size=10)
app = procrastinate.App(connector=connector)
state = {}


@app.task(name="noop")
async def noop():
    state["meter"].ended()


@app.task(name="make_call")
async def make_call():
    await call(state["http"], asked["url"])
    state["meter"].ended()


async def prepare():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    tell("prepared")


async def enqueue():
    task = noop if asked["kind"] == "noop" else make_call
    async with app.open_async():
        tell("started")
        turns = iter(range(asked["count"]))

        async def some():
            for _ in turns:
                await task.defer_async()

        await asyncio.gather(*(some() for _ in range(asked["clients"])))
        tell("enqueued")


async def work():
    state["meter"] = meter = Meter(asked["count"])
    async with client() as state["http"], app.open_async():
        working = asyncio.create_task(
            app.run_worker_async(concurrency=asked["concurrency"], install_signal_handlers=False)
        )
        watching = asyncio.create_task(meter.watch())
        tell("ready")
        await asyncio.wait(
            {working, asyncio.create_task(meter.finished.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        watching.cancel()
        working.cancel()


uvloop.run({"prepare": prepare, "enqueue": enqueue, "work": work}[asked["do"]]())
