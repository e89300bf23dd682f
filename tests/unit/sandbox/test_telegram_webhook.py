"""Delivery to a webhook: order, parallel albums, retries. The receiver is a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import urlencode

import pytest
from aiohttp import web

from rei_sandbox.telegram import webhook as sending
from rei_sandbox.telegram.errors import BotApiError
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.updates import UPDATE_SECONDS_MAX, UpdateQueue
from rei_sandbox.telegram.webhook import Webhook, WebhookSender, check_secret, check_url


class Receiver:
    """Answers with `statuses` in turn, then 200; holds answers back while `gate` is closed."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.secrets: list[str] = []
        self.statuses: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = self.at_once_max = 0
        self.answer: dict[str, str] | None = None
        self.encoding = "application/json"
        self.body = b""
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        update = await request.json()
        self.got.append(update["message"]["text"])
        self.secrets.append(request.headers.get("X-Telegram-Bot-Api-Secret-Token", ""))
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        if self.answer is not None:
            form = self.encoding.endswith("urlencoded")
            text = urlencode(self.answer) if form else json.dumps(self.answer)
            return web.Response(text=text, content_type=self.encoding)
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, body=self.body)


@pytest.fixture
async def receiver(
    serve: Callable[[web.Application], Awaitable[str]],
) -> AsyncIterator[Receiver]:
    receiving = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiving.take)
    receiving.url = f"{await serve(app)}/hook"
    yield receiving
    receiving.gate.set()


@pytest.fixture
def queue() -> UpdateQueue:
    return UpdateQueue()


@pytest.fixture
async def sender(queue: UpdateQueue) -> AsyncIterator[WebhookSender]:
    async def ignore(_answer: Params) -> None: ...

    made = WebhookSender(queue, reply=ignore)
    yield made
    await made.close()


async def until(true: Callable[[], bool], *, seconds_max: float = 10) -> None:
    deadline = time.monotonic() + seconds_max
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def say(queue: UpdateQueue, text: str, *, chat: int = 1, album: str = "") -> None:
    group = {"media_group_id": album} if album else {}
    queue.push("message", {"text": text, **group}, chat_id=chat)


async def test_updates_of_a_chat_come_in_order_one_at_a_time(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver
) -> None:
    for number in range(20):
        say(queue, str(number))
    await sender.set(Webhook(receiver.url))
    await until(lambda: not queue.pending)
    assert receiver.got == [str(number) for number in range(20)]
    assert receiver.at_once_max == 1


@pytest.mark.parametrize(("connections", "at_once"), [(40, 3), (2, 2)])
async def test_chats_go_in_parallel_up_to_the_limit(
    queue: UpdateQueue,
    sender: WebhookSender,
    receiver: Receiver,
    connections: int,
    at_once: int,
) -> None:
    receiver.gate.clear()
    for chat in (1, 2, 3):
        say(queue, f"chat {chat}", chat=chat)
    await sender.set(Webhook(receiver.url, max_connections=connections))
    await until(lambda: receiver.at_once == at_once)
    receiver.gate.set()
    await until(lambda: not queue.pending)
    assert sorted(receiver.got) == ["chat 1", "chat 2", "chat 3"]
    assert receiver.at_once_max == at_once


async def test_an_albums_messages_go_side_by_side_and_the_rest_waits_for_them(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver
) -> None:
    say(queue, "before")
    for number in range(3):
        say(queue, f"picture {number}", album="A")
    say(queue, "after")
    receiver.gate.clear()
    await sender.set(Webhook(receiver.url))
    await until(lambda: receiver.got == ["before"])
    receiver.gate.set()
    await until(lambda: not queue.pending)
    assert receiver.got[0] == "before"
    assert sorted(receiver.got[1:4]) == ["picture 0", "picture 1", "picture 2"]
    assert receiver.got[4:] == ["after"]


async def test_an_album_alone_is_all_in_flight_at_once(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver
) -> None:
    receiver.gate.clear()
    for number in range(3):
        say(queue, str(number), album="A")
    say(queue, "after")
    await sender.set(Webhook(receiver.url))
    await until(lambda: receiver.at_once == 3)
    assert "after" not in receiver.got
    receiver.gate.set()
    await until(lambda: not queue.pending)


async def test_what_is_not_answered_with_2xx_comes_again_before_the_next(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver
) -> None:
    receiver.statuses = [500, 429, 302, 204]
    hook = Webhook(receiver.url)
    say(queue, "one")
    say(queue, "two")
    await sender.set(hook)
    await until(lambda: not queue.pending)
    assert receiver.got == ["one", "one", "one", "one", "two"]
    assert hook.last_error_message.startswith("Wrong response from the webhook: 302")
    assert hook.last_error_date > 0


