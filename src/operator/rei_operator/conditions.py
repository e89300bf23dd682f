"""Conditions by the conventions of Kubernetes: put into a status, never two of one type."""

from __future__ import annotations

from datetime import datetime

from rei_core.logs import masked_text
from rei_core.maintenance.resources import Condition, ConditionStatus, Resource

MESSAGE_CHARS_MAX = 1000


def put(
    conditions: tuple[Condition, ...],
    resource: Resource,
    *,
    now: datetime,
    status: ConditionStatus,
    reason: str,
    message: str,
    type_: str | None = None,
) -> tuple[Condition, ...]:
    """The conditions with this one about `resource` in place of the one of its type.

    `type_` is the kind's own if not given. `lastTransitionTime` moves only when the answer changes.
    """
    wanted = type_ or resource.condition_type
    before = next((one for one in conditions if one.type == wanted), None)
    since = before.last_transition_time if before and before.status is status else now
    condition = Condition(
        type=wanted,
        status=status,
        reason=reason,
        message=shortened(message, MESSAGE_CHARS_MAX),
        last_transition_time=since.replace(microsecond=0),
        observed_generation=resource.metadata.generation,
    )
    others = tuple(one for one in conditions if one.type != wanted)
    return tuple(sorted((*others, condition), key=lambda one: one.type != resource.condition_type))


def shortened(text: str, characters_max: int) -> str:
    """The text on one line, without secrets, cut with a sign that it was."""
    line = " ".join(masked_text(text).split())
    return line if len(line) <= characters_max else line[: characters_max - 1] + "…"


def is_over(resource: Resource) -> bool:
    """Whether a one-shot has had its answer: `Succeeded` is True or False.

    A one-shot's spec cannot change, so an answer holds for whatever generation it was given.
    """
    condition = resource.status.condition(resource.condition_type)
    return condition is not None and condition.status is not ConditionStatus.UNKNOWN
