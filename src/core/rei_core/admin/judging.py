"""Is the shop well? What a glance shows, judged; pure. Every judgement has its cause and its mending."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from rei_core.admin.reports import Glance, LastRun, Waiting

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
DAY: Final = 86_400.0

QUEUE_MAX: Final = 100
QUEUE_SECONDS_MAX: Final = 10 * MINUTE
NO_WORKER_SECONDS: Final = 5 * MINUTE
PAYMENT_SECONDS_MAX: Final = 2 * HOUR
"""A payer has one hour; the rest is for the reconciliation."""
DELIVERY_SECONDS_MAX: Final = 15 * MINUTE


class Verdict(enum.StrEnum):
    """How bad it is. WARN: look at it today. FAIL: customers or money suffer now."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `remedy` says what to do when it is not all right."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Nothing suffers from it now."""
        return self.verdict is not Verdict.FAIL


@dataclass(frozen=True, slots=True)
class Habit:
    """A kind of maintenance that has to happen: how old its last run may be."""

    name: str
    kind: str
    age_seconds_max: float
    too_old: Verdict
    remedy: str


HABITS: Final = (
    Habit("reconciliation", "PaymentReconciliation", DAY, Verdict.WARN,
          "kubectl rei reconcile, or rei run -f k8s/samples/paymentreconciliation.yaml"),
    Habit("audit", "LedgerAudit", 2 * DAY, Verdict.WARN,
          "kubectl apply (or rei run) -f k8s/samples/ledgeraudit.yaml"),
    Habit("backup", "Backup", 2 * DAY, Verdict.FAIL,
          "kubectl rei backup, or rei run -f k8s/samples/backupschedule.yaml"),
)  # fmt: skip
STATE: Final = (
    "queue", "stuck-jobs", "orders", "payments", "refunds", "deliveries",
    *(habit.name for habit in HABITS),
)  # fmt: skip
"""What is judged, by name."""


def judge(glance: Glance) -> list[Finding]:
    """Every judgement, in the order of `STATE`."""
    return [
        _queue(glance),
        _stuck(glance),
        _orders(glance),
        _payments(glance.payments),
        _refunds(glance.refunds),
        _deliveries(glance.deliveries),
        *(_habit(habit, glance) for habit in HABITS),
    ]


def _queue(glance: Glance) -> Finding:
    queue = glance.queue
    detail = f"{queue.queued} waiting, {queue.processing} at work"
    if queue.queued:
        detail += f", the oldest for {ago(queue.oldest_queued_seconds)}"
    if queue.due and not queue.processing and queue.oldest_queued_seconds > NO_WORKER_SECONDS:
        return Finding("queue", Verdict.FAIL, f"{detail}: nobody works",
                       "Are the workers up? kubectl get pods, or start `rei worker`")  # fmt: skip
    if queue.queued > QUEUE_MAX or queue.oldest_queued_seconds > QUEUE_SECONDS_MAX:
        return Finding("queue", Verdict.WARN, detail, "More workers, or a higher concurrency")
    return Finding("queue", Verdict.OK, detail)


def _stuck(glance: Glance) -> Finding:
    lapsed = glance.queue.lapsed
    if not lapsed + glance.overdue:
        return Finding("stuck-jobs", Verdict.OK, "none")
    detail = f"{lapsed} without a worker, {glance.overdue} past their deadline"
    remedy = "Seconds after a crash that is normal; if it stays: kubectl rei stuck"
    return Finding("stuck-jobs", Verdict.WARN, detail, remedy)


def _orders(glance: Glance) -> Finding:
    if not glance.paused:
        return Finding("orders", Verdict.OK, "taken")
    detail = ", ".join(f"{one.name} ({one.reason})" for one in glance.paused)
    remedy = (
        "Nobody is charged meanwhile, and it ends by itself once the provider answers; "
        "rei api test says what it answers"
    )
    return Finding("orders", Verdict.FAIL, f"paused: {detail}", remedy)


def _payments(waiting: Waiting) -> Finding:
    remedy = "kubectl rei reconcile; do YooKassa's notifications reach /webhook/yookassa?"
    return _wait("payments", waiting, warn=PAYMENT_SECONDS_MAX, fail=DAY, remedy=remedy)


def _refunds(waiting: Waiting) -> Finding:
    remedy = "rei refund list; kubectl rei reconcile finishes what YooKassa knows"
    return _wait("refunds", waiting, warn=PAYMENT_SECONDS_MAX, fail=DAY, remedy=remedy)


def _deliveries(waiting: Waiting) -> Finding:
    remedy = "Do the workers reach Telegram? Their log says why a message is not taken"
    return _wait("deliveries", waiting, warn=DELIVERY_SECONDS_MAX, fail=HOUR, remedy=remedy)


def _wait(name: str, waiting: Waiting, *, warn: float, fail: float, remedy: str) -> Finding:
    if not waiting.count:
        return Finding(name, Verdict.OK, "none waits")
    detail = f"{waiting.count} waiting, the oldest for {ago(waiting.oldest_seconds)}"
    if waiting.oldest_seconds <= warn:
        return Finding(name, Verdict.OK, detail)
    verdict = Verdict.FAIL if waiting.oldest_seconds > fail else Verdict.WARN
    return Finding(name, verdict, detail, remedy)


def _habit(habit: Habit, glance: Glance) -> Finding:
    last = next((run for run in glance.runs if run.kind == habit.kind), None)
    if last is None:
        if not glance.customers:
            return Finding(habit.name, Verdict.OK, "never yet: there are no customers")
        return Finding(habit.name, Verdict.WARN, f"no {habit.kind} has ever run", habit.remedy)
    when = f"{ago(last.age_seconds)} ago"
    if not last.ok:
        return Finding(habit.name, Verdict.FAIL, f"{_what_failed(last)}, {when}", habit.remedy)
    if last.age_seconds > habit.age_seconds_max:
        return Finding(habit.name, habit.too_old, f"the last one was {when}", habit.remedy)
    if habit.kind == "Backup" and not last.verified:
        remedy = "Set `verification: Restore` in the BackupSchedule"
        return Finding(habit.name, Verdict.WARN, f"{when}, and nobody has proved it", remedy)
    return Finding(habit.name, Verdict.OK, when)


def _what_failed(last: LastRun) -> str:
    return f"failed: {last.error}" if last.error else "violations found"


def ago(seconds: float) -> str:
    """`40 s`, `12 min`, `5 h`, `3 d`."""
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