async def test_a_dead_bot_misses_nothing(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver, unused_port: int
) -> None:
    dead = Webhook(f"http://127.0.0.1:{unused_port}/hook")
    say(queue, "one")
    await sender.set(dead)
    await until(lambda: queue.pending[0].attempts >= 2)
    assert dead.last_error_message == "Connection refused"
    await sender.set(Webhook(receiver.url))
    await until(lambda: receiver.got == ["one"])


async def test_silence_is_an_error_too(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ANSWER_SECONDS_MAX", 0.1)
    receiver.gate.clear()
    hook = Webhook(receiver.url)
    say(queue, "one")
    await sender.set(hook)
    await until(lambda: len(receiver.got) >= 2)
    assert hook.last_error_message == "Read timeout expired"


async def test_after_a_day_an_update_is_given_up(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver
) -> None:
    receiver.statuses = [500] * 100
    say(queue, "old")
    await sender.set(Webhook(receiver.url))
    await until(lambda: len(receiver.got) >= 1)
    queue.pending[0].created -= UPDATE_SECONDS_MAX + 1
    await until(lambda: not queue.pending)


async def test_the_secret_is_sent_with_each_update(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver
) -> None:
    say(queue, "one")
    await sender.set(Webhook(receiver.url, secret_token="s-3_cret"))
    await until(lambda: not queue.pending)
    assert receiver.secrets == ["s-3_cret"]


@pytest.mark.parametrize("encoding", ["application/json", "application/x-www-form-urlencoded"])
async def test_a_method_in_the_answer_is_carried_out(
    queue: UpdateQueue, receiver: Receiver, encoding: str
) -> None:
    asked: list[Params] = []

    async def reply(answer: Params) -> None:
        asked.append(answer)

    receiver.answer = {"method": "sendMessage", "chat_id": "1", "text": "h i"}
    receiver.encoding = encoding
    sender = WebhookSender(queue, reply=reply)
    say(queue, "one")
    await sender.set(Webhook(receiver.url))
    await until(lambda: bool(asked))
    await sender.close()
    assert [params.values for params in asked] == [receiver.answer]


async def test_a_bot_may_change_its_webhook_in_the_answer_to_an_update(
    queue: UpdateQueue, receiver: Receiver
) -> None:
    async def reply(_answer: Params) -> None:
        receiver.answer = None
        await changing.set(Webhook(f"{receiver.url}?moved"))

    receiver.answer = {"method": "setWebhook", "url": "…"}
    changing = WebhookSender(queue, reply=reply)
    say(queue, "one")
    say(queue, "two")
    await changing.set(Webhook(receiver.url))
    await until(lambda: not queue.pending)
    assert receiver.got == ["one", "two"]
    assert changing.webhook is not None
    assert changing.webhook.url.endswith("?moved")
    await changing.close()


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b"{" * 5000, b"x" * 2_000_000])
async def test_an_answer_that_says_nothing_is_enough(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver, body: bytes
) -> None:
    receiver.body = body
    say(queue, "one")
    await sender.set(Webhook(receiver.url))
    await until(lambda: not queue.pending)
    assert receiver.got == ["one"]


async def test_without_a_webhook_nothing_is_sent(
    queue: UpdateQueue, sender: WebhookSender, receiver: Receiver
) -> None:
    await sender.set(Webhook(receiver.url))
    say(queue, "one")
    await until(lambda: not queue.pending)  # received is not enough: it would be sent again
    await sender.set(None)
    say(queue, "two")
    assert [entry.update["message"]["text"] for entry in queue.pending] == ["two"]
    await sender.set(Webhook(receiver.url))
    await until(lambda: receiver.got == ["one", "two"])


@pytest.mark.parametrize(
    "url",
    [
        "https://rei.example/hook", "https://rei.example:8443/hook", "http://127.0.0.1:9/hook",
        "http://bot:8080/hook", "http://bot.rei.svc:8080/hook", "http://10.0.0.7/hook",
    ],
)  # fmt: skip
def test_addresses_that_are_taken(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://rei.example/hook", "An HTTPS URL must be provided for webhook"),
        ("https://rei.example:8080/", "only on ports 80, 88, 443 or 8443"),
        ("ftp://127.0.0.1/", "An HTTPS URL"),
        ("nonsense", "invalid URL"),
        ("https://a:b/", "invalid URL"),
        ("https://[", "invalid URL"),
    ],
)
def test_addresses_that_are_refused(url: str, problem: str) -> None:
    with pytest.raises(BotApiError, match=problem):
        check_url(url)


@pytest.mark.parametrize("secret", ["with space", "я", "x" * 257, "a\n"])
def test_secrets_that_no_header_can_carry_are_refused(secret: str) -> None:
    with pytest.raises(BotApiError, match="unallowed characters"):
        check_secret(secret)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port on which nobody listens: it is bound, so that nobody else gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
