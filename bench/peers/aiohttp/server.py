"""Bare aiohttp: an empty answer, JSON and an answer, or one INSERT and an answer."""

import json

import asyncpg
import uvloop
from aiohttp import web
from bench_peer import client, config
from bench_server import serve

asked = config()
INSERT = "INSERT INTO notifications (object_id, body) VALUES ($1, $2)"
TABLE = """
CREATE TABLE IF NOT EXISTS notifications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object_id text NOT NULL UNIQUE,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""


async def main():
    pool = http = None
    if asked["does"] in ("insert", "fetch"):
        pool = await asyncpg.create_pool(asked["database_url"], min_size=10, max_size=10)
        await pool.execute(TABLE)
    if asked["does"] == "fetch":
        http = client()

    async def take(request):
        body = await request.read()
        if asked["does"] == "empty":
            return web.Response()
        notification = json.loads(body)
        if asked["does"] == "json":
            return web.Response()
        object_id = notification["object"]["id"]
        if http is not None:
            (await http.get(f"{asked['provider_url']}/payments/{object_id}")).json()
        await pool.execute(INSERT, object_id, body.decode())
        return web.Response()

    app = web.Application()
    app.router.add_post(asked["path"], take)
    await serve(app, asked["port"])


uvloop.run(main())
