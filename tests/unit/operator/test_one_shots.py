"""The one-shots and the ban: what each decides, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rei_core.errors import InsufficientFunds, OperationConflict, ReiError, UserUnknown
from rei_core.maintenance.adjustments.service import Adjusted
from rei_core.maintenance.model import RunResult
from rei_core.maintenance.resources import Backup, BalanceAdjustment, Restore, UserBan
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_operator import manifests
from rei_operator.actions import (
    Action,
    Adjust,
    Create,
    Delete,
    Event,
    PutBan,
    RunNow,
    Scale,
    SetStatus,
    Sleep,
)
from rei_operator.kinds import adjustment, backup, ban, restore
from rei_operator.kinds.restore import Done, Replicas
from rei_operator.manifests import JobTemplate

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CREATED = "2026-11-24T11:59:00Z"
TEMPLATE = JobTemplate(image="rei-operator:test", settings_secret="rei")
META = {
    "name": "one",
    "namespace": "rei",
    "uid": "u-1",
    "generation": 1,
    "creationTimestamp": CREATED,
}
VOLUME = {"volume": {"claimName": "backups"}}


def status_of(actions: tuple[Action, ...]) -> Any:
    (found,) = [action.status for action in actions if isinstance(action, SetStatus)]
    return found


def reason_of(actions: tuple[Action, ...], type_: str = "Succeeded") -> tuple[str, str]:
    condition = status_of(actions).condition(type_)
    return condition.status, condition.reason


def job(*, condition: str | None = None, reason: str = "", uid: str = "u-1") -> dict[str, Any]:
    conditions = [{"type": condition, "status": "True", "reason": reason}] if condition else []
    return {
        "kind": "Job",
        "metadata": {"name": "backup-one", "ownerReferences": [{"uid": uid}]},
        "status": {"conditions": conditions},
    }


def run_of(kind: str, status: RunStatus, *, error: str | None = None, **detail: Any) -> Run:
    return Run(
        id=1,
        key=RunKey(kind, "rei", "one", NOW),
        status=status,
        attempt=2,
        owner="job",
        result=RunResult(changed=4),
        detail=detail,
        error=error,
        started_at=NOW,
        finished_at=None if status is RunStatus.RUNNING else NOW,
    )


class TestBalanceAdjustment:
    def resource(self, status: dict[str, Any] | None = None) -> BalanceAdjustment:
        return BalanceAdjustment.of(
            {
                "kind": "BalanceAdjustment",
                "metadata": META,
                "spec": {
                    "userID": 7,
                    "amountKopecks": -500,
                    "reason": "a mistake",
                    "operationID": "ticket-1",
                },
                "status": status or {},
            }
        )

    def test_the_ledger_is_asked_first(self) -> None:
        assert adjustment.decide(self.resource(), adjustment.Facts(NOW)) == (Adjust(),)

    def test_what_it_said_is_told_event_first(self) -> None:
        facts = adjustment.Facts(NOW, Adjusted(1500, RunResult(changed=1), NOW))
        event, status = adjustment.decide(self.resource(), facts)
        assert isinstance(event, Event)
        assert event.reason == "BalanceAdjusted"
        assert reason_of((status,)) == ("True", "BalanceAdjusted")
        assert status_of((status,)).balance_after_kopecks == 1500
        assert status_of((status,)).completion_time == NOW

    @pytest.mark.parametrize(
        "refusal",
        [
            InsufficientFunds(user_id=7, balance_kopecks=100, amount_kopecks=500),
            OperationConflict("ticket-1"),
            UserUnknown(7),
        ],
    )
    def test_a_refusal_ends_it_with_its_own_name(self, refusal: ReiError) -> None:
        actions = adjustment.decide(self.resource(), adjustment.Facts(NOW, refusal))
        assert reason_of(actions) == ("False", type(refusal).__name__)
        assert status_of(actions).balance_after_kopecks is None

    def over(self, answer: str) -> BalanceAdjustment:
        condition = {
            "type": "Succeeded",
            "status": answer,
            "reason": "Any",
            "lastTransitionTime": CREATED,
        }
        return self.resource({"conditions": [condition], "completionTime": CREATED})

    @pytest.mark.parametrize("answer", ["True", "False"])
    def test_an_answer_ends_it_for_good(self, answer: str) -> None:
        assert adjustment.decide(self.over(answer), adjustment.Facts(NOW)) == ()

    def test_what_a_restored_ledger_has_forgotten_is_carried_out_again(self) -> None:
        over = self.over("True")
        assert adjustment.decide(over, adjustment.Facts(NOW, forgotten=True)) == (Adjust(),)
        event, status = adjustment.decide(
            over, adjustment.Facts(NOW, Adjusted(1500, RunResult(changed=1), NOW))
        )
        assert isinstance(event, Event)
        assert event.reason == "AdjustedAgain"
        assert reason_of((status,)) == ("True", "BalanceAdjusted")

    def test_what_another_operator_made_and_told_meanwhile_is_not_told_as_made_again(self) -> None:
        outcome = Adjusted(1500, RunResult(), NOW, repeated=True)
        assert adjustment.decide(self.over("True"), adjustment.Facts(NOW, outcome)) == ()

    def test_what_it_made_itself_and_another_operator_told_first_is_not_told_as_made_again(
        self,
    ) -> None:
        """Told in the second in which it was made, whole seconds being what a status tells."""
        made_at = datetime.fromisoformat(CREATED) + timedelta(milliseconds=400)
        outcome = Adjusted(1500, RunResult(changed=1), made_at)
        assert adjustment.decide(self.over("True"), adjustment.Facts(NOW, outcome)) == ()

    def test_what_cannot_be_carried_out_again_is_told(self) -> None:
        refusal = InsufficientFunds(user_id=7, balance_kopecks=100, amount_kopecks=500)
        actions = adjustment.decide(self.over("True"), adjustment.Facts(NOW, refusal))
        assert reason_of(actions) == ("False", "InsufficientFunds")

    def test_a_customer_whom_a_restored_database_does_not_know_gets_it_when_they_are_back(
        self,
    ) -> None:
        [event] = adjustment.decide(self.over("True"), adjustment.Facts(NOW, UserUnknown(7)))
        assert isinstance(event, Event)
        assert (event.type, event.reason) == ("Warning", "UserUnknown")


class TestUserBan:
    def resource(self, *, banned: bool = False, expires: str | None = None) -> UserBan:
        spec: dict[str, Any] = {"userID": 7, "reason": "fraud"}
        if expires:
            spec["expiresAt"] = expires
        status = {"banned": banned}
        return UserBan.of({"kind": "UserBan", "metadata": META, "spec": spec, "status": status})

    def test_it_is_put_at_every_look(self) -> None:
        assert ban.decide(self.resource(banned=True), ban.Facts(NOW)) == (PutBan(),)

    def test_in_force(self) -> None:
        actions = ban.decide(self.resource(), ban.Facts(NOW, asked=True, in_force=True))
        assert reason_of(actions, "Ready") == ("True", "Banned")
        assert status_of(actions).banned
        assert [one.reason for one in actions if isinstance(one, Event)] == ["UserBanned"]

    def test_told_once(self) -> None:
        facts = ban.Facts(NOW, asked=True, in_force=True)
        actions = ban.decide(self.resource(banned=True), facts)
        assert not [one for one in actions if isinstance(one, Event)]

    def test_it_comes_back_when_it_expires(self) -> None:
        expiring = self.resource(expires="2026-11-25T00:00:00Z")
        actions = ban.decide(expiring, ban.Facts(NOW, asked=True, in_force=True))
        assert actions[-1] == Sleep(datetime(2026, 11, 25, 0, 0, 1, tzinfo=UTC))

    def test_expired(self) -> None:
        expired = self.resource(banned=True, expires="2026-11-24T00:00:00Z")
        actions = ban.decide(expired, ban.Facts(NOW, asked=True, in_force=False))
        assert reason_of(actions, "Ready") == ("True", "Expired")
        assert not status_of(actions).banned
        assert [one.reason for one in actions if isinstance(one, Event)] == ["BanExpired"]

    def test_an_unknown_user_is_asked_about_again(self) -> None:
        actions = ban.decide(self.resource(), ban.Facts(NOW, asked=True, in_force=None))
        assert reason_of(actions, "Ready") == ("False", "UserUnknown")
        assert isinstance(actions[-1], Sleep)


class TestBackup:
    facts = backup.Facts(NOW, TEMPLATE)

    def resource(self, *, verification: str = "Restore") -> Backup:
        spec = {"storage": VOLUME, "verification": verification}
        return Backup.of({"kind": "Backup", "metadata": META, "spec": spec})

    def test_the_job_is_made_first_and_its_name_never_changes(self) -> None:
        (first,) = backup.decide(self.resource(), self.facts)
        later = replace(self.facts, now=NOW + timedelta(hours=1))
        (second,) = backup.decide(self.resource(), later)
        assert isinstance(first, Create)
        assert first.manifest == second.manifest  # type: ignore[union-attr]
        assert first.manifest["metadata"]["name"] == "backup-one"

    def test_while_it_runs_it_is_followed(self) -> None:
        facts = replace(self.facts, job=job(), run=run_of("Backup", RunStatus.RUNNING))
        actions = backup.decide(self.resource(), facts)
        assert reason_of(actions) == ("Unknown", "InProgress")
        assert isinstance(actions[-1], Sleep)

    def test_a_job_of_an_object_of_that_name_before_goes_first(self) -> None:
        facts = replace(self.facts, job=job(uid="u-0", condition="Complete"))
        actions = backup.decide(self.resource(), facts)
        assert actions[0] == Delete("Job", "backup-one")

    def test_its_outcome_is_told_from_its_run(self) -> None:
        found = run_of(
            "Backup",
            RunStatus.SUCCEEDED,
            backup_id="20261124t115900z-aa",
            size_bytes=10,
            checksum="ab",
            schema_revision="0002",
            transfers=3,
            verified="Restore",
            verified_time="2026-11-24T12:00:00+00:00",
        )
        actions = backup.decide(self.resource(), replace(self.facts, run=found))
        assert reason_of(actions) == ("True", "BackupVerified")
        status = status_of(actions)
        assert (status.backup_id, status.size_bytes) == ("20261124t115900z-aa", 10)
        assert (status.verified, status.verified_time) == ("Restore", NOW)
        assert status.completion_time == NOW

    def test_the_runs_word_comes_before_the_jobs(self) -> None:
        # The pod may die after it has written that it is done.
        found = run_of("Backup", RunStatus.SUCCEEDED, backup_id="x", size_bytes=1)
        facts = replace(self.facts, run=found, job=job(condition="Failed"))
        assert reason_of(backup.decide(self.resource(), facts))[0] == "True"

    @pytest.mark.parametrize(
        ("known", "condition", "why", "reason"),
        [
            (run_of("Backup", RunStatus.FAILED, error="no room"), None, "", "BackupFailed"),
            (None, "Failed", "BackoffLimitExceeded", "JobFailed"),
            (None, "Failed", "DeadlineExceeded", "TimedOut"),
            (None, "Complete", "", "OutcomeUnknown"),
        ],
    )
    def test_a_failure_says_why(
        self, known: Run | None, condition: str | None, why: str, reason: str
    ) -> None:
        facts = replace(self.facts, run=known, job=job(condition=condition, reason=why))
        actions = backup.decide(self.resource(), facts)
        assert reason_of(actions) == ("False", reason)
        assert [one.type for one in actions if isinstance(one, Event)] == ["Warning"]


class TestRestoreInPlace:
    base = restore.Facts(now=NOW, template=TEMPLATE, live_database="rei")

    def resource(self, status: dict[str, Any] | None = None, database: str = "rei") -> Restore:
        spec = {
            "stored": {"storage": VOLUME, "id": "20261124t115900z-aa"},
            "inPlace": {"confirmDatabase": database},
        }
        return Restore.of(
            {"kind": "Restore", "metadata": META, "spec": spec, "status": status or {}}
        )

    stopped = {"stoppedDeployments": {"rei-bot": 2, "rei-worker": 5}}  # noqa: RUF012 - never changed

    def deployments(self, *, wanted: bool, there: bool) -> dict[str, Replicas]:
        return {
            "rei-bot": Replicas(2 * wanted, 2 * there),
            "rei-worker": Replicas(5 * wanted, 5 * there),
        }

    def test_1_the_numbers_are_written_before_anything_is_stopped(self) -> None:
        facts = replace(self.base, deployments=self.deployments(wanted=True, there=True))
        actions = restore.decide(self.resource(), facts)
        assert status_of(actions).stopped_deployments == {"rei-bot": 2, "rei-worker": 5}
        assert not [one for one in actions if isinstance(one, Scale | Create)]

    def test_2_then_they_are_stopped(self) -> None:
        facts = replace(self.base, deployments=self.deployments(wanted=True, there=True))
        actions = restore.decide(self.resource(self.stopped), facts)
        assert {one for one in actions if isinstance(one, Scale)} == {
            Scale("rei-bot", 0),
            Scale("rei-worker", 0),
        }

    def test_2_and_their_pods_waited_for(self) -> None:
        facts = replace(self.base, deployments=self.deployments(wanted=False, there=True))
        (sleep,) = restore.decide(self.resource(self.stopped), facts)
        assert isinstance(sleep, Sleep)

    def test_3_only_then_the_job_is_made(self) -> None:
        facts = replace(self.base, deployments=self.deployments(wanted=False, there=False))
        (create,) = restore.decide(self.resource(self.stopped), facts)
        assert isinstance(create, Create)

    def test_4_then_payments_are_reconciled(self) -> None:
        done = Done("rei", "rei_before", "safety")
        facts = replace(
            self.base, deployments=self.deployments(wanted=False, there=False), done=done
        )
        (action,) = restore.decide(self.resource(self.stopped), facts)
        assert action == RunNow(restore.reconcile_key(self.resource()))

    left = Done("rei", "rei_before", "safety", complete=False)

    def test_4_but_not_while_the_job_is_at_its_last_step(self) -> None:
        stopped = self.deployments(wanted=False, there=False)
        facts = replace(self.base, deployments=stopped, done=self.left, job=job())
        actions = restore.decide(self.resource(self.stopped), facts)
        assert not [one for one in actions if isinstance(one, RunNow | Scale)]
        assert reason_of(actions) == ("Unknown", "InProgress")
        assert isinstance(actions[-1], Sleep)

    @pytest.mark.parametrize(
        "gone", [None, job(condition="Failed"), job(condition="Complete"), job(uid="u-0")]
    )
    def test_4_what_a_job_left_that_is_no_more_is_done_by_that_run(
        self, gone: dict[str, Any] | None
    ) -> None:
        facts = replace(
            self.base,
            deployments=self.deployments(wanted=False, there=False),
            done=self.left,
            job=gone,
            # It may have told a failure after the swap: there is no way back from there.
            failure=run_of("Restore", RunStatus.FAILED, error="the storage is away"),
        )
        (action,) = restore.decide(self.resource(self.stopped), facts)
        assert action == RunNow(restore.reconcile_key(self.resource()))

    def test_top_ups_that_cannot_be_carried_over_start_the_bot_and_are_told(self) -> None:
        run = run_of("RestoreReconciliation", RunStatus.SUCCEEDED)
        noted = replace(run, result=run.result.noting("the top-ups could not be carried over"))
        facts = replace(
            self.base,
            deployments=self.deployments(wanted=False, there=False),
            done=self.left,
            reconciled=noted,
        )
        actions = restore.decide(self.resource(self.stopped), facts)
        assert actions[:2] == (Scale("rei-bot", 2), Scale("rei-worker", 5))
        assert reason_of(actions) == ("False", "TopUpsNotCarriedOver")
        assert [one.type for one in actions if isinstance(one, Event)] == ["Warning"]
        condition = status_of(actions).condition("Succeeded")
        assert condition is not None
        assert "the top-ups could not be carried over" in condition.message
        assert status_of(actions).previous_database == "rei_before"

    def test_two_restores_never_share_a_mark(self) -> None:
        def named(name: str) -> Restore:
            metadata = {**META, "namespace": "n" * 63, "name": name}
            return Restore.of({**self.resource().document(), "metadata": metadata})

        one, other = named("x" * 51 + "y"), named("x" * 51 + "z")
        assert restore.operation_of(one) != restore.operation_of(other)
        assert len(restore.operation_of(one)) == 100
        assert restore.operation_of(self.resource()) == f"{META['namespace']}.{META['name']}"

    @pytest.mark.parametrize("settled", [RunStatus.SUCCEEDED, RunStatus.FAILED])
    def test_5_and_6_then_they_get_back_what_they_had_and_it_is_told(
        self, settled: RunStatus
    ) -> None:
        error = "away" if settled is RunStatus.FAILED else None
        facts = replace(
            self.base,
            deployments=self.deployments(wanted=False, there=False),
            done=Done("rei", "rei_before", "safety"),
            reconciled=run_of("RestoreReconciliation", settled, error=error),
        )
        actions = restore.decide(self.resource(self.stopped), facts)
        assert actions[:2] == (Scale("rei-bot", 2), Scale("rei-worker", 5))
        assert reason_of(actions) == ("True", "Restored")
        status = status_of(actions)
        assert (status.database, status.previous_database) == ("rei", "rei_before")
        assert status.safety_backup_id == "safety"
        assert status.payments_settled == (None if error else 4)

    def test_a_failure_gives_them_back_too(self) -> None:
        facts = replace(
            self.base,
            deployments=self.deployments(wanted=False, there=False),
            failure=run_of("Restore", RunStatus.FAILED, error="it is damaged"),
        )
        actions = restore.decide(self.resource(self.stopped), facts)
        assert actions[:2] == (Scale("rei-bot", 2), Scale("rei-worker", 5))
        assert reason_of(actions) == ("False", "RestoreFailed")

    def test_what_somebody_has_started_again_is_left_as_it_is(self) -> None:
        facts = replace(
            self.base,
            deployments=self.deployments(wanted=True, there=True),
            failure=run_of("Restore", RunStatus.FAILED, error="no"),
        )
        actions = restore.decide(self.resource(self.stopped), facts)
        assert not [one for one in actions if isinstance(one, Scale)]

    def test_another_databases_name_stops_nothing(self) -> None:
        facts = replace(self.base, deployments=self.deployments(wanted=True, there=True))
        actions = restore.decide(self.resource(database="other"), facts)
        assert reason_of(actions) == ("False", "NotConfirmed")
        assert not [one for one in actions if isinstance(one, Scale | Create)]

    def test_a_manifest_applied_again_finds_that_it_is_done(self) -> None:
        facts = replace(
            self.base,
            deployments=self.deployments(wanted=True, there=True),
            done=Done("rei", "rei_before", "safety"),
            reconciled=run_of("RestoreReconciliation", RunStatus.SUCCEEDED),
        )
        actions = restore.decide(self.resource(), facts)
        assert not [one for one in actions if isinstance(one, Scale | Create | Delete)]
        assert reason_of(actions) == ("True", "Restored")


class TestRestoreIntoNew:
    base = restore.Facts(now=NOW, template=TEMPLATE, live_database="rei")

    def resource(self) -> Restore:
        spec = {"backupRef": {"name": "nightly"}, "targetDatabase": "rei_copy"}
        return Restore.of({"kind": "Restore", "metadata": META, "spec": spec})

    def taken(self, answer: str) -> Backup:
        condition = {
            "type": "Succeeded",
            "status": answer,
            "reason": "Any",
            "lastTransitionTime": CREATED,
        }
        status = {"conditions": [condition], "backupID": "20261124t115900z-aa"}
        spec = {"storage": VOLUME}
        return Backup.of({"kind": "Backup", "metadata": META, "spec": spec, "status": status})

    def test_it_waits_for_its_backup(self) -> None:
        assert reason_of(restore.decide(self.resource(), self.base)) == (
            "Unknown",
            "BackupNotFound",
        )
        facts = replace(self.base, backup=self.taken("Unknown"))
        assert reason_of(restore.decide(self.resource(), facts)) == ("Unknown", "BackupNotReady")

    def test_the_job_gets_the_backup_by_storage_and_id(self) -> None:
        facts = replace(self.base, backup=self.taken("True"))
        (create,) = restore.decide(self.resource(), facts)
        assert isinstance(create, Create)
        (container,) = create.manifest["spec"]["template"]["spec"]["containers"]
        variables = {one["name"]: one.get("value", "") for one in container["env"]}
        assert '"id":"20261124t115900z-aa"' in variables[manifests.RESOURCE_VARIABLE]
        assert "backupRef" not in variables[manifests.RESOURCE_VARIABLE]

    def test_nothing_is_stopped_and_nothing_reconciled(self) -> None:
        facts = replace(self.base, backup=self.taken("True"), done=Done("rei_copy"))
        actions = restore.decide(self.resource(), facts)
        assert not [one for one in actions if isinstance(one, Scale | RunNow)]
        assert reason_of(actions) == ("True", "Restored")
        assert status_of(actions).consistent is True
