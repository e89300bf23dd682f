"""The chat page over HTTP.

    GET /                               the page
    GET /chat/{name}                    its styles, modules and icon
    GET /_sandbox/chat/events           what happens in the chats, as it happens: see `feed`
    GET /_sandbox/chat/bot/{user_id}    how the bot presents itself to this user

What the page does in a user's name goes through `/_sandbox/telegram/…` (`telegram.control`), what
it orders through `/_sandbox/faults`. Nothing is loaded from elsewhere, and the content policy
lets nothing in line run: a text of the bot's can never become a script.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from aiohttp import web

from rei_sandbox.chat.feed import Feed
from rei_sandbox.control import SANDBOX, Sandbox
from rei_sandbox.telegram.control import refusing
from rei_sandbox.telegram.errors import BotApiError
from rei_sandbox.telegram.profile import commands_for

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; "  # blob: pictures chosen but not sent yet
    "frame-src 'self'; "  # the pay page
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept, but asked about each time: the ETag makes that cheap
}
KINDS: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
PAGE: Final = "index.html"


@dataclass(frozen=True)
class _Asset:
    body: bytes
    kind: str
    etag: str


def setup(app: web.Application, *, sandbox: Sandbox) -> None:
    """Add the page to `app`."""
    assets = _assets()

    async def page(request: web.Request) -> web.Response:
        return _served(request, assets[PAGE])

    async def asset(request: web.Request) -> web.Response:
        found = assets.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return _served(request, found)

    app.router.add_get("/", page)
    app.router.add_get("/chat/{name}", asset)
    app.router.add_get("/_sandbox/chat/events", Feed(sandbox).serve)
    app.router.add_get("/_sandbox/chat/bot/{user_id:\\d{1,18}}", refusing(_bot))


async def _bot(request: web.Request) -> web.Response:
    """Name, descriptions and commands in the user's language, where the bot has set any."""
    telegram = request.app[SANDBOX].telegram
    user_id = int(request.match_info["user_id"])
    chat = telegram.chats.get(user_id)
    if chat is None:
        raise BotApiError(404, f"Not Found: no user {user_id}")
    language = chat.language_code[:2].lower()

    def text(which: str) -> str:
        return telegram.texts.get((which, language)) or telegram.texts.get((which, ""), "")

    return web.json_response(
        {
            "name": text("name") or telegram.bot()["first_name"],
            "username": telegram.bot()["username"],
            "description": text("description"),
            "short_description": text("short_description"),
            "commands": commands_for(telegram, chat),
        }
    )


def _assets() -> dict[str, _Asset]:
    folder = files(__package__) / "static"
    return {
        file.name: _Asset(body, KINDS[file.name.rpartition(".")[2]], _etag(body))
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in KINDS and (body := file.read_bytes())
    }


def _served(request: web.Request, asset: _Asset) -> web.Response:
    headers = {**HEADERS, "ETag": asset.etag}
    if asset.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.kind, charset="utf-8", headers=headers)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
