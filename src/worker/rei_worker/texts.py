"""What the worker says to customers: pure functions from a job or a payment to a message.

English is the source of the translations. Everything a customer wrote is escaped; Telegram's
limits (text 4096, caption 1024) hold by construction, because excerpts are bounded.
"""

from __future__ import annotations

import html

from rei_core.money import format_rubles

from rei_core.i18n import translations
from rei_core.jobs.model import Job

PROMPT_EXCERPT_MAX = 300
"""At most 600 UTF-16 units, which is how Telegram counts: far below the 1024 of a caption."""


def mark(text: str) -> str:
    """Name a text for the catalogue where it cannot be translated yet."""
    return text


# By error code. A code that is not here gets the last one.
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


def reason(code: str | None, language: str) -> str:
    """Why a job failed, for its customer."""
    return translations(language).gettext(REASONS.get(code or "", REASON_INTERNAL))


def caption(job: Job, language: str) -> str:
    """Under the picture."""
    _ = translations(language).gettext
    price = _("💰 Price: <b>{price}</b>").format(price=format_rubles(job.price_kopecks))
    return f"{_prompt(job, language)}\n{price}"


def original_caption(language: str) -> str:
    """Under the file, when the picture was shown before."""
    return translations(language).gettext("The original, without Telegram's compression.")


def failed(job: Job, *, balance_kopecks: int, language: str) -> str:
    """The news that a job failed and its money is back."""
    _ = translations(language).gettext
    head = _("😔 <b>It did not work out</b>")
    why = reason(job.error_code, language)
    back = money_back(job.price_kopecks, balance_kopecks=balance_kopecks, language=language)
    return f"{head}\n\n{_prompt(job, language)}\n\n{why}\n\n{back}"


def money_back(price_kopecks: int, *, balance_kopecks: int, language: str) -> str:
    """How much came back, and what that makes."""
    _ = translations(language).gettext
    return _("{price} returned to your balance. Balance: <b>{balance}</b>").format(
        price=format_rubles(price_kopecks), balance=format_rubles(balance_kopecks)
    )


def credited(amount_kopecks: int, *, balance_kopecks: int, language: str) -> str:
    """The news that a payment arrived."""
    _ = translations(language).gettext
    return _("✅ <b>{amount}</b> credited. Balance: <b>{balance}</b>").format(
        amount=format_rubles(amount_kopecks), balance=format_rubles(balance_kopecks)
    )


def canceled(amount_kopecks: int, *, balance_kopecks: int, language: str) -> str:
    """The news that a payment came to nothing."""
    _ = translations(language).gettext
    return _(
        "✖️ The payment of {amount} was cancelled, nothing was charged. Balance: <b>{balance}</b>"
    ).format(amount=format_rubles(amount_kopecks), balance=format_rubles(balance_kopecks))


def drawing(job: Job, language: str) -> str:
    """The progress message while the provider works."""
    _ = translations(language).gettext
    state = _("The picture will arrive here as soon as it is ready.")
    return _progress(_("🎨 <b>Drawing…</b>"), job, state, language)


def retrying(job: Job, *, delay_seconds: float, language: str) -> str:
    """The progress message while a failed attempt waits for the next."""
    _ = translations(language).gettext
    state = _("The image model is busy. Trying again in {seconds} s, your place is kept.").format(
        seconds=max(1, round(delay_seconds))
    )
    return _progress(_("⏳ <b>Waiting</b>"), job, state, language)


def ready(job: Job, language: str) -> str:
    """The progress message at a good end."""
    _ = translations(language).gettext
    return _progress(_("✅ <b>Done</b>"), job, _("The picture is in this chat."), language)


def gone_wrong(job: Job, *, balance_kopecks: int, language: str) -> str:
    """The progress message at a bad end."""
    _ = translations(language).gettext
    back = money_back(job.price_kopecks, balance_kopecks=balance_kopecks, language=language)
    return _progress(_("😔 <b>It did not work out</b>"), job, back, language)


def _progress(head: str, job: Job, state: str, language: str) -> str:
    _ = translations(language).gettext
    price = _("💰 Price: <b>{price}</b>").format(price=format_rubles(job.price_kopecks))
    return f"{head}\n\n{_prompt(job, language)}\n{price}\n\n{state}"


def _prompt(job: Job, language: str) -> str:
    _ = translations(language).gettext
    return _("✏️ {prompt}").format(prompt=html.escape(excerpt(job.prompt), quote=False))


def excerpt(text: str, limit: int = PROMPT_EXCERPT_MAX) -> str:
    """The text on one line, cut at `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
