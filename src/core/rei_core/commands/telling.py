"""Reports for a person as tables, for a program as JSON: one value, two ways to show it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rei_core.admin.asking import rubles_with_sign
from rei_core.admin.judging import ago
from rei_core.admin.reports import (
    Glance,
    JobsReport,
    LastRun,
    PaymentLine,
    PaymentsReport,
    TopUser,
    UserReport,
    Waiting,
)
from rei_core.jobs.model import Job
from rei_core.money import format_rubles
from rei_core.texts import excerpt
from rei_core.trail.model import Done
from rei_core.users.model import User

WIDTH_WITHOUT_TERMINAL: Final = 160
PROMPT_SHOWN_MAX: Final = 40
NONE: Final = "–"
LEFT_OUT: Final = frozenset({"keyboard", "inputs", "chat_id", "progress_message_id"})
"""Of no use to people; what a customer wrote is, and stays."""


def plain(value: Any) -> Any:
    """A report as JSON values: times in ISO 8601, amounts in kopecks, ages in seconds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in LEFT_OUT]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID | StrEnum):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    return value


def customer(report: UserReport) -> dict[str, Any]:
    """A customer's report as JSON values: what they are and what they have on one level."""
    values: dict[str, Any] = plain(report)
    person: dict[str, Any] = values.pop("user")
    return person | values


def echo_json(value: Any) -> None:
    """Print it."""
    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2))


def escaped(text: str) -> str:
    """A text that is shown as it is, whatever brackets it has."""
    return escape(text)


