"""An order's card and a job's message: pure functions from the facts to a view."""

from __future__ import annotations

from rei_bot import keyboards
from rei_bot.replies import View
from rei_core.catalog import Catalog
from rei_core.drafts.model import Draft
from rei_core.jobs import wording
from rei_core.jobs.model import Job, JobStatus
from rei_core.money import format_rubles
from rei_core.texts import Texts, excerpt

PROMPT_SHOWN_MAX = 600
"""Characters of the prompt on a card; a message holds 4096 in all."""


def topup_for(missing_kopecks: int, *, minimum_rubles: int) -> int:
    """The smallest whole-ruble top-up, in kopecks, that covers what is missing."""
    return max(-(-missing_kopecks // 100), minimum_rubles) * 100


def order_card(
    draft: Draft,
    catalog: Catalog,
    *,
    balance_kopecks: int,
    topup_min_rubles: int,
    _: Texts,
    notice: str = "",
) -> View:
    """The order with its price; what stands in its way, if anything does, instead of "draw".

    The draft's choice must be for sale. `notice` is HTML that goes on top.
    """
    model = catalog.find(draft.model)
    price = catalog.price_kopecks(
        model=draft.model, aspect_ratio=draft.aspect_ratio, image_size=draft.image_size
    )
    assert model is not None
    assert price is not None
    lines = [f"{notice}\n"] if notice else []
    lines += [_("🎨 <b>Your order</b>"), ""]
    lines.append(_("✏️ {prompt}", prompt=excerpt(draft.prompt, PROMPT_SHOWN_MAX)))
    if draft.inputs:
        lines.append(_.plural("🖼 {n} photo", "🖼 {n} photos", len(draft.inputs)))
    lines += [
        _("🤖 Model: {model}", model=model.title),
        _("📐 Format: {ratio}, size {size}", ratio=draft.aspect_ratio, size=draft.image_size),
        "",
        _("💰 Price: <b>{price}</b>", price=format_rubles(price)),
    ]
    if len(draft.inputs) > model.input_images_max:
        lines += ["", _too_many_photos(model.title, model.input_images_max, _)]
        return View("\n".join(lines), keyboards.order_blocked(draft, model, _))
    if balance_kopecks < price:
        missing = price - balance_kopecks
        lines += [
            _("Your balance: {balance}", balance=format_rubles(balance_kopecks)),
            "",
            _("❗️ You are {missing} short. Top up, then come back to this order.",
              missing=format_rubles(missing)),
        ]  # fmt: skip
        topup = topup_for(missing, minimum_rubles=topup_min_rubles)
        return View("\n".join(lines), keyboards.order_unpaid(draft, model, topup, _))
    after = format_rubles(balance_kopecks - price)
    lines.append(_("Balance afterwards: {balance}", balance=after))
    return View("\n".join(lines), keyboards.order_ready(draft, model, price, _))


def prompt_wanted(draft: Draft, _: Texts) -> View:
    """Photos without a word: what shall become of them?"""
    got = _.plural("🖼 Got {n} photo.", "🖼 Got {n} photos.", len(draft.inputs))
    ask = _("What should I do with it? Describe it in one message.")
    aside = _("To draw something without photos, send /generate and a description.")
    return View(f"{got} {ask}\n\n<i>{aside}</i>")


def dropped_order(_: Texts) -> View:
    """An order that its customer forgot about."""
    return View(_("Order cancelled. Nothing was charged."))


def job_message(
    job: Job,
    *,
    place: int | None,
    retry_seconds: float | None,
    balance_kopecks: int,
    has_file: bool,
    _: Texts,
) -> View:
    """Where a job stands, for the message that was its order's card."""
    match job.status:
        case JobStatus.QUEUED:
            keyboard = keyboards.queued_job(job.id, _)
        case JobStatus.PROCESSING:
            keyboard = keyboards.running_job(job.id, _)
        case _ended:
            keyboard = keyboards.finished_job(job, _, has_file=has_file)
    text = wording.standing(
        job, _, balance_kopecks=balance_kopecks, place=place, retry_seconds=retry_seconds
    )
    return View(text, keyboard)


def _too_many_photos(title: str, input_images_max: int, _: Texts) -> str:
    if input_images_max == 0:
        return _("❗️ {model} takes no photos. Choose another model.", model=title)
    return _.plural(
        "❗️ {model} takes at most {n} photo. Choose another model or send fewer.",
        "❗️ {model} takes at most {n} photos. Choose another model or send fewer.",
        input_images_max,
        model=title,
    )
