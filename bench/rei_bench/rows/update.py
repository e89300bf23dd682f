"""A Telegram update until its handler is done."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from rei_bench.children import Child, peer, program
from rei_bench.figures import Bound
from rei_bench.http_load import Requests, load
from rei_bench.outside import SECRET, TOKEN
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.stage import Stage
from rei_bot.webhooks import SECRET_HEADER
from rei_core.settings import TELEGRAM_PATH
from rei_sandbox.services import free_port

CONNECTIONS = 32
SENDER = {"id": 1, "is_bot": False, "first_name": "Customer", "language_code": "ru"}
_UPDATE = {
    "update_id": "{n}",
    "message": {
        "message_id": 1,
        "date": 1_800_000_000,
        "chat": {"id": 1, "type": "private", "first_name": "Customer"},
        "from": SENDER,
        "text": "/ping",
        "entities": [{"type": "bot_command", "offset": 0, "length": 5}],
    },
}
REQUESTS = Requests(
    path=TELEGRAM_PATH,
    body=json.dumps(_UPDATE).replace('"{n}"', "{n}"),
    connections=CONNECTIONS,
    headers={SECRET_HEADER: SECRET},
)
LIMIT = "limit (parse JSON, answer 200)"
AIOGRAM = "bare aiogram"
PTB = "python-telegram-bot"
OURS = "Rei's way to the handler"


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    seconds = scale.pick(quick=1, full=4)
    where = {"path": TELEGRAM_PATH, "token": TOKEN, "secret": SECRET}

    def contender(name: str, environment: str, **config: str) -> Contender:
        def server(port: int) -> AbstractContextManager[Child]:
            return peer(stage, environment, "server", port=port, **where, **config)

        return Contender(name, lambda: _loaded(stage, server, seconds))

    yield [
        Case(
            name=f"{CONNECTIONS} updates at a time",
            contenders=(
                contender(LIMIT, "aiohttp", does="json"),
                contender(AIOGRAM, "aiogram"),
                contender(PTB, "ptb"),
                Contender(
                    OURS, lambda: _loaded(stage, lambda port: _ours(stage, port), seconds)
                ),
            ),
            wanted=(Wanted(OURS, AIOGRAM, Bound(0.9)),),
        )
    ]  # fmt: skip


def _ours(stage: Stage, port: int) -> AbstractContextManager[Child]:
    return program(stage, "updates", port=port)


def _loaded(
    stage: Stage, server: Callable[[int], AbstractContextManager[Child]], seconds: int
) -> Sample:  # fmt: skip
    port = free_port()
    with server(port) as child:
        child.told("ready")
        return Sample(load(stage, REQUESTS, port=port, first=1, seconds=seconds).per_second)


ROW = Row(
    key="update",
    title="A Telegram update until its handler is done",
    unit="updates/s",
    better="more",
    text=(
        "`/ping` posted by Telegram's rules, with the secret, from 32 connections; 200 is answered "
        'once the handler, which does nothing, has returned. "No I/O" means: the way is Rei\'s own '
        "(HTTP server, bounds of size and time, secret, gate, claim of the update, lease kept while "
        "the handler runs, throttle, dispatcher with all routers, middleware that reads the customer, "
        "mark as done, metrics), but PostgreSQL is a stub that answers at once, and the limiter "
        "lets everybody pass. Bare aiogram is its own `SimpleRequestHandler` with "
        "`handle_in_background=False`; python-telegram-bot's `process_update` runs behind aiohttp."
    ),
    cases=cases,
)
