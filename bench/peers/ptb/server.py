"""python-telegram-bot behind aiohttp, answering once the update is handled."""

import json

import uvloop
from aiohttp import web
from bench_peer import config
from bench_server import serve
from telegram import Update, User
from telegram.ext import Application, CommandHandler

asked = config()


async def ping(update, context):
    pass


async def main():
    application = Application.builder().token(asked["token"]).updater(None).build()
    application.add_handler(CommandHandler("ping", ping))
    # Told and not asked: there is no Telegram here.
    application.bot._bot_user = User(42, "Bench", is_bot=True, username="bench_bot")
    application._initialized = True
    application.bot._initialized = True

    async def take(request):
        if request.headers.get("X-Telegram-Bot-Api-Secret-Token") != asked["secret"]:
            return web.Response(status=401)
        update = Update.de_json(json.loads(await request.read()), application.bot)
        await application.process_update(update)
        return web.Response()

    app = web.Application()
    app.router.add_post(asked["path"], take)
    await serve(app, asked["port"])


uvloop.run(main())
