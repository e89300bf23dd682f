"""YooKassa's notifications: believed in nothing, credited once, answered 200 only when it is safe."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from rei_bot import webhooks
from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.yookassa.model import Payment

from .conftest import Rei, Stage, notification, until

AMOUNT_KOPECKS = 20_000


@dataclass
class Shop:
    """The stage with a YooKassa; its own notifications are lost unless a test wants them."""

    stage: Stage
    sandbox: Running

    @property
    def payments(self) -> dict[str, Payment]:
        return self.sandbox.sandbox.yookassa.shop.payments

    async def topup(self, rei: Rei) -> Payment:
        """A customer opens a top-up of 200 roubles; the payment at YooKassa."""
        telegram = self.stage.telegram
        known = set(self.payments)
        assert await rei.post_update(telegram.message("/topup")) == 200
        message_id = 1000 + len(self.payments)
        press = telegram.press(self.stage.button("200"), message_id=message_id)
        assert await rei.post_update(press) == 200
        [new] = set(self.payments) - known
        return self.payments[new]

    def pay(self, payment: Payment) -> None:
        """The payer pays, and YooKassa's notification is lost."""
        self.fault("lost", "notification")
        self.sandbox.sandbox.yookassa.shop.pay(payment)

    def fault(self, kind: str, operation: str, *, count: int = 1) -> None:
        self.sandbox.sandbox.faults.add("yookassa", kind, operation=operation, count=count)

    def hanging(self) -> int:
        """How many calls were left without an answer."""
        return self.sandbox.sandbox.faults.taken().get("yookassa.hang", 0)

    def calls(self, operation: str) -> int:
        """How often YooKassa was asked."""
        counts = self.sandbox.sandbox.calls.counts()
        return sum(counts.get("yookassa", {}).get(operation, {}).values())


@pytest.fixture
async def shop(stage: Stage) -> AsyncIterator[Shop]:
    settings = SandboxSettings(
        port=0, notification_url="http://127.0.0.1:9/", notification_speedup=600
    )
    async with running(settings) as sandbox:
        stage.yookassa_url = f"{sandbox.url}/yookassa/v3"
        yield Shop(stage, sandbox)


