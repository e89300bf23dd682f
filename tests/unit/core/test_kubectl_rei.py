"""`kubectl rei` without a cluster: which command lines it runs, and what becomes of their answers."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rei_core.commands.doctor import SERVICES, SHOP
from rei_core.errors import OperationConflict
from rei_core.kubectl import manifests, work
from rei_core.kubectl.cli import kubectl_rei
from rei_core.kubectl.client import Json, KubectlFailed
from rei_core.kubectl.pods import NoPod, pod_of
from rei_core.maintenance.resources import BalanceAdjustment, Restore, UserBan
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.maintenance.resources.users import UserBanSpec

SPEC = BalanceAdjustmentSpec(
    user_id=1, amount_kopecks=30_000, reason="ticket 17", operation_id="ticket-17"
)


def pod(name: str, labels: dict[str, str], *, ready: str = "True", **metadata: str) -> Json:
    return {
        "metadata": {"name": name, "labels": labels, **metadata},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def test_a_ready_pod_of_the_part_is_taken() -> None:
    chart, plain = {"app.kubernetes.io/component": "operator"}, {
        "app.kubernetes.io/name": "rei-operator"
    }  # fmt: skip
    bot = pod("a-bot", {"app.kubernetes.io/component": "bot"})
    gone = pod("b-gone", chart, deletionTimestamp="2026-11-28T00:00:00Z")
    starting = pod("c-starting", chart, ready="False")
    for labels in (chart, plain):
        assert pod_of([bot, gone, starting, pod("d", labels)], "operator") == "d"
    with pytest.raises(NoPod, match="operator is ready"):
        pod_of([bot, gone, starting], "operator")


def test_manifests_are_what_the_operator_reads() -> None:
    made = manifests.adjustment(SPEC, by="anna")
    assert BalanceAdjustment.of(made).spec == SPEC
    assert made["metadata"] == {
        "name": "ticket-17",
        "annotations": {"rei.bot/requested-by": "anna"},
    }
    ban = UserBanSpec(user_id=7, reason="spam")
    assert UserBan.of(manifests.user_ban(ban, by="anna")).spec == ban


def test_a_name_that_no_object_may_have_is_replaced_and_stays_its_own() -> None:
    names = {manifests.name_of_operation(one) for one in ("Ticket/17", "ticket/17", "a" * 64)}
    assert len(names) == 3
    assert all(name.startswith("operation-") for name in names)
    assert manifests.name_of_operation("ticket/17") == manifests.name_of_operation("ticket/17")


class FakeCluster:
    """Holds objects; `answer` is what the operator says once it has seen one."""

    def __init__(self, answer: Callable[[Json], Json | None]) -> None:
        self.answer = answer
        self.objects: dict[str, Json] = {}
        self.lost_answers = 0
        self.created = 0

    def json(self, *words: str, stdin: Json | None = None) -> Json:
        match words[0]:
            case "create":
                assert stdin is not None
                return self._create(stdin)
            case "get":
                return self.objects[words[2]]
            case _:
                raise AssertionError(words)

    def _create(self, manifest: Json) -> Json:
        name = manifest["metadata"]["name"]
        if name in self.objects:
            raise KubectlFailed(["create"], f'Error from server (AlreadyExists): "{name}"')
        self.created += 1
        told = self.answer(manifest)
        self.objects[name] = manifest | ({"status": told} if told else {})
        if self.lost_answers:
            self.lost_answers -= 1
            raise KubectlFailed(["create"], "error: unexpected EOF")
        return self.objects[name]

    def text(self, *words: str, any_status: bool = False) -> str:
        del any_status
        assert words[0] == "delete"
        del self.objects[words[2]]
        return ""

    def through(self, *words: str) -> int:
        raise AssertionError(words)


def condition(status: str, reason: str) -> Json:
    return {
        "conditions": [{"type": "Succeeded", "status": status, "reason": reason, "message": "m"}]
    }


def adjusted(manifest: Json) -> Json:
    return condition("True", "BalanceAdjusted") | {
        "balanceAfterKopecks": manifest["spec"]["amountKopecks"]
    }


def change(cluster: FakeCluster, spec: BalanceAdjustmentSpec = SPEC) -> bool:
    return work.change_balance(cluster, spec, by="anna", wait_seconds=0).repeated


def test_a_credit_whose_answer_was_lost_is_found_by_the_same_command() -> None:
    cluster = FakeCluster(adjusted)
    cluster.lost_answers = 1
    with pytest.raises(KubectlFailed, match="EOF"):
        change(cluster)
    assert change(cluster)
    assert cluster.created == 1


def test_another_amount_under_the_same_name_is_a_conflict() -> None:
    cluster = FakeCluster(adjusted)
    assert not change(cluster)
    with pytest.raises(OperationConflict):
        change(cluster, SPEC.model_copy(update={"amount_kopecks": 1}))
    assert cluster.created == 1


def test_one_that_was_refused_makes_way_for_who_asks_again() -> None:
    cluster = FakeCluster(lambda _: condition("False", "InsufficientFunds"))
    with pytest.raises(work.Refused, match="InsufficientFunds"):
        change(cluster)
    cluster.answer = adjusted
    assert not change(cluster)
    assert cluster.created == 2


def test_an_operator_that_is_silent_is_told_and_nothing_is_made_twice() -> None:
    cluster = FakeCluster(lambda _: None)
    for _ in range(2):
        with pytest.raises(work.NotYet, match="Is the operator up"):
            change(cluster)
    assert cluster.created == 1


# --- the command line -----------------------------------------------------------------------------

# Writes down what it is called with, and answers what is asked before a command is run in a pod.
KUBECTL = """#!{python}
import json, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + "\\n")
if "whoami" in words:
    print(json.dumps({{"status": {{"userInfo": {{"username": "anna"}}}}}}))
