"""What the worker's deliveries say: pure functions to Telegram's HTML. See `rei_core.jobs.wording`."""

from __future__ import annotations

from rei_core.jobs import wording
from rei_core.jobs.model import Job
from rei_core.money import format_rubles
from rei_core.texts import Texts


def original_caption(_: Texts) -> str:
    """Under the file, when the picture was shown before."""
    return _("The original, without Telegram's compression.")


def failed(job: Job, _: Texts, *, balance_kopecks: int) -> str:
    """The news that a job failed and its money is back."""
    head = _("😔 <b>It did not work out</b>")
    why = wording.reason(job.error_code, _)
    back = wording.money_back(job, balance_kopecks, _)
    return f"{head}\n\n{wording.caption(job, _)}\n\n{why}\n\n{back}"


def credited(amount_kopecks: int, _: Texts, *, balance_kopecks: int) -> str:
    """The news that a payment arrived."""
    return _(
        "✅ <b>{amount}</b> credited. Balance: <b>{balance}</b>",
        amount=format_rubles(amount_kopecks),
        balance=format_rubles(balance_kopecks),
    )


def canceled(amount_kopecks: int, _: Texts, *, balance_kopecks: int) -> str:
    """The news that a payment came to nothing."""
    return _(
        "✖️ The payment of {amount} was cancelled, nothing was charged. Balance: <b>{balance}</b>",
        amount=format_rubles(amount_kopecks),
        balance=format_rubles(balance_kopecks),
    )
