"""A word from its manifest to its outcome. Sent twice it does the same as once.

Killed or cut off anywhere, the resource is either there or not: the same command finds it, or makes
it, and waits for what the operator says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from rei_core.admin.judging import Finding, Verdict
from rei_core.admin.service import Changed
from rei_core.errors import OperationConflict, ReiError
from rei_core.kubectl import manifests, pods
from rei_core.kubectl.client import ALREADY_EXISTS, NOT_FOUND, Kubectl, KubectlFailed
from rei_core.maintenance.bans.service import RESOURCES
from rei_core.maintenance.resources import GROUP, REQUESTED_AT
from rei_core.maintenance.resources.base import REQUESTED_BY
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.trail.model import Word

Json = dict[str, Any]
Found = TypeVar("Found")

FIELD_MANAGER: Final = "kubectl-rei"
LOOK_SECONDS: Final = 0.5
ASKED: Final[Mapping[pods.Part, tuple[str, ...]]] = {
    "operator": ("database", "yookassa", "shop"),
    "bot": ("redis", "telegram", "webhook"),
    "worker": ("gemini",),
}
NOBODY_KNOWN: Final = "somebody"


class Refused(ReiError):
    """The operator has answered, and the answer is no: nothing has changed."""


class NotYet(ReiError):
    """The operator has not answered in time."""

    def __init__(self, kind: str, name: str, seconds: float) -> None:
        self.kind = kind
        self.name = name
        super().__init__(
            f"{kind} {name} is there, and not carried out after {seconds:.0f} s. Is the operator up? "
            "The same command again waits on, and does nothing twice"
        )


def who(kubectl: Kubectl) -> str:
    """The user as whom the API server knows the caller."""
    try:
        told = kubectl.json("auth", "whoami")
    except KubectlFailed:  # a server before 1.28, or one that does not say
        return NOBODY_KNOWN
    return str(told.get("status", {}).get("userInfo", {}).get("username") or NOBODY_KNOWN)


def change_balance(
    kubectl: Kubectl, spec: BalanceAdjustmentSpec, *, by: str, wait_seconds: float
) -> Changed:
    """Create the BalanceAdjustment or find it, and wait for the operator's word on it."""
    manifest = manifests.adjustment(spec, by=by)
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    repeated = _create_once(kubectl, manifest, operation_id=spec.operation_id)

    found = _end_of(kubectl, kind, name, wait_seconds)
    return Changed(
        operation_id=spec.operation_id,
        word=Word.CREDIT if spec.amount_kopecks > 0 else Word.DEBIT,
        user_id=spec.user_id,
        repeated=repeated,
        amount_kopecks=spec.amount_kopecks,
        balance_after_kopecks=found["status"]["balanceAfterKopecks"],
    )


def _create_once(kubectl: Kubectl, manifest: Json, *, operation_id: str) -> bool:
    """Create it; True if the same was carried out before. Raises `OperationConflict`.

    One that was refused has moved nothing, and never will. Who asks again means it: it makes way.
    """
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    try:
        _create(kubectl, manifest)
    except KubectlFailed as error:
        if not error.means(ALREADY_EXISTS):
            raise
    else:
        return False
    found = _get(kubectl, kind, name)
    if found["spec"] != manifest["spec"]:
        raise OperationConflict(operation_id)
    told = _condition(found, "Succeeded")
    if told is None:
        return False  # it is under way: this command or a twin of it was cut off
    if told["status"] == "True":
        return True
    kubectl.text("delete", f"{kind}.{GROUP}", name, "--ignore-not-found")
    _create(kubectl, manifest)
    return False


def _create(kubectl: Kubectl, manifest: Json) -> None:
    kubectl.json("create", f"--field-manager={FIELD_MANAGER}", "--filename=-", stdin=manifest)


def ban(kubectl: Kubectl, spec: UserBanSpec, *, by: str, wait_seconds: float) -> str:
    """Apply the UserBan and wait until the operator has seen it; what it says about it."""
    manifest = manifests.user_ban(spec, by=by)
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    applied = kubectl.json(
        "apply",
        "--server-side",
        "--force-conflicts",
        f"--field-manager={FIELD_MANAGER}",
        "--filename=-",
        stdin=manifest,
    )
    generation = applied["metadata"]["generation"]

    def answered() -> Json | None:
        found = _get(kubectl, kind, name)
        seen = found.get("status", {}).get("observedGeneration", 0) >= generation
        return _condition(found, "Ready") if seen else None

    told = _until(answered, NotYet(kind, name, wait_seconds), seconds=wait_seconds)
    return str(told["message"])


