"""Telegram's updates through the webhook: once in effect, refused when wrong, never lost."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from rei_bot import doorbell, notices, updates, webhooks
from rei_core import rates
from rei_core.updates import queries

from .conftest import CUSTOMER, SECRET, SECRET_HEADER, Json, Rei, Stage, error, until

INTERNAL = error(500, "Internal Server Error")
POISON = error(400, "Bad Request: can't parse entities: a tag that nobody closed")


async def test_ten_copies_of_an_update_have_one_effect(stage: Stage) -> None:
    async with stage.bot() as rei:
        update = stage.telegram.message("рыжий кот")
        statuses = Counter(await asyncio.gather(*(rei.post_update(update) for _ in range(10))))
        assert statuses[200] >= 1
        assert statuses[200] + statuses[503] == 10
        assert await rei.post_update(update) == 200
        assert await stage.count("drafts") == 1
        assert len(stage.telegram.texts()) == 1
        assert rei.count("rei_bot_updates_total", kind="message", outcome="handled") == 1


async def test_ten_copies_of_a_confirmation_are_one_charged_job(stage: Stage) -> None:
    await stage.customer(balance_kopecks=100_000)
    async with stage.bot() as rei:
        await rei.post_update(stage.telegram.message("рыжий кот"))
        press = stage.telegram.press(stage.button("Нарисовать"), message_id=1000)
        await asyncio.gather(*(rei.post_update(press) for _ in range(10)))
        assert await rei.post_update(press) == 200
        assert await stage.count("jobs") == 1
        price: int = await stage.pool.fetchval("SELECT price_kopecks FROM jobs")
        assert await stage.balance() == 100_000 - price


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", "é" * 8])
async def test_a_wrong_secret_is_refused_before_anything_is_read(
    stage: Stage, secret: str | None
) -> None:
    async with stage.bot() as rei:
        headers = [] if secret is None else [(SECRET_HEADER.encode(), secret.encode())]
        answer = await rei.http.post(
            "/webhook/telegram", json=stage.telegram.message("hi"), headers=httpx.Headers(headers)
        )
        assert answer.status_code == 401
        assert await stage.count("telegram_updates") == 0
        assert rei.count("rei_bot_updates_total", kind="other", outcome="unauthorized") == 1


async def test_what_there_is_no_place_for_is_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telegram and YooKassa are answered 503 and repeat it: who looks at failures has to see that."""
    monkeypatch.setattr("rei_bot.process.UPDATES_AT_ONCE_MAX", 0)
    monkeypatch.setattr("rei_bot.process.NOTIFICATIONS_AT_ONCE_MAX", 0)
    notification = {"type": "notification", "event": "payment.succeeded", "object": {"id": "p-1"}}
    async with stage.bot() as rei:
        assert await rei.post_update(stage.telegram.message("hi")) == 503
        answer = await rei.http.post("/webhook/yookassa", json=notification)
        assert answer.status_code == 503
        assert rei.count("rei_bot_updates_total", kind="message", outcome="turned_away") == 1
        counted = {"event": "payment.succeeded", "outcome": "turned_away"}
        assert rei.count("rei_bot_notifications_total", **counted) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"update"',
        b"\xff\xfe",
        b"{}",
        b'{"update_id": "many"}',
        b'{"update_id": -1}',
        b'{"update_id": 9223372036854775808}',
        b'{"update_id": 1, "message": {"text": "no chat"}}',
        b"update_id=1&message=hello",
        b"[" * 100_000,
    ],
)
async def test_what_is_no_update_is_refused(stage: Stage, body: bytes) -> None:
    async with stage.bot() as rei:
        answer = await rei.http.post(
            "/webhook/telegram", content=body, headers={SECRET_HEADER: SECRET}
        )
        assert answer.status_code == 400
        assert await stage.count("telegram_updates") == 0