def console() -> Console:
    """Where tables go: as wide as the terminal, or wide enough if there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)


def moment(at: datetime | None) -> str:
    """`2026-11-28 11:40`, in UTC."""
    return NONE if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def table(title: str, *columns: str, right: Sequence[int] = ()) -> Table:
    """An empty table; the columns of these numbers are numbers."""
    made = Table(*columns, title=title, title_justify="left")
    for number in right:
        made.columns[number].justify = "right"
    return made


def show_glance(glance: Glance, out: Console) -> None:
    """`rei status`."""
    queue, day = glance.queue, glance.day
    mean = NONE if queue.mean_seconds is None else f"{queue.mean_seconds:.1f} s"
    oldest = ago(queue.oldest_queued_seconds) if queue.queued else NONE
    found = table("Now", "", "")
    found.show_header = False
    found.add_row("queue", f"{queue.queued} waiting (oldest {oldest}), {queue.processing} at work")
    found.add_row("a picture takes", mean)
    found.add_row("stuck", f"{queue.lapsed} without a worker, {glance.overdue} past their deadline")
    paused = ", ".join(f"{one.name}: {one.reason}" for one in glance.paused)
    found.add_row("orders", f"[red]PAUSED[/] ({escape(paused)})" if paused else "taken")
    found.add_row("payments pending", _waiting(glance.payments))
    found.add_row("refunds pending", _waiting(glance.refunds))
    found.add_row("messages to send", _waiting(glance.deliveries))
    found.add_row("customers", f"{glance.customers}, {glance.banned} banned")
    found.add_row(
        "last 24 hours",
        f"{day.payments} payments, {format_rubles(day.paid_kopecks)}; {day.jobs_completed} pictures,"
        f" {format_rubles(day.sold_kopecks)}; {day.jobs_failed} failed",
    )
    out.print(found)
    runs = table("Maintenance", "kind", "last run", "", "what went wrong")
    for run in glance.runs:
        runs.add_row(
            run.kind, f"{ago(run.age_seconds)} ago", _verdict(run), escape(run.error or "")
        )
    if glance.runs:
        out.print(runs)
    else:
        out.print("Maintenance has never run: see the operator's resources, or `rei run -f`.")


def _waiting(waiting: Waiting) -> str:
    if not waiting.count:
        return "none"
    return f"{waiting.count}, the oldest for {ago(waiting.oldest_seconds)}"


def _verdict(run: LastRun) -> str:
    if not run.ok:
        return "[red]FAILED[/]"
    return "[green]OK[/], verified" if run.verified else "[green]OK[/]"


def show_user(report: UserReport, out: Console) -> None:
    """`rei user`."""
    user = report.user
    found = table(f"Customer {user.id}", "", "")
    found.show_header = False
    found.add_row("name", escape(" ".join(filter(None, (user.first_name, _handle(user))))) or NONE)
    found.add_row("balance", format_rubles(user.balance_kopecks))
    found.add_row("paid, spent", " / ".join(map(format_rubles, _sums(report))))
    found.add_row("orders in progress", str(user.active_jobs))
    found.add_row("banned", _banned(user))
    found.add_row("since, last seen", f"{moment(report.created_at)}, {moment(report.seen_at)} UTC")
    out.print(found)
    if report.bans:
        bans = table("Bans", "by", "since", "until", "why")
        for ban in report.bans:
            bans.add_row(
                escape(ban.source),
                moment(ban.created_at),
                moment(ban.expires_at),
                escape(ban.reason),
            )
        out.print(bans)
    moves = table("Ledger", "when", "what", "cause", "change", "balance", "note", right=(3, 4))
    for one in report.transfers:
        change = one.user_change_kopecks
        moves.add_row(
            moment(one.created_at),
            one.kind,
            escape(f"{one.ref_type} {one.ref_id}"),
            rubles_with_sign(change) if change else "",
            format_rubles(one.balance_after_kopecks),
            escape(one.note or ""),
        )
    out.print(moves)
    _show_payment_lines(report.payments, out)
    _show_job_lines(report.jobs, out)
    if report.actions:
        show_log(report.actions, out)


def _handle(user: User) -> str:
    return f"@{user.username}" if user.username else ""


def _sums(report: UserReport) -> tuple[int, int]:
    return report.paid_kopecks, report.spent_kopecks


def _banned(user: User) -> str:
    if not user.banned:
        return "no"
    until = "for good" if user.banned_until is None else f"until {moment(user.banned_until)} UTC"
    return f"[red]{until}[/]: {escape(user.ban_reason or '')}"


def show_payments(report: PaymentsReport, out: Console) -> None:
    """`rei payments`."""
    sums = table(
        f"Payments of {report.days} days", "status", "number", "sum", "mean", right=(1, 2, 3)
    )
    for one in report.sums:
        sums.add_row(
            one.status,
            str(one.count),
            format_rubles(one.total_kopecks),
            format_rubles(one.mean_kopecks),
        )
    sums.add_row("refunded", str(report.refunds), format_rubles(report.refunded_kopecks), "")
    out.print(sums)
    _show_payment_lines(report.latest, out)


def _show_payment_lines(lines: Sequence[PaymentLine], out: Console) -> None:
    found = table("Payments", "when", "user", "amount", "status", "refunded", "id", "at YooKassa",
                  right=(1, 2, 4))  # fmt: skip
    for one in lines:
        found.add_row(
            moment(one.created_at),
            str(one.user_id),
            format_rubles(one.amount_kopecks),
            one.status,
            format_rubles(one.refunded_kopecks) if one.refunded_kopecks else "",
            str(one.id),
            escape(one.provider_payment_id or NONE),
        )
    out.print(found)


def show_jobs(report: JobsReport, out: Console) -> None:
    """`rei jobs`."""
    sums = table(f"Jobs of {report.days} days", "model", "status", "number", "price", "takes",
                 right=(2, 3, 4))  # fmt: skip
    for one in report.sums:
        takes = NONE if one.mean_seconds is None else f"{one.mean_seconds:.1f} s"
        sums.add_row(one.model, one.status, str(one.count), format_rubles(one.price_kopecks), takes)
    out.print(sums)
    _show_job_lines(report.latest, out)


def _show_job_lines(jobs: Sequence[Job], out: Console) -> None:
    found = table("Jobs", "job", "ordered", "user", "status", "attempt", "price", "model", "what",
                  right=(0, 2, 5))  # fmt: skip
    for job in jobs:
        status = f"{job.status}: {job.error_code}" if job.error_code else job.status.value
        found.add_row(
            str(job.id),
            moment(job.created_at),
            str(job.user_id),
            status,
            f"{job.attempt}/{job.attempts_max}",
            format_rubles(job.price_kopecks),
            job.model,
            escape(excerpt(job.prompt, PROMPT_SHOWN_MAX)),
        )
    out.print(found)


def show_top(users: Sequence[TopUser], days: int, out: Console) -> None:
    """`rei top`."""
    found = table(f"Spent most in {days} days", "#", "user", "name", "pictures", "spent", "balance",
                  right=(0, 1, 3, 4, 5))  # fmt: skip
    for place, one in enumerate(users, 1):
        found.add_row(
            str(place),
            str(one.user_id),
            escape(f"@{one.username}" if one.username else NONE),
            str(one.jobs),
            format_rubles(one.spent_kopecks),
            format_rubles(one.balance_kopecks),
        )
    out.print(found)


def show_log(done: Sequence[Done], out: Console) -> None:
    """`rei log`."""
    found = table("Done by hand", "when", "who", "by", "what", "user", "change", "why", "operation",
                  right=(4, 5))  # fmt: skip
    for one in done:
        action = one.action
        found.add_row(
            moment(one.created_at),
            escape(action.actor.name),
            escape(action.actor.via),
            action.word,
            str(action.user_id),
            rubles_with_sign(action.amount_kopecks) if action.amount_kopecks else "",
            escape(action.reason),
            escape(action.operation_id),
        )
    out.print(found)
