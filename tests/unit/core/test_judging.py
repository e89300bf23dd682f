"""What `rei doctor` thinks of what it sees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rei_core.admin.judging import DAY, HOUR, MINUTE, STATE, Finding, Verdict, judge
from rei_core.admin.reports import Day, Glance, LastRun, Waiting
from rei_core.images.circuits import OpenCircuit
from rei_core.jobs.model import QueueState

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NOTHING = Waiting(0, 0.0)


def run(kind: str, age: float = HOUR, **changes: object) -> LastRun:
    last = LastRun(kind, NOW, age, ok=True, verified=True, error=None)
    return replace(last, **changes)  # type: ignore[arg-type]


QUIET = QueueState(
    queued=0, due=0, retrying=0, processing=0, lapsed=0, oldest_queued_seconds=0,
    oldest_at_work_seconds=0, mean_seconds=10, held_kopecks=0,
)  # fmt: skip
WELL = Glance(
    queue=QUIET,
    overdue=0,
    paused=(),
    payments=NOTHING,
    refunds=NOTHING,
    deliveries=NOTHING,
    customers=5,
    banned=0,
    day=Day(0, 0, 0, 0, 0),
    runs=(run("Backup"), run("LedgerAudit"), run("PaymentReconciliation")),
)


def found(glance: Glance, name: str) -> Finding:
    return next(one for one in judge(glance) if one.name == name)


def test_a_shop_that_is_well_is_all_right_everywhere() -> None:
    findings = judge(WELL)
    assert tuple(one.name for one in findings) == STATE
    assert {one.verdict for one in findings} == {Verdict.OK}


def waiting(queued: int, seconds: float, *, processing: int = 1, due: int = 1) -> Glance:
    queue = replace(
        QUIET, queued=queued, due=due, processing=processing, oldest_queued_seconds=seconds
    )
    return replace(WELL, queue=queue)


ILL = [
    ("queue", waiting(100, 10 * MINUTE), Verdict.OK),
    ("queue", waiting(101, 1), Verdict.WARN),
    ("queue", waiting(1, 10 * MINUTE + 1), Verdict.WARN),
    ("queue", waiting(1, 5 * MINUTE, processing=0), Verdict.OK),
    ("queue", waiting(1, 5 * MINUTE + 1, processing=0), Verdict.FAIL),
    ("queue", waiting(1, 5 * MINUTE + 1, processing=0, due=0), Verdict.OK),
    ("stuck-jobs", replace(WELL, queue=replace(QUIET, lapsed=1)), Verdict.WARN),
    ("stuck-jobs", replace(WELL, overdue=1), Verdict.WARN),
    ("orders", replace(WELL, paused=(OpenCircuit("provider", "bad_key", None),)), Verdict.FAIL),
    ("payments", replace(WELL, payments=Waiting(9, 2 * HOUR)), Verdict.OK),
    ("payments", replace(WELL, payments=Waiting(1, 2 * HOUR + 1)), Verdict.WARN),
    ("payments", replace(WELL, payments=Waiting(1, DAY + 1)), Verdict.FAIL),
    ("refunds", replace(WELL, refunds=Waiting(1, DAY + 1)), Verdict.FAIL),
    ("deliveries", replace(WELL, deliveries=Waiting(1, 15 * MINUTE + 1)), Verdict.WARN),
    ("deliveries", replace(WELL, deliveries=Waiting(1, HOUR + 1)), Verdict.FAIL),
    ("backup", replace(WELL, runs=()), Verdict.WARN),
    ("backup", replace(WELL, runs=(), customers=0), Verdict.OK),
    ("backup", replace(WELL, runs=(run("Backup", 2 * DAY + 1),)), Verdict.FAIL),
    ("backup", replace(WELL, runs=(run("Backup", ok=False, error="full"),)), Verdict.FAIL),
    ("backup", replace(WELL, runs=(run("Backup", verified=False),)), Verdict.WARN),
    ("audit", replace(WELL, runs=(run("LedgerAudit", ok=False),)), Verdict.FAIL),
    ("audit", replace(WELL, runs=(run("LedgerAudit", 2 * DAY + 1),)), Verdict.WARN),
    ("audit", replace(WELL, runs=(run("LedgerAudit", verified=False),)), Verdict.OK),
    ("reconciliation", replace(WELL, runs=()), Verdict.WARN),
]


@pytest.mark.parametrize(("name", "glance", "verdict"), ILL)
def test_what_is_ill_is_judged_and_has_its_remedy(
    name: str, glance: Glance, verdict: Verdict
) -> None:
    finding = found(glance, name)
    assert finding.verdict is verdict, finding
    assert bool(finding.remedy) is (verdict is not Verdict.OK)


def test_everything_that_is_judged_has_been_ill_here() -> None:
    assert {name for name, _, verdict in ILL if verdict is not Verdict.OK} == set(STATE)