async def test_the_body_counts_not_its_label(stage: Stage) -> None:
    """A sender that mislabels an update must not lose it; a form with the right label is none."""
    async with stage.bot() as rei:
        for label, data, status in (
            ("text/plain", None, 200),
            ("application/json; charset=utf-8", None, 200),
            ("application/json", b"update_id=1", 400),
            ("multipart/form-data", b"--x--", 400),
        ):
            answer = await rei.http.post(
                "/webhook/telegram",
                content=httpx.Request("POST", "http://x", json=stage.telegram.message("/help"))
                .read() if data is None else data,
                headers={SECRET_HEADER: SECRET, "Content-Type": label},
            )  # fmt: skip
            assert answer.status_code == status, label
        assert len(stage.telegram.texts()) == 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversize_body_is_refused(stage: Stage, *, chunked: bool) -> None:
    async with stage.bot() as rei:
        body: Any = b"x" * (webhooks.UPDATE_BYTES_MAX + 1)

        async def pieces() -> Any:
            yield body

        answer = await rei.http.post(
            "/webhook/telegram",
            content=pieces() if chunked else body,
            headers={SECRET_HEADER: SECRET},
        )
        assert answer.status_code == 413


async def test_a_packed_body_counts_by_its_full_size(stage: Stage) -> None:
    async with stage.bot() as rei:
        headers = {SECRET_HEADER: SECRET, "Content-Encoding": "gzip"}
        update = json.dumps(stage.telegram.message("/help")).encode()
        for body, status in (
            (gzip.compress(b" " * 50_000_000), 413),
            (b"not gzip at all", 400),
            (gzip.compress(update), 200),
        ):
            answer = await rei.http.post("/webhook/telegram", content=body, headers=headers)
            assert answer.status_code == status


async def test_a_body_that_does_not_come_is_not_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS_MAX", 0.2)
    async with stage.bot() as rei:
        reader, writer = await asyncio.open_connection("127.0.0.1", rei.process.port)
        writer.write(
            f"POST /webhook/telegram HTTP/1.1\r\nHost: x\r\n{SECRET_HEADER}: {SECRET}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        await writer.drain()
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()


async def test_other_paths_and_methods_lead_nowhere(stage: Stage) -> None:
    async with stage.bot() as rei:
        assert (await rei.http.get("/webhook/telegram")).status_code == 405
        assert (await rei.status.post("/healthz")).status_code == 405
        assert (await rei.http.post("/webhook/other")).status_code == 404
        assert (await rei.status.get("/healthz")).status_code == 200


async def test_a_handler_that_dies_leaves_the_update_for_the_repeat(stage: Stage) -> None:
    async with stage.bot() as rei:
        stage.telegram.refuse["sendMessage"] = [INTERNAL]
        update = stage.telegram.message("рыжий кот")
        assert await rei.post_update(update) == 503
        assert not await stage.is_handled(update)
        assert await rei.post_update(update) == 200
        assert await stage.is_handled(update)
        assert await stage.count("drafts") == 1


async def test_an_outage_is_never_held_against_an_update(stage: Stage) -> None:
    async with stage.bot() as rei:
        stage.telegram.refuse["sendMessage"] = [INTERNAL] * 12
        update = stage.telegram.message("рыжий кот")
        for _ in range(12):
            assert await rei.post_update(update) == 503
        assert await rei.post_update(update) == 200
        assert "рыжий кот" in stage.telegram.texts()[-1]


async def test_poison_is_given_up_with_a_polite_word(stage: Stage) -> None:
    async with stage.bot() as rei:
        stage.telegram.refuse["sendMessage"] = [POISON] * 5
        update = stage.telegram.message("рыжий кот")
        with capture_logs() as lines:
            statuses = [await rei.post_update(update) for _ in range(6)]
        assert statuses == [503, 503, 503, 503, 200, 200]
        last = stage.telegram.texts()[-1]
        assert last.startswith("😔 Извините")
        assert "parse" not in last
        assert len(stage.telegram.of("sendMessage")) == 6
        assert rei.count("rei_bot_updates_total", kind="message", outcome="given_up") == 1
    [given_up] = [line for line in lines if line["event"] == "update given up"]
    assert given_up["log_level"] == "error"
    assert given_up["exc_info"]  # the traceback is for us, not for the customer


async def test_a_handler_that_never_ends_is_poison_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "HANDLER_SECONDS_MAX", 0.2)
    monkeypatch.setattr(notices, "SECONDS_MAX", 0.2)
    stage.telegram.gates["sendMessage"] = asyncio.Event()
    async with stage.bot() as rei:
        update = stage.telegram.message("рыжий кот")
        statuses = [await rei.post_update(update) for _ in range(5)]
        assert statuses == [503, 503, 503, 503, 200]
        assert await stage.is_handled(update)


