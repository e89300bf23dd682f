"""What a word wants, as the resource that the operator carries out. Pure.

A resource is named after its operation, so that the same command sent twice finds the first one.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Any, Final

from rei_core.maintenance.resources import API_VERSION
from rei_core.maintenance.resources.base import REQUESTED_BY
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.maintenance.resources.users import UserBanSpec

Json = dict[str, Any]

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
HEX: Final = 20


def name_of_operation(operation_id: str) -> str:
    """The operation's own name where an object may have it, else one that is made of it."""
    if NAME.fullmatch(operation_id):
        return operation_id
    return f"operation-{hashlib.sha256(operation_id.encode()).hexdigest()[:HEX]}"


def adjustment(spec: BalanceAdjustmentSpec, *, by: str) -> Json:
    """The credit or debit."""
    return _resource("BalanceAdjustment", name_of_operation(spec.operation_id), spec.document(), by)


def user_ban(spec: UserBanSpec, *, by: str) -> Json:
    """The ban; one for each user, which a second ban replaces."""
    return _resource("UserBan", f"user-{spec.user_id}", spec.document(), by)


def restore(
    backup: str, *, into: str | None, in_place: str | None, asked_at: datetime, by: str
) -> Json:
    """The restore of a Backup: each command is another one."""
    spec: Json = {"backupRef": {"name": backup}}
    if into is not None:
        spec["targetDatabase"] = into
    if in_place is not None:
        spec["inPlace"] = {"confirmDatabase": in_place}
    return _resource("Restore", f"by-hand-{asked_at:%Y%m%d-%H%M%S}", spec, by)


def _resource(kind: str, name: str, spec: Json, by: str) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "annotations": {REQUESTED_BY: by}},
        "spec": spec,
    }