async def test_ten_copies_credit_once(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        statuses = Counter(await asyncio.gather(*(rei.notify(payment.id) for _ in range(10))))
        assert statuses == {200: 10}
        assert await shop.stage.balance() == AMOUNT_KOPECKS
        assert await shop.stage.count("transfers") == 1
        assert await shop.stage.count("deliveries") == 1
        outcomes = {
            outcome: rei.count(
                "rei_bot_notifications_total", event="payment.succeeded", outcome=outcome
            )
            for outcome in ("credited", "settled")
        }
        assert outcomes == {"credited": 1, "settled": 9}
        assert rei.count("rei_bot_credited_kopecks_total") == AMOUNT_KOPECKS


async def test_yookassas_own_notifications_arrive(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        shop.sandbox.sandbox.yookassa.notifier.url = (
            f"http://127.0.0.1:{rei.process.port}/webhook/yookassa"
        )
        payment = await shop.topup(rei)
        shop.fault("duplicated", "notification")
        shop.sandbox.sandbox.yookassa.shop.pay(payment)
        history = shop.sandbox.sandbox.yookassa.notifier.history
        await until(lambda: len(history) == 10 and all(s.outcome == "delivered" for s in history))
        assert await shop.stage.balance() == AMOUNT_KOPECKS
        assert await shop.stage.count("transfers") == 1


async def test_a_forged_one_credits_nothing_and_is_asked_to_come_again(shop: Shop) -> None:
    """To us it could as well be one that is ahead of what YooKassa tells."""
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        assert await rei.notify(payment.id) == 503
        assert await shop.stage.balance() == 0
        assert await shop.stage.count("transfers") == 0
        shop.pay(payment)
        assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == AMOUNT_KOPECKS


async def test_one_of_a_payment_that_does_not_exist_is_done_with(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        assert await rei.notify(str(uuid4())) == 200
        assert await shop.stage.count("payments") == 0
        labels = {"event": "payment.succeeded", "outcome": "unknown"}
        assert rei.count("rei_bot_notifications_total", **labels) == 1


async def test_one_of_another_shop_of_the_same_account_is_done_with(shop: Shop) -> None:
    """A payment that YooKassa knows and we do not: made by hand, or by another system."""
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        payment.metadata.clear()
        await shop.stage.pool.execute("UPDATE payments SET provider_payment_id = 'another'")
        shop.pay(payment)
        assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == 0


async def test_a_payment_of_ours_that_yookassa_denies_is_asked_for_again(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        hidden = shop.payments.pop(payment.id)
        assert await rei.notify(payment.id) == 503
        shop.payments[payment.id] = hidden
        assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == AMOUNT_KOPECKS


async def test_a_payment_that_contradicts_ours_credits_nothing_and_is_reported(
    shop: Shop,
) -> None:
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        await shop.stage.pool.execute("UPDATE payments SET amount_kopecks = 100")
        shop.pay(payment)
        with capture_logs() as lines:
            assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == 0
        [line] = [line for line in lines if line["event"] == "payment contradicts ours"]
        assert line["log_level"] == "error"
        labels = {"event": "payment.succeeded", "outcome": "mismatch"}
        assert rei.count("rei_bot_notifications_total", **labels) == 1


@pytest.mark.parametrize("kind", ["unavailable", "internal", "rate_limited"])
async def test_while_yookassa_is_away_it_has_to_come_again(shop: Shop, kind: str) -> None:
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        shop.fault(kind, "get", count=100)
        assert await rei.notify(payment.id) == 503
        assert await shop.stage.balance() == 0
        shop.sandbox.sandbox.faults.clear()
        assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == AMOUNT_KOPECKS


async def test_a_yookassa_that_says_nothing_is_not_waited_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "SETTLE_SECONDS_MAX", 0.3)
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        shop.fault("hang", "get", count=100)
        async with asyncio.timeout(5):
            assert await rei.notify(payment.id) == 503
        shop.sandbox.sandbox.faults.clear()
        monkeypatch.setattr(webhooks, "SETTLE_SECONDS_MAX", 20)
        assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == AMOUNT_KOPECKS


async def test_while_the_database_is_away_it_has_to_come_again(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        await rei.database_wire.cut()
        assert await rei.notify(payment.id) == 503
        assert await shop.stage.balance() == 0
        await rei.database_wire.mend()
        assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == AMOUNT_KOPECKS


async def test_a_cancelled_payment_is_closed_and_announced_once(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.fault("lost", "notification")
        shop.sandbox.sandbox.yookassa.shop.decline(payment)
        for _ in range(3):
            assert await rei.notify(payment.id, "payment.canceled") == 200
        assert await shop.stage.pool.fetchval("SELECT status FROM payments") == "canceled"
        assert await shop.stage.count("deliveries") == 1
        assert await shop.stage.balance() == 0


async def test_notifications_are_heard_when_polling_too(shop: Shop) -> None:
    telegram = shop.stage.telegram
    async with shop.stage.bot("polling") as rei:
        telegram.queue(telegram.message("/topup"))
        await until(telegram.texts)
        telegram.queue(telegram.press(shop.stage.button("200"), message_id=1000))
        await until(lambda: shop.payments)
        [payment] = shop.payments.values()
        await until(lambda: telegram.of("editMessageText"))
        shop.pay(payment)
        assert await rei.notify(payment.id) == 200
        assert await shop.stage.balance() == AMOUNT_KOPECKS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"type=notification",
        b'{"type": "notification", "event": "payment.succeeded"}',
        b'{"type": "notification", "event": "payment.succeeded", "object": {"id": 5}}',
        b'{"type": "notification", "event": "payment.succeeded", "object": []}',
        b"[" * 60_000,
    ],
)
async def test_what_is_no_notification_is_refused_and_asks_nobody(shop: Shop, body: bytes) -> None:
    async with shop.stage.bot() as rei:
        answer = await rei.http.post("/webhook/yookassa", content=body)
        assert answer.status_code == 400
        assert shop.calls("get") == 0


async def test_an_oversize_one_is_refused(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        body = b" " * (webhooks.NOTIFICATION_BYTES_MAX + 1)
        answer = await rei.http.post("/webhook/yookassa", content=body)
        assert answer.status_code == 413


async def test_other_methods_lead_nowhere(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        assert (await rei.http.get("/webhook/yookassa")).status_code == 405
        assert (await rei.http.put("/webhook/yookassa", json={})).status_code == 405


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        (None, 403),
        ("185.71.76.1", 200),
        ("185.71.76.1, 203.0.113.9", 403),
        ("203.0.113.9, 185.71.76.1", 200),
        ("not an address", 403),
    ],
)
async def test_the_senders_address_counts_if_asked_for(
    shop: Shop, forwarded: str | None, status: int
) -> None:
    """Only what our own proxy has added to the header is believed."""
    changes: dict[str, Any] = {
        "YOOKASSA_CHECK_SENDER": True,
        "trusted_proxies": ("127.0.0.0/8",),
    }
    async with shop.stage.bot(**changes) as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        assert await rei.notify(payment.id, **headers) == status
        assert await shop.stage.balance() == (AMOUNT_KOPECKS if status == 200 else 0)


async def test_an_address_that_anybody_can_write_into_a_header_is_not_believed(shop: Shop) -> None:
    async with shop.stage.bot(YOOKASSA_CHECK_SENDER=True) as rei:
        headers = {"X-Forwarded-For": "185.71.76.1"}
        assert await rei.notify(str(uuid4()), **headers) == 403


async def test_slow_senders_take_nobodys_place(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rei_bot.process.NOTIFICATIONS_AT_ONCE_MAX", 1)
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        _reader, writer = await asyncio.open_connection("127.0.0.1", rei.process.port)
        writer.write(b"POST /webhook/yookassa HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        await writer.drain()
        assert await rei.notify(payment.id) == 200
        writer.close()


async def test_too_many_at_once_have_to_come_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rei_bot.process.NOTIFICATIONS_AT_ONCE_MAX", 2)
    monkeypatch.setattr(webhooks, "SETTLE_SECONDS_MAX", 2)
    async with shop.stage.bot() as rei:
        payment = await shop.topup(rei)
        shop.pay(payment)
        shop.fault("hang", "get", count=2)
        hanging = [asyncio.create_task(rei.notify(payment.id)) for _ in range(2)]
        await until(lambda: shop.hanging() == 2)
        assert await rei.notify(payment.id) == 503
        assert shop.calls("get") == 0  # the third was not even asked about
        assert await asyncio.gather(*hanging) == [503, 503]
        assert await rei.notify(payment.id) == 200


async def test_an_event_that_nobody_has_heard_of_makes_no_label(shop: Shop) -> None:
    async with shop.stage.bot() as rei:
        body = notification(str(uuid4()), "payment.succeeded") | {"event": "x" * 500}
        await rei.http.post("/webhook/yookassa", json=body)
        assert "xxxx" not in rei.metrics.exposition(shop.stage.pool).decode()