async def test_poison_that_takes_the_process_down_is_given_up_too(stage: Stage) -> None:
    async with stage.bot() as rei:
        update = stage.telegram.message("рыжий кот")
        await stage.pool.execute(
            "INSERT INTO telegram_updates (update_id, attempt, lease_until) "
            "VALUES ($1, 5, now() - interval '1 second')",
            update["update_id"],
        )
        assert await rei.post_update(update) == 200
        assert stage.telegram.texts()[-1].startswith("😔 Извините")
        assert await stage.count("drafts") == 0


async def test_the_update_of_a_dead_process_is_taken_over_once_its_lease_lapses(
    stage: Stage,
) -> None:
    async with stage.bot() as rei:
        update = stage.telegram.message("рыжий кот")
        await stage.pool.execute(
            "INSERT INTO telegram_updates (update_id, lease_until) "
            "VALUES ($1, now() + interval '1 hour')",
            update["update_id"],
        )
        assert await rei.post_update(update) == 503
        assert stage.telegram.texts() == []
        await stage.lapse_leases()
        assert await rei.post_update(update) == 200
        assert len(stage.telegram.texts()) == 1


async def test_an_update_that_takes_its_time_is_not_taken_by_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "LEASE_SECONDS", 2.0)
    gate = stage.telegram.gates["sendMessage"] = asyncio.Event()
    update = stage.telegram.message("рыжий кот")
    async with stage.bot() as rei:
        slow = asyncio.create_task(rei.post_update(update))
        await until(lambda: stage.telegram.of("sendMessage"))
        first = await stage.pool.fetchval("SELECT lease_until FROM telegram_updates")

        async def well_past_the_first_lease() -> bool:
            later = "SELECT now() > $1::timestamptz + interval '0.3 s'"
            return bool(await stage.pool.fetchval(later, first))

        await until(well_past_the_first_lease)
        assert await rei.post_update(update) == 503
        gate.set()
        assert await slow == 200
    assert len(stage.telegram.of("sendMessage")) == 1


async def test_nobody_keeps_an_update_that_is_done(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "LEASE_SECONDS", 0.3)
    kept = asyncio.Event()

    async def renew(*_: object, **__: object) -> None:
        kept.set()

    monkeypatch.setattr(queries, "renew", renew)
    gate = stage.telegram.gates["sendMessage"] = asyncio.Event()
    async with stage.bot() as rei:
        slow = asyncio.create_task(rei.post_update(stage.telegram.message("/help")))
        await asyncio.wait_for(kept.wait(), 10)  # while it takes its time it is kept
        gate.set()
        assert await slow == 200
        assert await rei.post_update(stage.telegram.message("/help")) == 200
        kept.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.wait(), 3 * updates.LEASE_SECONDS)


async def test_with_the_database_away_nothing_is_taken_and_nothing_is_lost(stage: Stage) -> None:
    async with stage.bot() as rei:
        update = stage.telegram.message("рыжий кот")
        await rei.database_wire.cut()
        assert await rei.post_update(update) == 503
        assert (await rei.status.get("/readyz")).status_code == 503
        assert (await rei.status.get("/healthz")).status_code == 200
        await rei.database_wire.mend()
        assert await rei.post_update(update) == 200
        assert len(stage.telegram.texts()) == 1


