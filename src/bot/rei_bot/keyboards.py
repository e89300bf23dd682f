"""Buttons. Pure: a keyboard is a function of what it shows."""

from __future__ import annotations

from collections.abc import Sequence

from aiogram.filters.callback_data import CallbackData
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from rei_bot.callbacks import (
    Field,
    Go,
    HistoryPage,
    JobAction,
    OrderCard,
    OrderConfirm,
    OrderDrop,
    OrderMenu,
    OrderPick,
    PaymentCheck,
    SettingsMenu,
    SettingsPick,
    TopUpAmount,
    TopUpRetry,
    token,
)
from rei_core.catalog import Catalog, ImageModel
from rei_core.drafts.model import Draft
from rei_core.jobs.model import Job
from rei_core.money import format_rubles
from rei_core.payments.model import Payment
from rei_core.texts import Texts

Row = list[InlineKeyboardButton]

LANGUAGE_NAMES = {"ru": "Русский", "en": "English"}


def button(text: str, data: CallbackData) -> InlineKeyboardButton:
    """A button that says `data` when pressed."""
    return InlineKeyboardButton(text=text, callback_data=data.pack())


def rows_of(buttons: Sequence[InlineKeyboardButton], width: int) -> list[Row]:
    """The buttons in rows of `width`."""
    return [list(buttons[i : i + width]) for i in range(0, len(buttons), width)]


def markup(*rows: Row) -> InlineKeyboardMarkup:
    """A keyboard of the rows that are not empty."""
    return InlineKeyboardMarkup(inline_keyboard=[row for row in rows if row])


def home(_: Texts) -> InlineKeyboardMarkup:
    """Under the greeting."""
    return markup(
        [button(_.plain("💳 Top up"), Go(to="topup")), button(_.plain("🖼 My pictures"), Go(to="history"))],
        [button(_.plain("⚙️ Settings"), Go(to="settings")), button(_.plain("❓ Help"), Go(to="help"))],
    )  # fmt: skip


def order_fields(draft: Draft, model: ImageModel, _: Texts) -> list[Row]:
    """Model, ratio and size, each opening its choices."""
    return [
        [button(f"🤖 {model.title}", OrderMenu(draft=draft.id, field="model"))],
        [
            button(f"📐 {draft.aspect_ratio}", OrderMenu(draft=draft.id, field="ratio")),
            button(f"🔍 {draft.image_size}", OrderMenu(draft=draft.id, field="size")),
        ],
    ]


def order_ready(
    draft: Draft, model: ImageModel, price_kopecks: int, _: Texts
) -> InlineKeyboardMarkup:
    """The card of an order that can be confirmed."""
    label = _.plain("✨ Draw for {price}", price=format_rubles(price_kopecks))
    return markup(
        *order_fields(draft, model, _),
        [button(label, OrderConfirm(draft=draft.id, price_kopecks=price_kopecks))],
        [button(_.plain("✖️ Cancel"), OrderDrop(draft=draft.id))],
    )


def order_unpaid(
    draft: Draft, model: ImageModel, topup_kopecks: int, _: Texts
) -> InlineKeyboardMarkup:
    """The card of an order that the balance does not cover."""
    label = _.plain("💳 Top up {amount}", amount=format_rubles(topup_kopecks))
    return markup(
        *order_fields(draft, model, _),
        [button(label, TopUpAmount(source="card", amount_kopecks=topup_kopecks))],
        [
            button(_.plain("Another amount"), Go(to="topup")),
            button(_.plain("🔄 I have paid"), OrderCard(draft=draft.id)),
        ],
        [button(_.plain("✖️ Cancel"), OrderDrop(draft=draft.id))],
    )


def order_blocked(draft: Draft, model: ImageModel, _: Texts) -> InlineKeyboardMarkup:
    """The card of an order that something in it keeps from being drawn."""
    return markup(
        *order_fields(draft, model, _),
        [button(_.plain("✖️ Cancel"), OrderDrop(draft=draft.id))],
    )


def choices(draft: Draft, field: Field, catalog: Catalog, _: Texts) -> InlineKeyboardMarkup:
    """What can be chosen for a field of the order; a tick marks what is."""
    model = catalog.find(draft.model) or catalog.default
    match field:
        case "model":
            options = [(m.id, model_label(m, _)) for m in catalog.models]
            chosen, width = draft.model, 1
        case "ratio":
            options = [(ratio, ratio) for ratio in model.aspect_ratios]
            chosen, width = draft.aspect_ratio, 4
        case "size":
            options = [
                (size, f"{size} · {format_rubles(price)}")
                for size, price in model.prices_kopecks.items()
            ]
            chosen, width = draft.image_size, 3
    buttons = [
        button(
            ticked(label, value == chosen),
            OrderPick(draft=draft.id, field=field, token=token(value)),
        )
        for value, label in options
    ]
    return markup(*rows_of(buttons, width), [button(_.plain("← Back"), OrderCard(draft=draft.id))])


