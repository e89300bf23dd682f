"""`rei credit|debit|refund start`: once, whoever repeats it, and told."""

from __future__ import annotations

import pytest

from rei_core.db import Pool
from rei_core.payments.model import Payment
from rei_sandbox.app import Running

from ..core.conftest import Shop
from ..core_adapters.conftest import Till
from .conftest import Rei

WHY = ("--reason", "ticket 17: a broken picture")


async def test_a_credit_is_made_once_however_often_the_command_comes(
    shop: Shop, pool: Pool, rei: Rei
) -> None:
    await shop.customer()
    first = await rei("credit", "1", "300", *WHY, "--by", "anna")
    assert first.code == 0, first.err
    assert "user 1: +300 ₽, balance 300 ₽ after it." in first.out.replace("\u00a0", " ")
    for _ in range(2):
        one = await rei("credit", "1", "300", *WHY)
        assert one.err == first.err, "the same operation is named before it begins"
        assert "It was done before" in one.out
        assert "by anna: nothing has changed now" in one.out
    assert await shop.balance() == 30_000
    assert await pool.fetchval("SELECT count(*) FROM admin_actions") == 1


async def test_the_same_once_more_needs_a_name_and_a_name_works_once(shop: Shop, rei: Rei) -> None:
    await shop.customer()
    await rei("credit", "1", "300", *WHY)
    named = ("credit", "1", "12.50", *WHY, "--operation-id", "gift/2", "-o", "json")
    made = (await rei(*named)).json
    assert made | {"done": None} == {
        "operation_id": "gift/2",
        "word": "credit",
        "user_id": 1,
        "repeated": False,
        "done": None,
        "amount_kopecks": 1250,
        "balance_after_kopecks": 31_250,
        "bans_left": [],
        "refund_status": None,
    }
    assert (await rei(*named)).json["repeated"]
    other = await rei("credit", "1", "13", *WHY, "--operation-id", "gift/2")
    assert other.code == 1
    assert "OperationConflict" in other.err
    assert await shop.balance() == 31_250


async def test_a_debit_never_goes_below_zero(shop: Shop, rei: Rei) -> None:
    await shop.customer(balance_kopecks=1000)
    assert (await rei("debit", "1", "10.01", *WHY)).code == 1
    assert (await rei("debit", "1", "10", *WHY, "-o", "json")).json["amount_kopecks"] == -1000
    assert (await rei("debit", "1", "10", *WHY, "-o", "json")).json["repeated"]
    assert await shop.balance() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1", "0", *WHY), "not between"),
        (("1", "-5", *WHY), "No such option"),
        (("1", "1e3", *WHY), "not a number of rubles"),
        (("1", "1,000", *WHY), "not a number of rubles"),
        (("1", "1000000.01", *WHY), "not between"),
        (("0", "5", *WHY), "not in the range"),
        (("1", "5"), "Missing option '--reason'"),
        (("1", "5", "--reason", " "), "reason"),
        (("1", "5", "--reason", "a\nb"), "reason has characters that are not allowed"),
        (("1", "5", "--reason", "x" * 201), "reason"),
        (("1", "5", *WHY, "--operation-id", "two words"), "operation-id"),
        (("1", "5", *WHY, "--by", "\x1b[2J"), "can be read"),
        (("1", "10000", *WHY), "confirm it with --yes"),
    ],
)
async def test_nonsense_is_refused_before_anything_is_done(
    shop: Shop, pool: Pool, rei: Rei, words: tuple[str, ...], said: str
) -> None:
    await shop.customer()
    refused = await rei("credit", *words)
    assert refused.code == 2
    assert said in refused.err
    assert await pool.fetchval("SELECT count(*) FROM transfers") == 0


async def test_a_large_amount_that_is_meant(shop: Shop, rei: Rei) -> None:
    await shop.customer()
    assert (await rei("credit", "1", "10 000 ₽", *WHY, "--yes")).code == 0
    assert await shop.balance() == 1_000_000


async def test_nobody_is_credited_who_is_not_there(shop: Shop, rei: Rei) -> None:
    await shop.customer()
    assert "no user 2" in (await rei("credit", "2", "5", *WHY)).err


async def paid(till: Till) -> Payment:
    payment: Payment = await till.topup()
    await till.pay(payment)
    await till.check(payment)  # or the notification was faster
    return payment


async def test_a_refund_is_started_by_either_id_and_sent_once(
    till: Till, rei: Rei, sandbox: Running
) -> None:
    payment = await paid(till)
    first = await rei("refund", "start", str(payment.id), "50", *WHY, "-o", "json")
    assert first.json["refund_status"] == "succeeded"
    assert first.json["amount_kopecks"] == -5_000
    theirs = payment.provider_payment_id
    assert theirs is not None
    again = await rei("refund", "start", theirs, "50", *WHY, "-o", "json")
    assert again.json["repeated"]
    assert await till.balance() == 15_000
    rest = await rei("refund", "start", theirs, *WHY, "-o", "json")
    assert rest.json["amount_kopecks"] == -15_000
    assert (await rei("refund", "start", theirs, *WHY, "-o", "json")).json["repeated"]
    assert await till.balance() == 0
    nothing = await rei("refund", "start", theirs, "--reason", "once more")
    assert nothing.code == 1
    assert "nothing left to refund" in nothing.err
    log = (await rei("log", "-o", "json")).json
    assert [(one["action"]["word"], one["action"]["amount_kopecks"]) for one in log] == [
        ("refund", -15_000),
        ("refund", -5_000),
    ]
    assert {one["action"]["subject"] for one in log} == {str(payment.id)}


async def test_a_refund_without_an_answer_is_finished_by_the_same_command(
    till: Till, rei: Rei, sandbox: Running
) -> None:
    payment = await paid(till)
    sandbox.sandbox.faults.add("yookassa", "unavailable", operation="refund")
    command = ("refund", "start", str(payment.id), *WHY, "-o", "json")
    assert (await rei(*command)).code == 1
    assert await till.balance() == 0, "debited: it cannot be spent meanwhile"
    sandbox.sandbox.faults.clear()
    assert (await rei(*command)).json["refund_status"] == "succeeded"
    assert await till.balance() == 0
    assert await till.pool.fetchval("SELECT count(*) FROM payment_refunds") == 1


async def test_what_is_spent_is_not_refunded(till: Till, rei: Rei) -> None:
    payment = await paid(till)
    assert (await rei("debit", "1", "150", *WHY)).code == 0
    refused = await rei("refund", "start", str(payment.id), *WHY)
    assert refused.code == 1
    assert "user 1 has 50 ₽, 200 ₽ are needed" in refused.err.replace("\u00a0", " ")
    assert await till.balance() == 5_000
    assert "no payment" in (await rei("refund", "start", "nonsense", *WHY)).err