async def test_a_customer_who_is_too_fast_is_told_so_once(stage: Stage) -> None:
    async with stage.bot(updates_per_minute_max=3) as rei:
        for _ in range(3):
            assert await rei.post_update(stage.telegram.message("/help")) == 200
        late = [stage.telegram.message("/help") for _ in range(4)]
        for update in late:
            assert await rei.post_update(update) == 200
            assert await stage.is_handled(update)
        texts = stage.telegram.texts()
        assert len(texts) == 4
        assert "Слишком много" in texts[-1]
        assert await rei.post_update(stage.telegram.message("/help", user_id=8)) == 200
        assert len(stage.telegram.texts(8)) == 1
        assert rei.count("rei_bot_updates_total", kind="message", outcome="throttled") == 4


async def test_a_throttled_button_charges_nothing_and_gets_a_notice(stage: Stage) -> None:
    await stage.customer()
    async with stage.bot(updates_per_minute_max=1) as rei:
        await rei.post_update(stage.telegram.message("рыжий кот"))
        press = stage.telegram.press(stage.button("Нарисовать"), message_id=1000)
        assert await rei.post_update(press) == 200
        [notice] = stage.telegram.of("answerCallbackQuery")
        assert "Слишком много" in notice["text"]
        assert await stage.count("jobs") == 0
        assert await stage.balance() == 100_000


async def test_the_limit_is_one_over_all_processes(stage: Stage) -> None:
    async with (
        stage.bot(updates_per_minute_max=3) as one,
        stage.bot(updates_per_minute_max=3) as other,
    ):
        for rei in (one, other, one, other, one):
            assert await rei.post_update(stage.telegram.message("/help")) == 200
        texts = stage.telegram.texts()
        assert len(texts) == 4
        assert "Слишком много" in texts[-1]


async def test_repeats_of_a_failed_update_do_not_count(stage: Stage) -> None:
    async with stage.bot(updates_per_minute_max=2) as rei:
        stage.telegram.refuse["sendMessage"] = [INTERNAL] * 6
        update = stage.telegram.message("рыжий кот")
        statuses = [await rei.post_update(update) for _ in range(7)]
        assert statuses == [503] * 6 + [200]
        assert "рыжий кот" in stage.telegram.texts()[-1]


@pytest.mark.parametrize("outage", ["cut", "freeze"])
async def test_without_redis_an_order_is_taken_and_soon(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, outage: str
) -> None:
    """The first one finds out, a second for the limiter and a quarter for the doorbell; then nobody asks."""
    monkeypatch.setattr(rates, "LOCAL_FOR_SECONDS", 600)
    asked: list[object] = []
    ask = rates.SharedLimiter._ask_redis

    async def counted(self: rates.SharedLimiter, *what: Any, **more: Any) -> bool:
        asked.append(what)
        return await ask(self, *what, **more)

    monkeypatch.setattr(rates.SharedLimiter, "_ask_redis", counted)
    await stage.customer()
    async with stage.bot() as rei:
        await rei.post_update(stage.telegram.message("рыжий кот"))
        if outage == "cut":
            await rei.redis_wire.cut()
        else:
            rei.redis_wire.freeze()
        press = stage.telegram.press(stage.button("Нарисовать"), message_id=1000)
        async with asyncio.timeout(5):
            assert await rei.post_update(press) == 200
        assert await stage.count("jobs") == 1
        before = len(asked)
        assert await rei.post_update(stage.telegram.message("ещё кот")) == 200
        assert len(asked) == before
        assert rei.count("rei_bot_rings_total", outcome="failed") == 1


