"""The other side of the chats, for tests and the demo: `/_sandbox/telegram/…`.

    GET    users                          {"users": [User with started, blocked]}
    POST   users                          {first_name, language_code} → {"user"}
    GET    users/{id}/messages            {"messages": [Message], "keyboard"}, oldest first
    POST   users/{id}/messages            {text} → {"message"}
    POST   users/{id}/photos              multipart: files of any field name, caption → {"messages"}
    POST   users/{id}/documents           multipart: one file, caption → {"message"}
    POST   users/{id}/press               {message_id, data} → {"query_id"}
    POST   users/{id}/blocked             {blocked} → {"user"}
    GET    files/{file_id}                the bytes

Messages are as the Bot API shows them. A refusal is `{"error", "parameter"}` with 400, or 404 for
an unknown user or file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from aiohttp import web

from rei_sandbox.telegram.errors import BotApiError, bad_request
from rei_sandbox.telegram.model import Chat, Json
from rei_sandbox.telegram.params import Upload, read_json_object, read_upload
from rei_sandbox.telegram.state import TelegramState

BASE: Final = "/_sandbox/telegram"
USER: Final = f"{BASE}/users/{{user_id:\\d{{1,18}}}}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


def setup(app: web.Application, *, state: TelegramState) -> None:
    """Add the routes to `app`."""
    people = People(state)
    app.router.add_get(f"{BASE}/users", refusing(people.users))
    app.router.add_post(f"{BASE}/users", refusing(people.add_user))
    app.router.add_get(f"{USER}/messages", refusing(people.messages))
    app.router.add_post(f"{USER}/messages", refusing(people.say))
    app.router.add_post(f"{USER}/photos", refusing(people.send_photos))
    app.router.add_post(f"{USER}/documents", refusing(people.send_document))
    app.router.add_post(f"{USER}/press", refusing(people.press))
    app.router.add_post(f"{USER}/blocked", refusing(people.block))
    app.router.add_get(f"{BASE}/files/{{file_id}}", refusing(people.file))


def refusing(handler: Handler) -> Handler:
    """Turn `BotApiError` into the control's own way of refusing."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except BotApiError as refused:
            problem = refused.description.partition(": ")[2] or refused.description
            answer = {"error": problem, "parameter": ""}
            return web.json_response(answer, status=refused.error_code)

    return handle


class People:
    """What each request does."""

    def __init__(self, state: TelegramState) -> None:
        self._state = state

    async def users(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"users": [chat.shown() for chat in self._state.chats.values()]})

    async def add_user(self, request: web.Request) -> web.StreamResponse:
        body = await read_json_object(request)
        chat = self._state.add_user(
            _field(body, "first_name", str), _field(body, "language_code", str)
        )
        return web.json_response({"user": chat.shown()}, status=201)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        chat = self._chat(request)
        shown = {"messages": list(chat.messages.values()), "keyboard": chat.keyboard}
        return web.json_response(shown)

    async def say(self, request: web.Request) -> web.StreamResponse:
        text = _field(await read_json_object(request), "text", str)
        message = await self._state.users.send_text(_user_id(request), text)
        return web.json_response({"message": message}, status=201)

    async def send_photos(self, request: web.Request) -> web.StreamResponse:
        caption, uploads = await _files(request)
        sent = await self._state.users.send_photos(_user_id(request), uploads, caption)
        return web.json_response({"messages": sent}, status=201)

    async def send_document(self, request: web.Request) -> web.StreamResponse:
        caption, uploads = await _files(request)
        if len(uploads) != 1:
            raise bad_request(f"one file is wanted, not {len(uploads)}")
        sent = await self._state.users.send_document(_user_id(request), uploads[0], caption)
        return web.json_response({"message": sent}, status=201)

    async def press(self, request: web.Request) -> web.StreamResponse:
        body = await read_json_object(request)
        message_id, data = _field(body, "message_id", int), _field(body, "data", str)
        query_id = self._state.users.press(_user_id(request), message_id, data)
        return web.json_response({"query_id": query_id}, status=201)

    async def block(self, request: web.Request) -> web.StreamResponse:
        blocked = _field(await read_json_object(request), "blocked", bool)
        self._state.users.set_blocked(_user_id(request), blocked)
        return web.json_response({"user": self._chat(request).shown()})

    async def file(self, request: web.Request) -> web.StreamResponse:
        file = self._state.files.get(request.match_info["file_id"])
        if file is None:
            raise BotApiError(404, "Not Found: no such file")
        # Whatever a bot sent must not become a page of ours in somebody's browser.
        safe = file.kind == "photo" or file.mime_type in {"image/png", "image/jpeg", "image/webp"}
        kind = file.mime_type if safe else "application/octet-stream"
        headers = {"X-Content-Type-Options": "nosniff"}
        return web.Response(body=file.data, content_type=kind, headers=headers)

    def _chat(self, request: web.Request) -> Chat:
        chat = self._state.chats.get(_user_id(request))
        if chat is None:
            raise BotApiError(404, f"Not Found: no user {_user_id(request)}")
        return chat


def _user_id(request: web.Request) -> int:
    return int(request.match_info["user_id"])


def _field(body: Json, name: str, kind: type[T]) -> T:
    value: Any = body.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise bad_request(f"{name}: {kind.__name__} is wanted")
    return value


async def _files(request: web.Request) -> tuple[str, list[Upload]]:
    fields, uploads = await read_upload(request)
    return fields.get("caption", ""), uploads