def model_label(model: ImageModel, _: Texts) -> str:
    """A model on a button: title, note, from which price."""
    note = model.note.get(_.language)
    cheapest = format_rubles(min(model.prices_kopecks.values()))
    title = f"{model.title} · {note}" if note else model.title
    return _.plain("{model}, from {price}", model=title, price=cheapest)


def ticked(label: str, chosen: bool) -> str:
    """The label, marked if it is the present choice."""
    return f"✅ {label}" if chosen else label


def queued_job(job_id: int, _: Texts) -> InlineKeyboardMarkup:
    """Under a job that waits."""
    return markup(
        [
            button(_.plain("🔄 My place"), JobAction(job=job_id, action="refresh")),
            button(_.plain("✖️ Cancel"), JobAction(job=job_id, action="cancel")),
        ]
    )


def running_job(job_id: int, _: Texts) -> InlineKeyboardMarkup:
    """Under a job that is being drawn."""
    return markup([button(_.plain("🔄 Refresh"), JobAction(job=job_id, action="refresh"))])


def finished_job(job: Job, _: Texts, *, has_file: bool) -> InlineKeyboardMarkup:
    """Under a job that has ended."""
    row = [button(_.plain("🔁 Repeat"), JobAction(job=job.id, action="repeat"))]
    if has_file:
        row.append(button(_.plain("📎 Get the file"), JobAction(job=job.id, action="file")))
    return markup(row)


def history(
    jobs: Sequence[tuple[int, Job]], _: Texts, *, page: int, older: bool
) -> InlineKeyboardMarkup:
    """Under a page of the history; each job by its number on the page."""
    rows = []
    for number, job in jobs:
        row = [button(f"🔁 {number}", JobAction(job=job.id, action="repeat"))]
        if job.status == "completed":
            row.append(button(f"📎 {number}", JobAction(job=job.id, action="file")))
        rows.append(row)
    turn = []
    if page > 0:
        turn.append(button(_.plain("← Newer"), HistoryPage(page=page - 1)))
    if older:
        turn.append(button(_.plain("Older →"), HistoryPage(page=page + 1)))
    return markup(*rows, turn)


def topup_menu(choices_rubles: Sequence[int], _: Texts) -> InlineKeyboardMarkup:
    """The amounts to choose from."""
    amounts = [
        button(format_rubles(rubles * 100), TopUpAmount(source="menu", amount_kopecks=rubles * 100))
        for rubles in choices_rubles
    ]
    return markup(
        *rows_of(amounts, 2), [button(_.plain("✏️ Another amount"), Go(to="other_amount"))]
    )


def topup_anew(_: Texts) -> InlineKeyboardMarkup:
    """Opens the amounts in a new message: a payment that has ended keeps the key of its own."""
    return markup([button(_.plain("💳 Top up"), Go(to="topup"))])


def topup_retry(retry: TopUpRetry, _: Texts) -> InlineKeyboardMarkup:
    """Repeats a top-up of unknown outcome."""
    return markup([button(_.plain("🔄 Try again"), retry)])


def payment(payment: Payment, _: Texts) -> InlineKeyboardMarkup:
    """Pay, and ask whether it has arrived."""
    pay: Row = []
    if payment.confirmation_url:
        label = _.plain("💳 Pay {amount}", amount=format_rubles(payment.amount_kopecks))
        pay = [InlineKeyboardButton(text=label, url=payment.confirmation_url)]
    return markup(pay, [button(_.plain("✅ Check the payment"), PaymentCheck(payment=payment.id))])


def balance(_: Texts) -> InlineKeyboardMarkup:
    """Under the balance."""
    return markup(
        [button(_.plain("💳 Top up"), Go(to="topup")), button(_.plain("🖼 My pictures"), Go(to="history"))]
    )  # fmt: skip


def settings(_: Texts) -> InlineKeyboardMarkup:
    """The settings."""
    return markup(
        [button(_.plain("🌐 Language"), SettingsMenu(field="language"))],
        [button(_.plain("🤖 Model"), SettingsMenu(field="model"))],
    )


def language_choices(_: Texts) -> InlineKeyboardMarkup:
    """The languages, each by its own name."""
    names = [
        button(ticked(name, code == _.language), SettingsPick(field="language", token=token(code)))
        for code, name in LANGUAGE_NAMES.items()
    ]
    return markup(names, [button(_.plain("← Back"), SettingsMenu(field="home"))])


def model_choices(chosen: str | None, catalog: Catalog, _: Texts) -> InlineKeyboardMarkup:
    """The models that new orders can start with."""
    present = (catalog.find(chosen) or catalog.default).id
    models = [
        [
            button(
                ticked(model_label(model, _), model.id == present),
                SettingsPick(field="model", token=token(model.id)),
            )
        ]
        for model in catalog.models
    ]
    return markup(*models, [button(_.plain("← Back"), SettingsMenu(field="home"))])
