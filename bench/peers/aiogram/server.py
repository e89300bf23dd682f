"""Bare aiogram behind its own webhook handler, answering once the update is handled."""

import uvloop
from aiogram import Bot, Dispatcher
from aiogram.filters import Command
from aiogram.webhook.aiohttp_server import SimpleRequestHandler
from aiohttp import web
from bench_peer import config
from bench_server import serve

asked = config()


async def ping(message):
    pass


async def main():
    dispatcher = Dispatcher(disable_fsm=True)
    dispatcher.message.register(ping, Command("ping"))
    app = web.Application()
    SimpleRequestHandler(
        dispatcher, Bot(asked["token"]), handle_in_background=False, secret_token=asked["secret"]
    ).register(app, path=asked["path"])
    await serve(app, asked["port"])


uvloop.run(main())
