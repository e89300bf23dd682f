"""Delivery of updates to the bot's webhook, with retries for a day.

Updates of one chat keep their order and go one at a time, except the messages of an album, which
go side by side; several chats go in parallel up to `max_connections`. Anything but a 2xx answer,
silence included, is tried again with growing pauses (seconds here, minutes at the real service).
An answer that names a method is carried out as a call, as the real service does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from rei_sandbox.telegram.errors import BotApiError, bad_request
from rei_sandbox.telegram.model import Json
from rei_sandbox.telegram.params import Params, read_multipart
from rei_sandbox.telegram.updates import UPDATE_SECONDS_MAX, Pending, UpdateQueue

CONNECTIONS_DEFAULT: Final = 40
CONNECTIONS_MAX: Final = 100
ANSWER_SECONDS_MAX: Final = 30.0
ANSWER_BYTES_MAX: Final = 1024 * 1024
PAUSE_SECONDS_MIN: Final = 0.2
PAUSE_SECONDS_MAX: Final = 3.0
_IDLE_SECONDS: Final = 1.0
_PORTS: Final = (80, 88, 443, 8443)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")

Reply = Callable[[Params], Awaitable[None]]
NONE: Final = Params({}, {})


@dataclass
class Webhook:
    """What setWebhook set, and how deliveries went."""

    url: str
    secret_token: str = ""
    max_connections: int = CONNECTIONS_DEFAULT
    last_error_date: int = 0
    last_error_message: str = ""


def check_url(url: str) -> None:
    """https on Telegram's ports; plain http only inside: loopback, private, or a bare host name."""
    try:
        address = urlsplit(url)
        host, port = address.hostname or "", address.port
    except ValueError:
        raise bad_request("bad webhook: invalid URL") from None
    if not host:
        raise bad_request("bad webhook: invalid URL")
    if address.scheme == "https":
        if (port or 443) not in _PORTS and not _inside(host):
            raise bad_request(
                "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"
            )
    elif address.scheme != "http" or not _inside(host):
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")


def check_secret(secret_token: str) -> None:
    """1–256 characters of the alphabet that a header can carry; empty is none."""
    if secret_token and not _SECRET.fullmatch(secret_token):
        raise bad_request("secret token contains unallowed characters")


class WebhookSender:
    """Takes from the queue while a webhook is set."""

    def __init__(self, queue: UpdateQueue, *, reply: Reply) -> None:
        self._queue = queue
        self._reply = reply
        self._webhook: Webhook | None = None
        self._loop: asyncio.Task[None] | None = None
        self._deliveries: set[asyncio.Task[None]] = set()

    @property
    def webhook(self) -> Webhook | None:
        """What is set now."""
        return self._webhook

    async def set(self, webhook: Webhook | None) -> None:
        """Change or end delivery; what waits is kept."""
        await self.close()
        self._webhook = webhook
        self._queue.number_at_birth = webhook is not None
        for entry in self._queue.pending:
            entry.in_flight, entry.not_before = False, 0.0
        if webhook is not None:
            self._loop = asyncio.create_task(self._run(webhook))

    async def close(self) -> None:
        """Stop delivering. A bot may do that from within the answer to a delivery."""
        tasks = [*self._deliveries, *([self._loop] if self._loop else [])]
        self._loop = None
        others = [task for task in tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _run(self, webhook: Webhook) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while True:
                self._queue.drop_expired()
                for entry in self._due(webhook):
                    entry.in_flight = True
                    task = asyncio.create_task(self._deliver(session, webhook, entry))
                    self._deliveries.add(task)
                    task.add_done_callback(self._deliveries.discard)
                # Nothing was awaited since `_due` looked, so no change is missed.
                await self._queue.wait(self._idle_seconds())

    def _due(self, webhook: Webhook) -> list[Pending]:
        """The oldest update of each chat, if its time has come and a connection is free.

        Behind a message of an album only others of the same album may go.
        """
        now = time.monotonic()
        free = webhook.max_connections - sum(entry.in_flight for entry in self._queue.pending)
        ahead: dict[int, str] = {}
        due: list[Pending] = []
        for entry in self._queue.pending:
            if len(due) >= free:
                break
            first = entry.chat_id not in ahead
            beside = bool(entry.album) and ahead.get(entry.chat_id) == entry.album
            if (first or beside) and not entry.in_flight and entry.not_before <= now:
                due.append(entry)
            ahead[entry.chat_id] = entry.album if first or beside else ""
        return due

    def _idle_seconds(self) -> float:
        now = time.monotonic()
        waits = [entry.not_before - now for entry in self._queue.pending if entry.not_before > now]
        return max(0.01, min([_IDLE_SECONDS, *waits]))

    async def _deliver(
        self, session: aiohttp.ClientSession, webhook: Webhook, entry: Pending
    ) -> None:
        problem, answer = await _post(session, webhook, entry.update)
        entry.in_flight = False
        if not problem:
            self._queue.done(entry)
            if answer.text("method"):
                await self._reply(answer)
            return
        webhook.last_error_date, webhook.last_error_message = int(time.time()), problem
        entry.attempts += 1
        pause_seconds = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2 ** min(entry.attempts - 1, 8))
        entry.not_before = time.monotonic() + pause_seconds
        if time.monotonic() - entry.created > UPDATE_SECONDS_MAX:
            self._queue.done(entry)
        self._queue.notify()


async def _post(
    session: aiohttp.ClientSession, webhook: Webhook, update: Json
) -> tuple[str, Params]:
    """What went wrong in Telegram's words ("" if nothing), and what the answer holds."""
    headers = {}
    if webhook.secret_token:
        headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token
    try:
        async with session.post(
            webhook.url, json=update, headers=headers, ssl=False, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:
                return f"Wrong response from the webhook: {response.status} {response.reason}", NONE
            return "", await _answer(response)
    except TimeoutError:
        return "Read timeout expired", NONE
    except aiohttp.ClientConnectorError:
        return "Connection refused", NONE
    except (aiohttp.ClientError, OSError):
        return "Connection reset by peer", NONE


async def _answer(response: aiohttp.ClientResponse) -> Params:
    """The parameters in an answer, however they are encoded; what cannot be read is nothing."""
    with contextlib.suppress(BotApiError, ValueError, AssertionError):
        if response.content_type.startswith("multipart/"):
            reader = aiohttp.MultipartReader(response.headers, response.content)
            fields, uploads = await read_multipart(reader)
            return Params(fields, {upload.field: upload for upload in uploads})
        body = await _body(response)
        if response.content_type == "application/x-www-form-urlencoded":
            return Params(dict(parse_qsl(body.decode())), {})
        values = json.loads(body) if body else {}
        if isinstance(values, dict):
            return Params(values, {})
    return NONE


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The answer's body as far as it may matter."""
    data = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        data += chunk
        if len(data) > ANSWER_BYTES_MAX:
            return b""
    return bytes(data)


def _inside(host: str) -> bool:
    if "." not in host and ":" not in host:
        return True
    if host.endswith((".svc", ".local", ".localhost")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