elif "pods" in words:
    print(json.dumps({{"items": [{pod}]}}))
elif "exec" in words:
    sys.exit(7)
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands run has been called with, line by line."""
    log, program = tmp_path / "log", tmp_path / "kubectl"
    there = json.dumps(pod("rei-operator-x", {"app.kubernetes.io/component": "operator"}))
    program.write_text(KUBECTL.format(python=sys.executable, log=str(log), pod=there))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("KUBECTL", str(program))
    return log


def rei(*words: str) -> Result:
    return CliRunner().invoke(kubectl_rei, words, prog_name="kubectl rei")


def called(log: Path) -> list[list[str]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


IN_POD = ["exec", "pod/rei-operator-x", "--container=operator", "--", "rei"]


@pytest.mark.parametrize(
    ("typed", "run"),
    [
        (["status"], ["status"]),
        (["user", "4711", "--limit", "3", "-o", "json"],
         ["user", "--limit=3", "--output=json", "--", "4711"]),
        (["payments", "--user=5", "--days=2"], ["payments", "--days=2", "--user=5"]),
        (["audit"], ["audit"]),
        (["refund", "list"], ["refund", "list"]),
        (["refund", "start", "2f1c", "12,50", "--reason", "-x", "--yes"],
         ["refund", "start", "--reason=-x", "--yes", "--by=kubernetes:anna", "--", "2f1c", "12.50"]),
    ],
)  # fmt: skip
def test_a_word_that_looks_is_run_in_the_pod(
    kubectl: Path, typed: list[str], run: list[str]
) -> None:
    ended = rei(*typed, "-n", "shop", "--context", "production")
    assert ended.exit_code == 7, "the exit status is that of the word in the pod"
    where = ["--namespace=shop", "--context=production"]
    assert called(kubectl)[-1] == [*where, *IN_POD, *run]
    assert all(words[:2] == where for words in called(kubectl))


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        (["-n", "shop", "status"], ["--namespace=shop"]),
        (["-n", "shop", "status", "-n", "other"], ["--namespace=other"]),
        (
            ["--kubeconfig=k", "refund", "list", "-n", "shop"],
            ["--namespace=shop", "--kubeconfig=k"],
        ),
        (["status"], []),
    ],
)
def test_where_it_is_stands_before_the_word_or_behind_it(
    kubectl: Path, typed: list[str], options: list[str]
) -> None:
    assert rei(*typed).exit_code == 7
    exec_words = called(kubectl)[-1]
    assert exec_words[: exec_words.index("exec")] == options


@pytest.mark.parametrize(
    "typed",
    [
        ["user", "nobody"],
        ["payments", "--days", "0"],
        ["credit", "1", "0", "--reason", "r"],
        ["credit", "1", "10000", "--reason", "r"],
        ["restore", "b"],
        ["restore", "b", "--into", "x", "--in-place", "y"],
    ],
)
def test_nonsense_never_reaches_the_cluster(kubectl: Path, typed: list[str]) -> None:
    assert rei(*typed).exit_code == 2
    assert not kubectl.exists()


def test_a_kubectl_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL", "/nowhere/kubectl")
    error: Any = rei("status").exception
    assert "/nowhere/kubectl cannot be run" in str(error)


def test_a_restore_repeats_the_name_to_confirm() -> None:
    at = datetime(2026, 11, 28, 12, tzinfo=UTC)
    made = manifests.restore("nightly", into=None, in_place="rei", asked_at=at, by="anna")
    spec = Restore.of(made).spec
    assert spec.in_place is not None
    assert spec.in_place.confirm_database == "rei"
    assert made["metadata"]["name"] == "by-hand-20261128-120000"


# --- doctor ---------------------------------------------------------------------------------------


class Parts(FakeCluster):
    """Pods of operator and bot, none of the worker."""

    def __init__(self) -> None:
        super().__init__(adjusted)
        self.ran: list[tuple[str, ...]] = []

    def json(self, *words: str, stdin: Json | None = None) -> Json:
        del words, stdin
        parts = ("operator", "bot")
        return {
            "items": [pod(f"rei-{one}", {"app.kubernetes.io/name": f"rei-{one}"}) for one in parts]
        }

    def text(self, *words: str, any_status: bool = False) -> str:
        assert any_status, "a doctor that finds something ill exits with it"
        self.ran.append(words)
        found = {"name": "database", "verdict": "WARN", "detail": "d", "remedy": "r"}
        return json.dumps([found]) if "pod/rei-operator" in words else "no JSON"


def test_doctor_asks_each_part_for_what_it_knows_and_tells_whom_it_could_not_ask() -> None:
    cluster = Parts()
    findings = work.examine(cluster)
    assert [(one.name, str(one.verdict)) for one in findings] == [
        ("database", "WARN"),
        ("bot", "FAIL"),
        ("worker", "FAIL"),
    ]
    assert "Not asked: gemini" in findings[2].remedy
    asked = {word for words in cluster.ran for word in words if word.startswith("--only=")}
    assert asked == {f"--only={name}" for name in (*SERVICES, SHOP)} - {"--only=gemini"}