def unban(
    kubectl: Kubectl, user_id: int, *, reason: str, by: str, wait_seconds: float
) -> Json:  # fmt: skip
    """Delete the user's UserBans, wait until their bans are lifted, and lift the admins' ban, too.

    The last is done by `rei unban` in the operator's pod: who it was is told there, which nobody
    hears of a deleted resource. Its result.
    """
    items = kubectl.json("get", f"userbans.{GROUP}")["items"]
    bans = [one["metadata"] for one in items if one["spec"]["userID"] == user_id]
    sources = {f"{RESOURCES}{one['namespace']}/{one['name']}" for one in bans}
    for one in bans:
        kubectl.text("delete", f"userbans.{GROUP}", one["name"], "--ignore-not-found")

    def lifted() -> bool:
        told = json.loads(pods.run_text(kubectl, ["user", str(user_id), "--output=json"]))
        return not sources & {ban["source"] for ban in told["bans"]}

    if sources:
        late = NotYet("the end of UserBan", ", ".join(sorted(sources)), wait_seconds)
        _until(lambda: lifted() or None, late, seconds=wait_seconds)
    words = ["unban", str(user_id), f"--reason={reason}", f"--by=kubernetes:{by}", "--output=json"]
    changed: Json = json.loads(pods.run_text(kubectl, words))
    return changed


def examine(kubectl: Kubectl) -> list[Finding]:
    """Every part's answers to what it has the credentials for: no pod has them all."""
    return [finding for part, names in ASKED.items() for finding in _examine(kubectl, part, names)]


def _examine(kubectl: Kubectl, part: pods.Part, names: tuple[str, ...]) -> list[Finding]:
    words = ["doctor", *(f"--only={name}" for name in names), "--output=json"]
    try:
        said = pods.run_text(kubectl, words, part=part, any_status=True)
        found = json.loads(said)
    except (pods.NoPod, KubectlFailed, ValueError) as error:
        remedy = f"kubectl describe pods; kubectl logs deploy/rei-{part}"
        not_asked = f"{remedy}. Not asked: {', '.join(names)}"
        return [Finding(part, Verdict.FAIL, str(error), not_asked)]
    return [
        Finding(one["name"], Verdict(one["verdict"]), one["detail"], one["remedy"]) for one in found
    ]


def run_now(
    kubectl: Kubectl, kind: str, *, name: str | None, by: str, wait_seconds: float
) -> list[Json]:
    """Ask the recurring resources of a kind, or the one of that name, for a run, and wait for it."""
    plural = f"{kind.lower()}.{GROUP}"
    names = [name] if name else _names(kubectl, plural)
    if not names:
        raise Refused(f"there is no {kind} in this namespace: see k8s/samples")
    now = datetime.now(UTC).replace(microsecond=0)
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    for one in names:
        marks = (f"{REQUESTED_AT}={moment}", f"{REQUESTED_BY}={by}")
        kubectl.text("annotate", "--overwrite", plural, one, *marks)
    return [_run_of(kubectl, plural, one, now, wait_seconds) for one in names]


def _run_of(kubectl: Kubectl, plural: str, name: str, asked_at: datetime, seconds: float) -> Json:
    def answered() -> Json | None:
        found = kubectl.json("get", plural, name)
        handled = found.get("status", {}).get("lastRequestedTime")
        if handled is None or datetime.fromisoformat(handled) < asked_at:
            return None
        return found

    return _until(answered, NotYet(plural.partition(".")[0], name, seconds), seconds=seconds)


def _names(kubectl: Kubectl, plural: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in kubectl.json("get", plural)["items"])


def restore(kubectl: Kubectl, manifest: Json, *, wait_seconds: float) -> Json:
    """Create the Restore and wait for its end; its status. Raises `Refused`."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    _create(kubectl, manifest)
    return {"name": name, **_end_of(kubectl, kind, name, wait_seconds)["status"]}


def _end_of(kubectl: Kubectl, kind: str, name: str, seconds: float) -> Json:
    """What happens once, when it has ended well; raises `Refused` when it has not."""

    def ended() -> tuple[Json, Json] | None:
        found = _get(kubectl, kind, name)
        told = _condition(found, "Succeeded")
        return None if told is None or told["status"] == "Unknown" else (found, told)

    found, told = _until(ended, NotYet(kind, name, seconds), seconds=seconds)
    if told["status"] != "True":
        raise Refused(f"{told['reason']}: {told['message']}")
    return found


def _get(kubectl: Kubectl, kind: str, name: str) -> Json:
    try:
        return kubectl.json("get", f"{kind.lower()}.{GROUP}", name)
    except KubectlFailed as error:
        if error.means(NOT_FOUND):
            raise Refused(f"{kind} {name} was deleted meanwhile: whether it was carried out, "
                          "`kubectl rei log` tells") from None  # fmt: skip
        raise


def _condition(resource: Json, type_: str) -> Json | None:
    conditions = resource.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == type_), None)


def _until(look: Callable[[], Found | None], late: NotYet, *, seconds: float) -> Found:
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() >= end:
            raise late
        time.sleep(LOOK_SECONDS)
