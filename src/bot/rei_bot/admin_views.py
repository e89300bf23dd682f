"""What admins read in the chat. Every list is short and every line bounded: a message has 4096
characters."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final, Literal

from rei_bot import keyboards
from rei_bot.callbacks import AdminConfirm, AdminDrop
from rei_bot.replies import View
from rei_core.admin.asking import needs_confirmation, rubles_with_sign
from rei_core.admin.reports import (
    Glance,
    JobsReport,
    PaymentLine,
    PaymentsReport,
    TopUser,
    UserReport,
    Waiting,
)
from rei_core.admin.requests import Request
from rei_core.admin.service import Changed
from rei_core.jobs.model import Job
from rei_core.money import format_rubles
from rei_core.texts import Texts, excerpt
from rei_core.trail.model import Done, Word
from rei_core.users.model import User

LINES_MAX: Final = 10
WORDS_MAX: Final = 60

COMMANDS: Final = """<code>/admin status</code>
<code>/admin user ID</code>
<code>/admin payments [ID]</code>
<code>/admin jobs [ID]</code>
<code>/admin top</code>
<code>/admin log [ID]</code>
<code>/admin credit ID AMOUNT REASON</code>
<code>/admin debit ID AMOUNT REASON</code>
<code>/admin refund PAYMENT AMOUNT|all REASON</code>
<code>/admin ban ID REASON</code>
<code>/admin unban ID [REASON]</code>"""


def help_view(_: Texts) -> View:
    """The commands."""
    title = _("🛠 <b>For admins</b>")
    note = _("What changes something asks before it does it, and leaves a line in the log.")
    return View(f"{title}\n\n{COMMANDS}\n\n{note}")


def wrong_view(problem: Literal["word", "user", "amount", "payment", "reason"], _: Texts) -> View:
    """Why a command was not understood."""
    texts = {
        "word": _("There is no such command."),
        "user": _("A customer's number is missing; /support shows it to them."),
        "amount": _("An amount is missing, such as 300 or 12.50."),
        "payment": _("A payment's id is missing; see /admin payments."),
        "reason": _("A reason is missing or too long."),
    }
    return View(f"{texts[problem]}\n\n{COMMANDS}")


def status_view(glance: Glance, _: Texts) -> View:
    """The shop at a glance."""
    queue, day = glance.queue, glance.day
    lines = [
        _("📊 <b>Status</b>"),
        _("Queue: {queued} waiting, {processing} at work",
          queued=queue.queued, processing=queue.processing),
        _("Stuck: {stuck}", stuck=queue.lapsed + glance.overdue),
    ]  # fmt: skip
    lines += [
        _("⛔ Orders are paused: {name}, {reason}", name=one.name, reason=one.reason)
        for one in glance.paused[:LINES_MAX]
    ]
    lines += [
        _("Payments pending: {waiting}", waiting=_waiting(glance.payments, _)),
        _("Refunds pending: {waiting}", waiting=_waiting(glance.refunds, _)),
        _("Messages to send: {waiting}", waiting=_waiting(glance.deliveries, _)),
        _("Customers: {customers}, banned: {banned}",
          customers=glance.customers, banned=glance.banned),
        _("In 24 hours: {payments} payments, {paid}; {jobs} pictures, {sold}; {failed} failed",
          payments=day.payments, paid=format_rubles(day.paid_kopecks), jobs=day.jobs_completed,
          sold=format_rubles(day.sold_kopecks), failed=day.jobs_failed),
    ]  # fmt: skip
    for run in glance.runs[:LINES_MAX]:
        mark = "✅" if run.ok else "❌"
        lines.append(f"{mark} {run.kind}: {_.date(run.finished_at)}")
    return View("\n".join(lines))


def _waiting(waiting: Waiting, _: Texts) -> str:
    if not waiting.count:
        return "0"
    return _.plain("{count}, the oldest for {minutes} min",
                   count=waiting.count, minutes=round(waiting.oldest_seconds / 60))  # fmt: skip


def user_view(report: UserReport, _: Texts) -> View:
    """Everything about a customer."""
    user = report.user
    lines = [
        _("👤 <b>Customer {id}</b> {name}", id=user.id, name=_name(user)),
        _("Balance: {balance}", balance=format_rubles(user.balance_kopecks)),
        _("Paid: {paid}, spent: {spent}",
          paid=format_rubles(report.paid_kopecks), spent=format_rubles(report.spent_kopecks)),
        _("Orders in progress: {jobs}", jobs=user.active_jobs),
    ]  # fmt: skip
    lines += [
        _("🚫 Banned by {source}: {reason}", source=_short(one.source), reason=_short(one.reason))
        for one in report.bans[:LINES_MAX]
    ]
    lines += ["", _("<b>Latest movements</b>")]
    for move in report.transfers[:LINES_MAX]:
        change = rubles_with_sign(move.user_change_kopecks) if move.user_change_kopecks else "0"
        lines.append(f"{_.date(move.created_at)} · {move.kind} · {change}")
    lines += _payment_lines(report.payments, _)
    lines += _job_lines(report.jobs, _)
    return View("\n".join(lines))


def _name(user: User) -> str:
    handle = f"@{user.username}" if user.username else ""
    return _short(f"{user.first_name} {handle}".strip())


def _short(text: str) -> str:
    return excerpt(text, WORDS_MAX)


def payments_view(report: PaymentsReport, _: Texts) -> View:
    """Payments in sums, and the newest."""
    lines = [_("💳 <b>Payments of {days} days</b>", days=report.days)]
    lines += [
        f"{one.status}: {one.count} · {format_rubles(one.total_kopecks)} · "
        f"⌀ {format_rubles(one.mean_kopecks)}"
        for one in report.sums
    ]
    lines.append(
        _("refunded: {count} · {amount}",
          count=report.refunds, amount=format_rubles(report.refunded_kopecks))
    )  # fmt: skip
    return View("\n".join(lines + _payment_lines(report.latest, _)))


def _payment_lines(payments: Sequence[PaymentLine], _: Texts) -> list[str]:
    if not payments:
        return []
    lines = ["", _("<b>Latest payments</b>")]
    for one in payments[:LINES_MAX]:
        back = f" (−{format_rubles(one.refunded_kopecks)})" if one.refunded_kopecks else ""
        amount = f"{format_rubles(one.amount_kopecks)}{back}"
        lines.append(
            f"{_.date(one.created_at)} · {one.user_id} · {amount} · {one.status}\n<code>{one.id}</code>"
        )
    return lines


def jobs_view(report: JobsReport, _: Texts) -> View:
    """Jobs in sums, and the newest."""
    lines = [_("🎨 <b>Jobs of {days} days</b>", days=report.days)]
    lines += [
        f"{one.model} · {one.status}: {one.count} · {format_rubles(one.price_kopecks)}"
        for one in report.sums[: 2 * LINES_MAX]
    ]
    return View("\n".join(lines + _job_lines(report.latest, _)))


def _job_lines(jobs: Sequence[Job], _: Texts) -> list[str]:
    if not jobs:
        return []
    lines = ["", _("<b>Latest jobs</b>")]
    for job in jobs[:LINES_MAX]:
        why = f" ({job.error_code})" if job.error_code else ""
        price = format_rubles(job.price_kopecks)
        lines.append(f"№{job.id} · {job.user_id} · {job.status}{why} · {price}")
    return lines


def top_view(users: Sequence[TopUser], days: int, _: Texts) -> View:
    """Who has spent most."""
    lines = [_("🏆 <b>Spent most in {days} days</b>", days=days)]
    lines += [
        f"{place}. {one.user_id} · {format_rubles(one.spent_kopecks)} · {one.jobs}"
        for place, one in enumerate(users, 1)
    ]
    return View("\n".join(lines))


def log_view(done: Sequence[Done], _: Texts) -> View:
    """Who did what."""
    lines = [_("📜 <b>Done by hand</b>")]
    for one in done:
        action = one.action
        change = rubles_with_sign(action.amount_kopecks) if action.amount_kopecks else ""
        who, reason = html.escape(_short(action.actor.name)), html.escape(_short(action.reason))
        lines.append(
            f"{_.date(one.created_at)} · {who} · {action.word} · {action.user_id} {change}\n{reason}"
        )
    return View("\n".join(lines))


def question_view(request: Request, user: User, _: Texts) -> View:
    """Is that meant? With a button that names the operation and nothing else."""
    lines = [
        f"❓ <b>{_what(request.word, request.amount_kopecks, _)}</b>",
        _("Customer {id} {name}", id=user.id, name=_name(user)),
        _("Balance: {balance}", balance=format_rubles(user.balance_kopecks)),
    ]
    if request.subject:
        lines.append(_("Payment: {payment}", payment=request.subject))
    if request.reason:
        lines.append(_("Reason: {reason}", reason=request.reason))
    if request.amount_kopecks is not None and needs_confirmation(abs(request.amount_kopecks)):
        lines.append(_("⚠️ That is much."))
    keyboard = keyboards.markup(
        [
            keyboards.button(_.plain("✅ Do it"), AdminConfirm(operation=request.operation_id)),
            keyboards.button(_.plain("✖️ Leave it"), AdminDrop(operation=request.operation_id)),
        ]
    )
    return View("\n".join(lines), keyboard)


def _what(word: Word, amount_kopecks: int | None, _: Texts) -> str:
    amount = format_rubles(abs(amount_kopecks or 0))
    match word:
        case Word.CREDIT:
            return _.plain("Credit {amount}", amount=amount)
        case Word.DEBIT:
            return _.plain("Debit {amount}", amount=amount)
        case Word.REFUND:
            return _.plain("Refund {amount} of a payment", amount=amount)
        case Word.BAN:
            return _.plain("Ban")
        case _:
            return _.plain("Lift the ban")


def changed_view(changed: Changed, balance_kopecks: int, _: Texts) -> View:
    """What became of it."""
    what = _what(changed.word, changed.amount_kopecks, _)
    lines = [
        _("✅ <b>{what}</b>: done, customer {id}", what=what, id=changed.user_id),
        _("Balance: {balance}", balance=format_rubles(balance_kopecks)),
    ]
    if changed.repeated and changed.done is not None:
        lines.append(
            _("It was done before, on {date}: nothing has changed now.",
              date=_.date(changed.done.created_at))
        )  # fmt: skip
    if changed.word is Word.UNBAN:
        lines += [
            _(
                "🚫 Banned by {source}: {reason}",
                source=_short(one.source),
                reason=_short(one.reason),
            )
            for one in changed.bans_left[:LINES_MAX]
        ]
    return View("\n".join(lines))
