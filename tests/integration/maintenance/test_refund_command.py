"""`rei refund`: a person's word on a refund that nobody can find out about."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from rei_core.cli import rei
from rei_core.errors import PaymentOutcomeUnknown
from rei_core.payments.model import Payment
from rei_sandbox.app import Running

from ..core_adapters.conftest import SECRET_KEY, SHOP_ID, Till
from ..core_adapters.conftest import endpoint as endpoint  # noqa: PLC0414 - fixtures of this file
from ..core_adapters.conftest import http as http  # noqa: PLC0414
from ..core_adapters.conftest import sandbox as sandbox  # noqa: PLC0414
from ..core_adapters.conftest import till as till  # noqa: PLC0414
from ..core_adapters.conftest import yookassa as yookassa  # noqa: PLC0414

Rei = Callable[..., Awaitable[Result]]


@pytest.fixture
def rei_refund(database_url: str, sandbox: Running) -> Rei:
    """`await rei_refund("list")`, with the settings of a person at a terminal."""
    unset = dict.fromkeys(name for name in os.environ if name.startswith(("REI_", "YOOKASSA_")))
    environment = {
        **unset,
        "REI_DATABASE_URL": database_url,
        "YOOKASSA_SHOP_ID": SHOP_ID,
        "YOOKASSA_SECRET_KEY": SECRET_KEY,
        "YOOKASSA_API_URL": f"{sandbox.url}/yookassa/v3",
        "COLUMNS": "200",
    }

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, rei, ("refund", *words), prog_name="rei", env=environment
        )

    return run


@pytest.fixture
async def unclear(till: Till, sandbox: Running) -> UUID:
    """A refund without an answer that never reached YooKassa; its id."""
    payment: Payment = await till.topup()
    await till.pay(payment)
    await till.check(payment)
    sandbox.sandbox.faults.add("yookassa", "unavailable", operation="refund")
    with pytest.raises(PaymentOutcomeUnknown):
        await till.refund(payment.id, kopecks=5_000, operation="ticket-17")
    value: UUID = await till.pool.fetchval("SELECT id FROM payment_refunds")
    return value


async def test_what_waits_is_listed_and_closed_by_a_word_with_its_reason(
    rei_refund: Rei, unclear: UUID, till: Till
) -> None:
    listed = await rei_refund("list")
    assert listed.exit_code == 0, listed.output
    assert str(unclear) in listed.output
    assert "ticket-17" in listed.output
    assert await till.balance() == 15_000

    closed = await rei_refund("close", str(unclear), "--not-sent", "--reason", "not there")

    assert closed.exit_code == 0, closed.output
    assert "the debit is given back" in closed.output
    assert await till.balance() == 20_000
    words = await till.pool.fetchval("SELECT error_detail FROM payment_refunds")
    assert words == "closed by hand as never carried out: not there"
    assert str(unclear) not in (await rei_refund("list")).output


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--not-sent", "--reason", " "),
        ("--reason", "r"),
        ("--not-sent", "--sent-as", "x", "--reason", "r"),
        ("--sent-as", "00000000-0000-0000-0000-000000000007", "--reason", "r"),
    ],
)
async def test_what_makes_no_sense_or_is_not_so_is_refused(
    rei_refund: Rei, unclear: UUID, till: Till, words: tuple[str, ...]
) -> None:
    refused = await rei_refund("close", str(unclear), *words)
    assert refused.exit_code != 0
    assert SECRET_KEY not in refused.output
    assert await till.pool.fetchval("SELECT status FROM payment_refunds") == "pending"
    assert await till.balance() == 15_000


async def test_a_refund_that_is_not_there_is_said_to_be_unknown(
    rei_refund: Rei, unclear: UUID
) -> None:
    refused = await rei_refund("close", str(UUID(int=1)), "--not-sent", "--reason", "r")
    assert refused.exit_code != 0
    del unclear
