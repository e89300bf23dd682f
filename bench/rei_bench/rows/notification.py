"""YooKassa's notification until the credit is committed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from functools import partial

from rei_bench.children import peer
from rei_bench.figures import Bound
from rei_bench.http_load import Requests, load
from rei_bench.outside import Outside, bot, outside
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.stage import USERS, BenchError, Stage
from rei_sandbox.services import free_port

PATH = "/webhook/yookassa"
AMOUNT_KOPECKS = 20_000
CONNECTIONS = 16
PREFIX = "bench-payment-"
REQUESTS = Requests(
    path=PATH,
    body=json.dumps(
        {
            "type": "notification",
            "event": "payment.succeeded",
            "object": {
                "id": PREFIX + "{n}",
                "status": "succeeded",
                "paid": True,
                "amount": {"value": "200.00", "currency": "RUB"},
                "created_at": "2026-11-24T10:51:18.139Z",
                "metadata": {},
            },
        }
    ),
    connections=CONNECTIONS,
)
EMPTY = "limit (empty 200)"
BARE = "bare aiohttp + one INSERT"
FETCHING = "bare aiohttp + GET + one INSERT"
OURS = "Rei's bot"

# Opened by customers, known to the provider, and still to be settled.
_PAYMENTS_SQL = """
INSERT INTO payments (id, user_id, amount_kopecks, status, request_key, provider_payment_id, chat_id)
SELECT gen_random_uuid(), 1 + n % {users}, {amount}, 'pending', 'bench-' || n, '{prefix}' || n,
       1 + n % {users}
FROM generate_series(1, {count}) AS n;
"""


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    seconds = scale.pick(quick=1, full=4)
    with outside(stage) as world:
        yield [
            Case(
                name=f"{CONNECTIONS} notifications at a time",
                contenders=(
                    Contender(EMPTY, partial(_bare, stage, world, "empty", seconds)),
                    Contender(BARE, partial(_bare, stage, world, "insert", seconds)),
                    Contender(FETCHING, partial(_bare, stage, world, "fetch", seconds)),
                    Contender(OURS, partial(_ours, stage, world, seconds)),
                ),
                wanted=(Wanted(OURS, BARE, Bound(0.6)), Wanted(OURS, FETCHING, Bound(0.6))),
            )
        ]


def _bare(stage: Stage, world: Outside, does: str, seconds: int) -> Sample:
    port = free_port()
    with (
        stage.database() as database,
        peer(
            stage,
            "aiohttp",
            "server",
            does=does,
            port=port,
            path=PATH,
            database_url=stage.url(database),
            provider_url=f"{world.url}/yookassa/v3",
        ) as child,
    ):
        child.told("ready")
        return Sample(load(stage, REQUESTS, port=port, first=1, seconds=seconds).per_second)


def _ours(stage: Stage, world: Outside, seconds: int) -> Sample:
    stage.flush_redis()
    port = free_port()
    with stage.database() as database:
        sql = _PAYMENTS_SQL.format(
            users=USERS, amount=AMOUNT_KOPECKS, prefix=PREFIX, count=8_000 * seconds
        )
        stage.postgres.psql(sql, database=database)
        stage.postgres.psql("VACUUM ANALYZE payments", database=database)
        with bot(stage, world, database=database, port=port, settings={}) as process:
            process.start()
            answered = load(stage, REQUESTS, port=port, first=1, seconds=seconds)
        credited = stage.number(
            "SELECT count(*) FROM transfers WHERE kind = 'topup'", database=database
        )
        if credited != answered.ok:
            raise BenchError(f"{answered.ok} notifications answered, {credited} credits committed")
        stage.audit(database)
    return Sample(answered.per_second)


ROW = Row(
    key="notification",
    title="A YooKassa notification until the credit is committed",
    unit="notifications/s",
    better="more",
    text=(
        f"{CONNECTIONS} connections post notifications of payments that are all different. Rei is the "
        "real `rei bot` in webhook mode: it finds the payment, asks YooKassa (a stand-in that answers "
        "at once, over HTTP) for the truth, compares, and credits, marks and queues the message to "
        "the customer in one commit; then it answers 200. The bare server believes what it is sent "
        "and inserts it into a table. The third contender also asks YooKassa first, with the HTTP "
        "client that Rei uses: no endpoint that does not want to be robbed can do less. After each "
        "round every answered notification must be a credit, and the audit must pass."
    ),
    cases=cases,
)
