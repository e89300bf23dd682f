"""The custom resources: every procedure of Rei as something that can be applied.

    recurring     StuckJobPolicy, JobRetentionPolicy, PaymentReconciliation, LedgerAudit,
                  BackupSchedule: condition Ready, run by their schedule
    once          Backup, Restore, BalanceAdjustment: condition Succeeded, spec cannot change
    lasting       UserBan: in force for as long as it exists

`manifest.load` reads them from YAML, `manifest.read` from what the API gives; `crd.crd` makes the
CustomResourceDefinition of a kind.
"""

from rei_core.maintenance.resources.backups import Backup, BackupSchedule, Restore
from rei_core.maintenance.resources.base import (
    API_VERSION,
    GROUP,
    REQUESTED_AT,
    VERSION,
    Condition,
    ConditionStatus,
    Resource,
    Result,
)
from rei_core.maintenance.resources.jobs import JobRetentionPolicy, StuckJobPolicy
from rei_core.maintenance.resources.ledger import BalanceAdjustment, LedgerAudit
from rei_core.maintenance.resources.payments import PaymentReconciliation
from rei_core.maintenance.resources.recurring import Recurring, Schedule
from rei_core.maintenance.resources.users import UserBan

KINDS: dict[str, type[Resource]] = {
    kind.__name__: kind
    for kind in (
        StuckJobPolicy,
        PaymentReconciliation,
        JobRetentionPolicy,
        LedgerAudit,
        BackupSchedule,
        Backup,
        Restore,
        BalanceAdjustment,
        UserBan,
    )
}

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "REQUESTED_AT",
    "VERSION",
    "Backup",
    "BackupSchedule",
    "BalanceAdjustment",
    "Condition",
    "ConditionStatus",
    "JobRetentionPolicy",
    "LedgerAudit",
    "PaymentReconciliation",
    "Recurring",
    "Resource",
    "Restore",
    "Result",
    "Schedule",
    "StuckJobPolicy",
    "UserBan",
]
