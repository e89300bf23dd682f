"""What a customer reads about a job. Bot and worker edit one message in turn: both take it from here.

Pure functions to Telegram's HTML. The limits (text 4096, caption 1024) hold by construction,
because of the customer's own words only an excerpt is shown.
"""

from __future__ import annotations

from rei_core.jobs.model import Job, JobStatus
from rei_core.money import format_rubles
from rei_core.texts import Texts, excerpt

PROMPT_SHOWN_MAX = 300
"""At most 600 UTF-16 units, which is how Telegram counts: far below the 1024 of a caption."""


def mark(text: str) -> str:
    """Name a text for the catalogue where it cannot be translated yet."""
    return text


# By error code. A code that is not here gets `REASON_INTERNAL`.
REASONS = {
    "blocked": mark(
        "The image model refused this description for safety reasons. "
        "Please word it differently or take other photos."
    ),
    "no_image": mark(
        "The image model answered without a picture. Say more clearly what it should draw."
    ),
    "bad_request": mark(
        "The image model could not work with this order. "
        "Please change the description or the photos."
    ),
    "input_lost": mark("Telegram does not keep your photo any more. Please send it again."),
    "input_unusable": mark(
        "One of your photos cannot be read: it is no PNG, JPEG or WebP picture, or far too large. "
        "Please send another one."
    ),
    "provider_unavailable": mark(
        "The image model is overloaded, and several attempts failed. Please try again later."
    ),
    "telegram_unavailable": mark(
        "Your photo could not be fetched from Telegram. Please try again."
    ),
    "overdue": mark("The order waited too long in the queue. Please try again later."),
    "timeout": mark("The picture was not ready in time. Please try again."),
    "model_gone": mark("This image model is not available now. Please choose another one."),
    "quota_exhausted": mark(
        "The image model is not available for the moment. Please try again later."
    ),
}
REASON_INTERNAL = mark("Something went wrong on our side. We are looking into it.")


def reason(error_code: str | None, _: Texts) -> str:
    """Why there is no picture."""
    return _(REASONS.get(error_code or "", REASON_INTERNAL))


def caption(job: Job, _: Texts) -> str:
    """What was ordered, for how much."""
    prompt = _("✏️ {prompt}", prompt=excerpt(job.prompt, PROMPT_SHOWN_MAX))
    return f"{prompt}\n{_('💰 Price: <b>{price}</b>', price=format_rubles(job.price_kopecks))}"


def money_back(job: Job, balance_kopecks: int, _: Texts) -> str:
    """How much came back, and what that makes."""
    return _(
        "{price} are back on your balance. Balance: <b>{balance}</b>",
        price=format_rubles(job.price_kopecks),
        balance=format_rubles(balance_kopecks),
    )


def standing(
    job: Job,
    _: Texts,
    *,
    balance_kopecks: int,
    place: int | None = None,
    retry_seconds: float | None = None,
) -> str:
    """Where a job stands, for the message that was its order's card.

    `retry_seconds`: how long a queued job waits for another attempt; None before its first.
    """
    match job.status:
        case JobStatus.QUEUED if retry_seconds is not None:
            head = _("⏳ <b>Waiting</b>")
            state = _("The image model is busy. Trying again in {seconds} s, your place is kept.",
                      seconds=max(1, round(retry_seconds)))  # fmt: skip
        case JobStatus.QUEUED:
            head, state = _("✅ <b>Order accepted</b>"), _queued(place, _)
        case JobStatus.PROCESSING:
            head = _("🎨 <b>Drawing…</b>")
            state = _("The picture will arrive here as soon as it is ready.")
        case JobStatus.COMPLETED:
            head, state = _("✅ <b>Done</b>"), _("The picture is in this chat.")
        case JobStatus.FAILED:
            head = _("😔 <b>It did not work out</b>")
            state = f"{reason(job.error_code, _)}\n{money_back(job, balance_kopecks, _)}"
        case JobStatus.CANCELLED:
            head, state = _("✖️ <b>Order cancelled</b>"), money_back(job, balance_kopecks, _)
    return f"{head}\n\n{caption(job, _)}\n\n{state}"


def _queued(place: int | None, _: Texts) -> str:
    if place is None or place <= 1:
        return _("You are next in line.")
    return _("Your place in the queue: {place}.", place=place)
