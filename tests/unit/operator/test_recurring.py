"""When a recurring resource runs, and what its status tells of the runs that PostgreSQL knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.maintenance.model import RunResult
from rei_core.maintenance.resources import REQUESTED_AT, StuckJobPolicy
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_operator.actions import Action, Event, RunNow, SetStatus, Sleep
from rei_operator.kinds import recurring
from rei_operator.kinds.recurring import Facts

NOW = datetime(2026, 11, 24, 12, 2, 30, tzinfo=UTC)
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NEXT = NOON + timedelta(minutes=5)


def policy(
    *,
    annotations: dict[str, str] | None = None,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> StuckJobPolicy:
    return StuckJobPolicy.of(
        {
            "kind": "StuckJobPolicy",
            "metadata": {
                "name": "stuck",
                "namespace": "rei",
                "uid": "u-1",
                "generation": 3,
                "creationTimestamp": "2026-11-24T11:00:00Z",
                "annotations": annotations or {},
            },
            "spec": {
                name: value
                for name, value in {"periodSeconds": 300, **spec}.items()
                if value is not None
            },
            "status": status or {},
        }
    )


def run(
    moment: datetime = NOON,
    status: RunStatus = RunStatus.SUCCEEDED,
    *,
    result: RunResult | None = None,
    error: str | None = None,
) -> Run:
    ended = None if status is RunStatus.RUNNING else moment + timedelta(seconds=7)
    return Run(
        id=1,
        key=RunKey("StuckJobPolicy", "rei", "stuck", moment),
        status=status,
        attempt=1,
        owner="test",
        result=result or RunResult(examined=9),
        detail={},
        error=error,
        started_at=moment + timedelta(seconds=2),
        finished_at=ended,
    )


def status_of(actions: tuple[Action, ...]) -> Any:
    (found,) = [action.status for action in actions if isinstance(action, SetStatus)]
    return found


def events_of(actions: tuple[Action, ...]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, Event)]


def test_what_is_due_runs_under_the_key_of_its_moment() -> None:
    (action,) = recurring.decide(policy(), Facts(NOW))
    assert action == RunNow(RunKey("StuckJobPolicy", "rei", "stuck", NOON))


def test_two_operators_arrive_at_the_same_key() -> None:
    later = Facts(NOW + timedelta(minutes=2))
    assert recurring.decide(policy(), Facts(NOW)) == recurring.decide(policy(), later)


def test_a_request_that_named_next_year_does_not_hold_up_the_schedule() -> None:
    asked_for = run(NOON + timedelta(days=365, microseconds=1))
    (action,) = recurring.decide(policy(), Facts(NOW, (asked_for,)))
    assert action == RunNow(RunKey("StuckJobPolicy", "rei", "stuck", NOON))
    assert recurring.decide(policy(), Facts(NOW, (asked_for, run())))[-1] == Sleep(NEXT)


def test_a_run_whose_process_died_is_gone_on_with_before_anything_new() -> None:
    open_run = run(NOON - timedelta(minutes=5), RunStatus.RUNNING)
    (action,) = recurring.decide(policy(), Facts(NOW, (open_run,)))
    assert action == RunNow(open_run.key)


def test_a_run_that_was_asked_for_long_ago_and_cut_off_is_gone_on_with_as_well() -> None:
    asked_for = run(NOON - timedelta(days=3), RunStatus.RUNNING)
    facts = Facts(NOW, (run(),), asked_for)
    assert recurring.decide(policy(), facts) == (RunNow(asked_for.key),)


def test_after_its_run_it_tells_and_sleeps_until_the_next() -> None:
    done = run(result=RunResult(examined=9, changed=2, amount_kopecks=4200))
    actions = recurring.decide(policy(), Facts(NOW, (done,)))
    status = status_of(actions)
    assert status.last_run_time == NOON + timedelta(seconds=2)
    assert status.last_run_seconds == 5
    assert status.last_success_time == NOON + timedelta(seconds=7)
    assert status.last_scheduled_time == NOON
    assert status.next_run_time == NEXT
    assert status.observed_generation == 3
    assert status.last_result.changed == 2
    assert status.last_result.amount_kopecks == 4200
    ready = status.condition("Ready")
    assert (ready.status, ready.reason) == ("True", "RunSucceeded")
    assert events_of(actions) == ["StuckJobsEnded"]
    assert actions[-1] == Sleep(NEXT)


def test_the_event_comes_before_the_status_that_ends_the_telling() -> None:
    done = run(result=RunResult(changed=2))
    actions = recurring.decide(policy(), Facts(NOW, (done,)))
    kinds = [type(action) for action in actions]
    assert kinds.index(Event) < kinds.index(SetStatus)


def test_what_is_told_already_is_not_told_again() -> None:
    facts = Facts(NOW, (run(result=RunResult(changed=2)),))
    told = policy(status=status_of(recurring.decide(policy(), facts)).document())
    again = recurring.decide(told, facts)
    assert events_of(again) == []
    assert status_of(again).document() == told.status.document()


@pytest.mark.parametrize(
    ("last", "answer", "reason"),
    [
        (run(), "True", "RunSucceeded"),
        (run(status=RunStatus.FAILED, error="no room"), "False", "RunFailed"),
        (run(result=RunResult(failed=1)), "False", "RunPartlyFailed"),
    ],
)
def test_ready_says_how_the_last_run_went(last: Run, answer: str, reason: str) -> None:
    actions = recurring.decide(policy(), Facts(NOW, (last,)))
    ready = status_of(actions).condition("Ready")
    assert (ready.status, ready.reason) == (answer, reason)
    assert (reason in events_of(actions)) == (answer == "False")


def test_a_success_is_remembered_over_later_failures() -> None:
    good = run(NOON - timedelta(minutes=5))
    bad = run(NOON, RunStatus.FAILED, error="no")
    status = status_of(recurring.decide(policy(), Facts(NOW, (bad, good))))
    assert status.last_success_time == good.finished_at
    status = status_of(recurring.decide(policy(status=status.document()), Facts(NOW, (bad,))))
    assert status.last_success_time == good.finished_at


def test_before_the_first_run_nothing_is_known() -> None:
    fresh = policy(schedule="0 3 * * *", periodSeconds=None)
    ready = status_of(recurring.decide(fresh, Facts(NOW))).condition("Ready")
    assert (ready.status, ready.reason) == ("Unknown", "NoRunYet")
    assert "2026-11-25T03:00:00Z" in ready.message


def test_suspended_it_sleeps_for_good() -> None:
    actions = recurring.decide(policy(suspend=True), Facts(NOW, (run(),)))
    assert not [action for action in actions if isinstance(action, Sleep | RunNow)]
    status = status_of(actions)
    assert status.next_run_time is None
    assert status.condition("Ready").reason == "Suspended"


def test_a_request_runs_while_suspended_and_is_told_as_answered() -> None:
    asking = policy(suspend=True, annotations={REQUESTED_AT: "2026-11-24T15:00:00+03:00"})
    (action,) = recurring.decide(asking, Facts(NOW, (run(),)))
    assert isinstance(action, RunNow)
    assert action.key == recurring.key_of_request(asking)
    answered = run(action.key.scheduled_for)
    status = status_of(recurring.decide(asking, Facts(NOW, (answered,), answered)))
    assert status.last_requested_time == NOON
    told = asking.model_copy(update={"status": status})
    assert not [
        one for one in recurring.decide(told, Facts(NOW, (answered,))) if isinstance(one, RunNow)
    ]


def test_a_request_is_never_taken_for_a_moment_of_the_schedule() -> None:
    asking = policy(annotations={REQUESTED_AT: "2026-11-24T12:00:00Z"})
    key = recurring.key_of_request(asking)
    assert key is not None
    assert key.scheduled_for != NOON


def test_a_request_that_is_no_time_is_complained_about_and_the_schedule_goes_on() -> None:
    asking = policy(annotations={REQUESTED_AT: "now please"})
    assert recurring.key_of_request(asking) is None
    assert recurring.decide(asking, Facts(NOW)) == (RunNow(recurring.key_of(asking, NOON)),)
    actions = recurring.decide(asking, Facts(NOW, (run(),)))
    assert events_of(actions) == ["BadRequest"]
    assert actions[-1] == Sleep(NEXT)


def test_a_run_that_is_too_late_is_left_out_and_told_once_by_its_moment() -> None:
    late = policy(startingDeadlineSeconds=60)
    actions = recurring.decide(late, Facts(NOW))
    (event,) = [action for action in actions if isinstance(action, Event)]
    assert (event.reason, event.once) == ("RunMissed", NOON.isoformat())
    assert actions[-1] == Sleep(NEXT)


@given(days=st.integers(1, 400), seconds=st.integers(0, 86_399))
def test_an_outage_however_long_is_made_up_for_by_one_run(days: int, seconds: int) -> None:
    now = NOW + timedelta(days=days, seconds=seconds)
    (action,) = recurring.decide(policy(), Facts(now, (run(),)))
    assert isinstance(action, RunNow)
    made_up = run(action.key.scheduled_for)
    after = recurring.decide(policy(), Facts(now, (made_up, run())))
    assert not [one for one in after if isinstance(one, RunNow)]


def test_the_transition_time_moves_only_with_the_answer() -> None:
    first = status_of(recurring.decide(policy(), Facts(NOW, (run(),))))
    later = NOW + timedelta(minutes=5)
    second_run = run(NEXT)
    told = policy(status=first.document())
    second = status_of(recurring.decide(told, Facts(later, (second_run, run()))))
    assert second.condition("Ready").last_transition_time == NOW.replace(microsecond=0)
    failed = run(NEXT, RunStatus.FAILED, error="no")
    third = status_of(recurring.decide(told, Facts(later, (failed, run()))))
    assert third.condition("Ready").last_transition_time == later


def test_a_message_holds_no_secret_and_is_bounded() -> None:
    error = "cannot reach postgresql://rei:hunter2@db/rei " + "x" * 5000
    failed = run(status=RunStatus.FAILED, error=error)
    ready = status_of(recurring.decide(policy(), Facts(NOW, (failed,)))).condition("Ready")
    assert "hunter2" not in ready.message
    assert len(ready.message) <= 1024


def test_the_interval_is_that_of_the_next_two_runs() -> None:
    assert recurring.expected_interval_seconds(policy(), NOW) == 300
    nightly = policy(schedule="0 3 * * *", periodSeconds=None)
    assert recurring.expected_interval_seconds(nightly, NOW) == 86_400
    assert recurring.expected_interval_seconds(policy(suspend=True), NOW) is None
