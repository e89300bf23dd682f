"""Who may not order."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from rei_core.maintenance.resources.base import (
    AGE,
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
)


class UserBanSpec(Fields):
    """Who is banned, why, and until when."""

    user_id: Annotated[int, Field(ge=1, le=USER_ID_MAX)]
    """The customer's Telegram id."""
    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
    """Why, in one line, for you and your colleagues."""
    expires_at: AwareDatetime | None = None
    """When the ban ends by itself, such as 2027-01-31T00:00:00Z. If not set, it lasts until the
    resource is deleted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.userID == oldSelf.userID",
            "userID cannot change: delete this ban and make another",
        ),
    )


class UserBanStatus(Status):
    """Whether the ban is in force."""

    banned: bool = False
    """True while the customer cannot order because of this ban."""


class UserBan(Resource):
    """Keeps a customer from ordering for as long as it exists or until it expires.

    Deleting it lifts the ban. Running jobs are finished, and the balance stays as it is.
    """

    kind: Literal["UserBan"] = "UserBan"
    spec: UserBanSpec
    status: UserBanStatus = UserBanStatus()

    names: ClassVar[Names] = Names("userbans", "userban", ("ban",))
    condition_type: ClassVar[str] = "Ready"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("User", ".spec.userID", "integer", "Who is banned"),
        Column("Banned", ".status.banned", "boolean", "Is the ban in force?"),
        *condition_columns("Ready"),
        Column("Expires", ".spec.expiresAt", description="When it ends by itself"),
        Column("Why", ".spec.reason", description="Why they are banned", priority=1),
        message_column("Ready"),
        AGE,
    )
