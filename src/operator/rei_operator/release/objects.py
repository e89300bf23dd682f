"""The objects of a release: how they are marked, which of them are not wanted any more, how they end."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from rei_core.maintenance.resources import API_VERSION, GROUP, KINDS, Resource
from rei_core.maintenance.resources.recurring import Recurring

Json = dict[str, Any]

RELEASE: Final = f"{GROUP}/release"
"""The label of what a release has applied; its value is the name of the owner."""
PRUNED: Final = tuple(kind for kind, resource in KINDS.items() if issubclass(resource, Recurring))
"""Only what is asked for again and again. A ban, an adjustment or a backup is somebody's word, and
not the release's to take back."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The ConfigMap that the objects belong to: when it goes, Kubernetes deletes them."""

    namespace: str
    name: str
    uid: str


def applied(resource: Resource, owner: Owner) -> Json:
    """The object as it is applied: the resource's spec, marked as the owner's."""
    return {
        "apiVersion": API_VERSION,
        "kind": resource.kind,
        "metadata": {
            "name": resource.metadata.name,
            "namespace": owner.namespace,
            "labels": {"app.kubernetes.io/part-of": "rei", RELEASE: owner.name},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}
            ],
        },
        "spec": resource.document()["spec"],
    }


def unwanted(
    there: Iterable[Json], wanted: Collection[tuple[str, str]], owner: Owner
) -> list[tuple[str, str]]:
    """Kind and name of the owner's objects that are not wanted any more."""
    return [
        (each["kind"], each["metadata"]["name"])
        for each in there
        if each["kind"] in PRUNED
        and (each["metadata"].get("labels") or {}).get(RELEASE) == owner.name
        and (each["kind"], each["metadata"]["name"]) not in wanted
    ]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a one-shot has ended."""

    well: bool
    said: str


def ended(document: Json) -> Ended | None:
    """How the one-shot has ended, None while it is at work."""
    for condition in document.get("status", {}).get("conditions", ()):
        if condition.get("type") == "Succeeded" and condition.get("status") != "Unknown":
            said = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return Ended(well=condition["status"] == "True", said=said)
    return None


def rolling(deployment: Json) -> str:
    """What a Deployment still waits for; empty once all of its pods are new, and ready."""
    wanted = deployment.get("spec", {}).get("replicas", 1)
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return "nobody has looked at its new version yet"
    new, ready = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if new < wanted:
        return f"{new} of {wanted} pods are new"
    if status.get("replicas", 0) > new:
        return f"{status['replicas'] - new} old pods are still there"
    if ready < wanted:
        return f"{ready} of {wanted} pods are ready"
    return ""


def stuck(deployment: Json) -> str:
    """Why a Deployment makes no progress, in Kubernetes' words; empty while it does."""
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition.get("message", "it makes no progress"))
    return ""
