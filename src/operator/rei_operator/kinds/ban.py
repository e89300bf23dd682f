"""UserBan: put for as long as the resource exists. Level-based, so putting again is nothing.

Lifting needs no decision: a resource that is not there bans nobody (`rei_operator.reconcile`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rei_core.maintenance.resources import ConditionStatus, UserBan
from rei_operator.actions import Action, Event, PutBan, SetStatus, Sleep
from rei_operator.conditions import put

UNKNOWN_USER_RETRY = timedelta(seconds=60)
"""How often it is looked whether the user has written to the bot by now."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What putting the ban said: is it in force, or None if there is no such user. `asked` is
    False before."""

    now: datetime
    asked: bool = False
    in_force: bool | None = None


def decide(resource: UserBan, facts: Facts) -> tuple[Action, ...]:
    """Put the ban, tell whether it is in force, come back when it expires."""
    if not facts.asked:
        return (PutBan(),)
    spec = resource.spec
    if facts.in_force is None:
        text = f"no user {spec.user_id} has written to the bot; they are banned when they do"
        return (
            Event("UserUnknown", text, "Warning", once="UserUnknown"),
            _told(resource, facts, ConditionStatus.FALSE, "UserUnknown", text),
            Sleep(facts.now + UNKNOWN_USER_RETRY),
        )
    if not facts.in_force:
        text = f"expired at {spec.expires_at:%Y-%m-%dT%H:%M:%SZ}; this resource may be deleted"
        once = f"expired {spec.expires_at}"
        return (
            *(() if not resource.status.banned else (Event("BanExpired", text, once=once),)),
            _told(resource, facts, ConditionStatus.TRUE, "Expired", text),
        )
    until = "until this is deleted" if spec.expires_at is None else f"until {spec.expires_at}"
    text = f"user {spec.user_id} cannot order {until}"
    events = (Event("UserBanned", text, once=text),) if not resource.status.banned else ()
    sleep = () if spec.expires_at is None else (Sleep(spec.expires_at + timedelta(seconds=1)),)
    return (*events, _told(resource, facts, ConditionStatus.TRUE, "Banned", text), *sleep)


def _told(
    resource: UserBan, facts: Facts, status: ConditionStatus, reason: str, message: str
) -> SetStatus:
    return SetStatus(
        resource.status.model_copy(
            update={
                "observed_generation": resource.metadata.generation,
                "banned": bool(facts.in_force),
                "conditions": put(
                    resource.status.conditions,
                    resource,
                    now=facts.now,
                    status=status,
                    reason=reason,
                    message=message,
                ),
            }
        )
    )
