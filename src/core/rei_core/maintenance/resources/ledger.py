"""The ledger's audit, and the one way to change a balance by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from rei_core.maintenance.resources.base import (
    AGE,
    LIST_ATOMIC,
    ONE_LINE,
    USER_ID_MAX,
    Column,
    Fields,
    Names,
    Resource,
    Rule,
    Status,
    condition_columns,
    message_column,
    unchangeable,
)
from rei_core.maintenance.resources.recurring import (
    EXAMINED,
    Recurring,
    RecurringStatus,
    Schedule,
    recurring_columns,
)

EXCERPT_MAX = 100
ADJUSTMENT_KOPECKS_MAX = 100_000_000
"""A million rubles: more than that is a slip of the finger."""


class LedgerAuditSpec(Schedule):
    """How much the audit tells."""

    excerpt_max: Annotated[int, Field(ge=1, le=EXCERPT_MAX)] = 20
    """How many violations are told one by one in the status; the rest is only counted."""


class LedgerViolation(Fields):
    """One broken invariant at one place."""

    invariant: Annotated[str, Field(max_length=63)]
    """The invariant's name, such as balance_is_sum_of_transfers."""
    subject: Annotated[str, Field(max_length=100)]
    """Where it is broken: a user, a job, a payment, a transfer."""
    detail: Annotated[str, Field(max_length=300)]
    """What is there and what should be."""


class LedgerAuditStatus(RecurringStatus):
    """How the runs go, and what they found."""

    violations: Annotated[
        tuple[LedgerViolation, ...], Field(max_length=EXCERPT_MAX, json_schema_extra=LIST_ATOMIC)
    ] = ()
    """The first violations, `spec.excerptMax` at most."""
    violations_count: Annotated[int, Field(ge=0)] = 0
    """How many there are in all."""
    violation_counts: Annotated[
        Mapping[str, Annotated[int, Field(ge=0)]], Field(max_length=50)
    ] = {}
    """How many there are, by invariant."""
    accounts_kopecks: Annotated[Mapping[str, int], Field(max_length=50)] = {}
    """The sum of every account in kopecks. Together they are 0."""


class LedgerAudit(Recurring):
    """Checks every invariant of the money in one snapshot of the database. Changes nothing.

    The condition `Consistent` is True if all of them hold. `Ready` only says whether the audit
    itself could be made.
    """

    kind: Literal["LedgerAudit"] = "LedgerAudit"
    spec: LedgerAuditSpec
    status: LedgerAuditStatus = LedgerAuditStatus()

    names: ClassVar[Names] = Names("ledgeraudits", "ledgeraudit", ("audit",))
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "Consistent",
            '.status.conditions[?(@.type=="Consistent")].status',
            description="Do all invariants of the money hold?",
        ),
        *recurring_columns(
            EXAMINED,
            Column("Violations", ".status.violationsCount", "integer", "Broken invariants found"),
        ),
    )


class BalanceAdjustmentSpec(Fields):
    """Whose balance changes, by how much, and why."""

    user_id: Annotated[int, Field(ge=1, le=USER_ID_MAX)]
    """The customer's Telegram id."""
    amount_kopecks: Annotated[int, Field(ge=-ADJUSTMENT_KOPECKS_MAX, le=ADJUSTMENT_KOPECKS_MAX)]
    """By how much the balance changes, in kopecks: 10000 gives the customer 100 rubles, -10000
    takes them away. A balance never goes below zero: then nothing happens at all."""
    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
    """Why, in one line. It stays in the ledger for ever."""
    operation_id: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")
    ]
    """A name of your own for this one change, such as ticket-4711. The ledger takes every name
    once, whatever the resource is called: applying the manifest again, on another cluster or
    after a restore, never moves money twice. The same name with other content is refused."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.amountKopecks != 0",
            "amountKopecks must not be 0: more gives the customer money, less takes it away",
            lambda spec: spec.amount_kopecks != 0,
        ),
        unchangeable("BalanceAdjustment"),
    )


class BalanceAdjustmentStatus(Status):
    """What came of it."""

    completion_time: AwareDatetime | None = None
    """When it was carried out or refused for good."""
    balance_after_kopecks: Annotated[int | None, Field(ge=0)] = None
    """The customer's balance right after it, in kopecks."""


class BalanceAdjustment(Resource):
    """Gives a customer money or takes it away, once.

    Deleting the resource does not take it back: make another one with the opposite amount.
    """

    kind: Literal["BalanceAdjustment"] = "BalanceAdjustment"
    spec: BalanceAdjustmentSpec
    status: BalanceAdjustmentStatus = BalanceAdjustmentStatus()

    names: ClassVar[Names] = Names("balanceadjustments", "balanceadjustment", ("adjust",))
    condition_type: ClassVar[str] = "Succeeded"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("User", ".spec.userID", "integer", "Whose balance"),
        Column("Kopecks", ".spec.amountKopecks", "integer", "By how much it changes, in kopecks"),
        *condition_columns("Succeeded"),
        Column("Balance", ".status.balanceAfterKopecks", "integer", "Right after it, in kopecks"),
        Column(
            "Operation", ".spec.operationID", description="The ledger takes it once", priority=1
        ),
        Column("Why", ".spec.reason", description="Why it was made", priority=1),
        message_column("Succeeded"),
        AGE,
    )
