"""Buttons within Telegram's limits, and views within its lengths, at the largest of everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from aiogram.types import InlineKeyboardMarkup

from rei_bot import cards, keyboards
from rei_bot.callbacks import (
    JobAction,
    OrderConfirm,
    OrderPick,
    PaymentCheck,
    TopUpAmount,
    TopUpRetry,
    token,
    untoken,
)
from rei_bot.handlers.account import balance_view
from rei_bot.handlers.history import PAGE_LENGTH, history_view
from rei_bot.handlers.start import help_view
from rei_bot.replies import View
from rei_core.catalog import Catalog, ImageModel, load_catalog
from rei_core.drafts.model import Draft
from rei_core.jobs.model import InputRef, Job, JobStatus
from rei_core.ledger.model import Account, Transfer, TransferKind
from rei_core.texts import Texts
from rei_core.users.model import User

LARGEST = 2**63 - 1
NOW = datetime(2026, 11, 24, 21, 30, tzinfo=UTC)
LONG = "&" * 4000
LANGUAGES = pytest.mark.parametrize("texts", [Texts("ru"), Texts("en")], ids=["ru", "en"])


def catalog_of_the_largest() -> Catalog:
    ratios = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
    models = tuple(
        ImageModel(
            id=f"m{i}" + "-" * 60,
            title="M" * 40,
            note={"ru": "н" * 40, "en": "n" * 40},
            input_images_max=14,
            aspect_ratios=ratios,
            prices_kopecks={"1K": 10**9, "2K": 10**9, "4K": 10**9},
        )
        for i in range(20)
    )
    return Catalog(models=models)


def draft(catalog: Catalog, *, photos: int = 0) -> Draft:
    model, ratio, size = catalog.fit(model=None, aspect_ratio="", image_size="")
    inputs = tuple(InputRef(f"f{i}", "image/jpeg", 1) for i in range(photos))
    return Draft(LARGEST, 7, 7, None, LONG, inputs, model, ratio, size)


def job(status: JobStatus, *, number: int = LARGEST) -> Job:
    return Job(
        id=number, user_id=7, status=status, model="m", prompt=LONG, aspect_ratio="1:1",
        image_size="1K", inputs=(), price_kopecks=10**12, attempt=1, attempts_max=4, run_after=NOW,
        lease_until=None, error_code="blocked", error_detail="secret", chat_id=7,
        progress_message_id=1, created_at=NOW, started_at=None, finished_at=None,
    )  # fmt: skip


def check(view: View) -> None:
    """Telegram takes it."""
    assert 0 < len(view.text) <= 4096
    if view.keyboard is not None:
        check_keyboard(view.keyboard)


def check_keyboard(keyboard: InlineKeyboardMarkup) -> None:
    buttons = [button for row in keyboard.inline_keyboard for button in row]
    assert len(buttons) <= 100
    for row in keyboard.inline_keyboard:
        assert 1 <= len(row) <= 8
    for button in buttons:
        assert button.text
        assert len((button.callback_data or "x").encode()) <= 64


def test_the_largest_data_of_a_button_fit_into_64_bytes() -> None:
    for data in (
        OrderConfirm(draft=LARGEST, price_kopecks=10**12),
        OrderPick(draft=LARGEST, field="model", token=token("x")),
        JobAction(job=LARGEST, action="refresh"),
        TopUpAmount(source="menu", amount_kopecks=10**12),
        TopUpRetry(source="menu", message=LARGEST, amount_kopecks=10**12),
        PaymentCheck(payment=uuid4()),
    ):
        assert len(data.pack().encode()) <= 64
        assert type(data).unpack(data.pack()) == data


def test_a_token_leads_back_to_its_value_or_nowhere() -> None:
    values = ("1:1", "16:9", "gemini-3-pro-image")
    for value in values:
        assert untoken(token(value), values) == value
    assert untoken(token("9:16"), values) is None


@LANGUAGES
def test_cards_fit_whatever_the_prompt_and_the_catalogue(texts: Texts) -> None:
    catalog = catalog_of_the_largest()
    for balance in (0, 10**10):
        for photos in (0, 14, 15):
            order = draft(catalog, photos=photos)
            check(
                cards.order_card(
                    order,
                    catalog,
                    balance_kopecks=balance,
                    topup_min_rubles=50,
                    _=texts,
                    notice="!",
                )
            )
    for field in ("model", "ratio", "size"):
        check_keyboard(keyboards.choices(draft(catalog), field, catalog, texts))
    check_keyboard(keyboards.model_choices(None, catalog, texts))
    check(cards.prompt_wanted(draft(catalog, photos=1), texts))


@LANGUAGES
@pytest.mark.parametrize("status", list(JobStatus))
@pytest.mark.parametrize("retry_seconds", [None, 900.0])
def test_jobs_fit_in_every_state_and_keep_admins_words_to_themselves(
    texts: Texts, status: JobStatus, retry_seconds: float | None
) -> None:
    view = cards.job_message(
        job(status),
        place=1001,
        retry_seconds=retry_seconds,
        balance_kopecks=1,
        has_file=True,
        _=texts,
    )
    check(view)
    assert "secret" not in view.text


@LANGUAGES
def test_a_page_of_history_and_the_balance_fit(texts: Texts) -> None:
    jobs = [job(JobStatus.COMPLETED, number=LARGEST - i) for i in range(PAGE_LENGTH)]
    check(history_view(jobs, texts, page=39, older=True))
    check(history_view([], texts, page=0, older=False))
    check(help_view(load_catalog(), texts))


@LANGUAGES
def test_every_kind_of_transfer_has_words_of_its_own(texts: Texts) -> None:

    accounts = {
        TransferKind.TOPUP: (Account.PAYMENTS, Account.USER),
        TransferKind.HOLD: (Account.USER, Account.HELD),
        TransferKind.CAPTURE: (Account.HELD, Account.REVENUE),
        TransferKind.RELEASE: (Account.HELD, Account.USER),
        TransferKind.PAYMENT_REFUND: (Account.USER, Account.REFUNDS),
        TransferKind.PAYMENT_REFUND_REVERSAL: (Account.REFUNDS, Account.USER),
        TransferKind.ADJUSTMENT: (Account.ADJUSTMENTS, Account.USER),
    }
    assert set(accounts) == set(TransferKind)
    transfers = [
        Transfer(i, kind, "job", "1", debit, credit, 100, 100, None, NOW)
        for i, (kind, (debit, credit)) in enumerate(accounts.items())
    ]
    customer = User(7, None, "A", "ru", None, None, False, None, None, 100, 1)
    view = balance_view(customer, transfers, texts)
    check(view)
    words = [line.split(" · ")[1] for line in view.text.splitlines() if " · " in line]
    assert len(set(words)) == len(TransferKind) - 1  # a capture moves nothing of the customer's


def test_times_are_moscows() -> None:
    assert Texts("ru").date(NOW) == "25.11.2026 00:30 МСК"
    assert Texts("en").date(NOW + timedelta(hours=1)) == "2026-11-25 01:30 MSK"
    assert Texts("ru").moment(NOW) == "00:30:00"


@pytest.mark.parametrize(
    ("missing", "rubles"), [(1, 50), (5_000, 50), (5_001, 51), (12_345, 124), (500_000, 5_000)]
)
def test_a_top_up_covers_what_is_missing_in_whole_rubles(missing: int, rubles: int) -> None:
    assert cards.topup_for(missing, minimum_rubles=50) == rubles * 100
