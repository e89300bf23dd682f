"""What a decision asks for. Values only: `rei_operator.hands` carries them out, in their order.

An *effect* changes something outside the resource's own status and is keyed, so that carrying it
out twice is the same as once. After effects the facts are read again and the decision is made
anew, so what a decision says about an effect comes from what it left behind, never from memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from rei_core.maintenance.resources.base import Status
from rei_core.maintenance.runs.model import RunKey

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunNow:
    """Carry out the resource's run of this key, or take it over. Keyed in PostgreSQL."""

    key: RunKey


@dataclass(frozen=True, slots=True)
class Adjust:
    """Make the adjustment. Keyed in the ledger by its operation id."""


@dataclass(frozen=True, slots=True)
class PutBan:
    """Let the resource ban its user. Keyed by the resource's name."""


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object. Keyed by its name, which is derived from the resource's."""

    manifest: Json = field(hash=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object of ours, and what it owns. One that is not there is as good as deleted."""

    kind: Literal["Job", "Backup"]
    name: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Give a Deployment of the resource's namespace so many replicas."""

    deployment: str
    replicas: int


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Make the status say this. Nothing is written if it says so already."""

    status: Status


@dataclass(frozen=True, slots=True)
class Event:
    """Tell whoever looks at the resource.

    `once` names what happened (a run's moment): the same is told once, whoever tells it again,
    after a crash too. Without it, equal ones are counted together.
    """

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    once: str = ""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Look again then, by the database's clock; sooner if the resource changes."""

    until: datetime


Effect: TypeAlias = RunNow | Adjust | PutBan | Create | Delete | Scale
Action: TypeAlias = Effect | SetStatus | Event | Sleep

EFFECTS = (RunNow, Adjust, PutBan, Create, Delete, Scale)


def merge_patch(
    old: Mapping[str, Any], new: Mapping[str, Any], *, owned: Collection[str] | None = None
) -> Json:
    """What turns `old` into `new` as a JSON merge patch (RFC 7386); empty if they are equal.

    What `new` lacks is removed, on the top level only if its name is `owned`: the rest of a status
    may have been written by a newer operator.
    """
    patch: Json = {name: None for name in old if name not in new and (not owned or name in owned)}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_patch(before, value)
            if inner:
                patch[name] = inner
        elif name not in old or before != value:
            patch[name] = value
    return patch