async def test_an_accepted_order_rings(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.asyncio import Redis

    monkeypatch.setattr(doorbell, "RING_SECONDS_MAX", 20.0)  # on a busy machine too
    await stage.customer()
    async with stage.bot() as rei, Redis.from_url(stage.redis_url) as redis:
        await rei.post_update(stage.telegram.message("рыжий кот"))
        assert await redis.xlen("rei:doorbell") == 0
        await rei.post_update(stage.telegram.press(stage.button("Нарисовать"), message_id=1000))
        assert await redis.xlen("rei:doorbell") == 1


async def test_stopping_takes_nothing_new_and_lets_handlers_end(stage: Stage) -> None:
    gate = stage.telegram.gates["sendMessage"] = asyncio.Event()
    async with stage.bot() as rei:
        running = asyncio.create_task(rei.post_update(stage.telegram.message("рыжий кот")))
        await until(lambda: stage.telegram.of("sendMessage"))
        rei.process.stop()
        assert (await rei.status.get("/readyz")).status_code == 503
        assert await rei.post_update(stage.telegram.message("ещё кот")) == 503
        assert not rei.task.done()
        gate.set()
        assert await running == 200
        await asyncio.wait_for(rei.task, 5)
    assert await stage.count("telegram_updates") == 1


async def test_a_handler_that_does_not_end_in_time_is_cut_off_and_released(stage: Stage) -> None:
    gate = stage.telegram.gates["sendMessage"] = asyncio.Event()
    update = stage.telegram.message("рыжий кот")
    async with stage.bot(drain_seconds=0.2) as rei:
        running = asyncio.create_task(_post_or_lose(rei.post_update(update)))
        await until(lambda: stage.telegram.of("sendMessage"))
        rei.process.stop()
        await asyncio.wait_for(rei.task, 10)
        assert await running != 200
    gate.set()
    async with stage.bot() as rei:
        assert await rei.post_update(update) == 200
    assert await stage.count("drafts") == 1


async def _post_or_lose(post: Any) -> int:
    try:
        status: int = await post
    except httpx.HTTPError:
        return 0
    return status


async def test_metrics_are_served(stage: Stage) -> None:
    async with stage.bot() as rei:
        await rei.post_update(stage.telegram.message("/help"))
        text = (await rei.status.get("/metrics")).text
    for line in (
        'rei_bot_updates_total{kind="message",outcome="handled"} 1.0',
        'rei_bot_database_connections{state="idle"}',
        "rei_bot_database_up 1.0",
        "rei_bot_redis_up 1.0",
        'rei_bot_telegram_calls_total{method="getWebhookInfo",outcome="ok"} 1.0',
        'rei_bot_telegram_calls_total{method="sendMessage",outcome="ok"} 1.0',
        "rei_bot_event_loop_lag_seconds",
        "rei_bot_update_seconds_bucket",
    ):
        assert line in text


async def test_an_update_of_a_kind_we_do_not_know_is_done_with(stage: Stage) -> None:
    async with stage.bot() as rei:
        update: Json = {"update_id": 5, "some_new_thing": {"of": "next year"}}
        assert await rei.post_update(update) == 200
        assert await stage.is_handled(update)


async def test_a_group_is_not_talked_to(stage: Stage) -> None:
    async with stage.bot() as rei:
        update = stage.telegram.message("/help", chat={"id": -5, "type": "group", "title": "g"})
        assert await rei.post_update(update) == 200
        assert stage.telegram.texts(-5) == []
        assert stage.telegram.texts(CUSTOMER) == []


async def test_a_database_that_says_nothing_is_not_waited_for(stage: Stage) -> None:
    async with stage.bot() as rei:
        update = stage.telegram.message("рыжий кот")
        rei.database_wire.freeze()
        started = asyncio.get_running_loop().time()
        assert await rei.post_update(update) == 503
        assert asyncio.get_running_loop().time() - started < 20
        assert (await rei.status.get("/healthz")).status_code == 200
        rei.database_wire.thaw()
        await until(lambda: _is_taken(rei, update))
        assert len(stage.telegram.texts()) == 1


async def _is_taken(rei: Rei, update: Json) -> bool:
    return await rei.post_update(update) == 200
