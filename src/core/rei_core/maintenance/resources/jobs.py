"""Jobs that hang, and what is left of finished ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rei_core.maintenance.resources.base import Column, Names, Rule
from rei_core.maintenance.resources.recurring import (
    CHANGED,
    EXAMINED,
    FAILED,
    KOPECKS,
    Recurring,
    Schedule,
    recurring_columns,
)

DAY_SECONDS = 86_400

Timeout = Annotated[int, Field(ge=60, le=7 * DAY_SECONDS)]
Days = Annotated[int, Field(ge=1, le=3650)]


class StuckJobPolicySpec(Schedule):
    """Which jobs count as stuck, and how many are ended at a time."""

    timeout_seconds: Timeout = 900
    """A job that has been processing for longer is stuck. Keep it well above the slowest picture
    you sell: a job ended here is refunded, and a picture that arrives later is thrown away."""
    timeout_seconds_by_model: Annotated[Mapping[str, Timeout], Field(max_length=50)] = {}
    """Other timeouts for jobs of some models, by the model's id as the catalogue has it."""
    batch_size: Annotated[int, Field(ge=1, le=1000)] = 100
    """How many jobs are ended and refunded in one transaction."""
    max_per_run: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """How many jobs one run ends at most; the rest waits for the next run. A brake: many stuck
    jobs at once are more often a wrong timeout than so many dead workers."""
    dry_run: bool = False
    """True only counts: nothing is ended, refunded or told to anybody."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *Schedule.rules,
        Rule(
            "self.timeoutSecondsByModel.all(model, model.size() >= 1 && model.size() <= 64)",
            "timeoutSecondsByModel: write models' ids as the catalogue has them, "
            "such as gemini-3-pro-image",
            lambda spec: all(1 <= len(model) <= 64 for model in spec.timeout_seconds_by_model),
        ),
    )


class StuckJobPolicy(Recurring):
    """Ends jobs that hang, gives the money back and tells the customer.

    A job hangs when it has been processing for longer than `timeoutSeconds`, when its worker died
    and no attempt is left, or when it is still queued past its own deadline. It becomes failed
    with the reason "timeout" ("overdue" if it was still queued), its price goes back to the
    balance, and the customer is told, all in one transaction. A result that arrives later changes
    nothing. A job whose books are broken is left, counted as failed and named in the notes.
    """

    kind: Literal["StuckJobPolicy"] = "StuckJobPolicy"
    spec: StuckJobPolicySpec

    names: ClassVar[Names] = Names("stuckjobpolicies", "stuckjobpolicy", ("stuck",))
    columns: ClassVar[tuple[Column, ...]] = recurring_columns(EXAMINED, CHANGED, FAILED, KOPECKS)


class JobRetentionPolicySpec(Schedule):
    """How long what is finished is kept, and how gently it is removed."""

    completed_days: Days = 90
    """Completed jobs are removed so many days after their end. The customer's history shows
    pictures only as long as their jobs are there."""
    failed_days: Days = 90
    """Failed jobs are removed so many days after their end."""
    cancelled_days: Days = 30
    """Cancelled jobs are removed so many days after their end."""
    outputs_days: Days = 30
    """The bytes of a picture that still lie in the database (it could not be delivered) are
    removed so many days after they were stored. Delivered ones have left it already."""
    updates_days: Annotated[int, Field(ge=2, le=3650)] = 7
    """The numbers of handled Telegram updates are forgotten after so many days. At least 2:
    Telegram sends an update again for up to a day, and a forgotten one would be handled twice.
    More than 2 has an effect only while no worker runs: workers forget them after 2 days by
    themselves, so that a Rei without this policy does not fill up with them."""
    drafts_days: Days = 14
    """Orders that were begun and never confirmed are removed after so many days. More than 7
    has an effect only while no worker runs: workers remove them after 7 days by themselves."""
    deliveries_days: Days = 90
    """The record of a message that was delivered, or could not be, is removed so many days
    after that."""
    runs_days: Annotated[int, Field(ge=35, le=3650)] = 90
    """The record of a maintenance run is removed after so many days. At least 35: it is what
    keeps a run from happening again after an outage."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """How many rows are removed in one transaction."""
    pause_milliseconds: Annotated[int, Field(ge=0, le=60_000)] = 50
    """How long to wait between two batches, so that customers do not notice."""
    max_seconds_per_run: Annotated[int, Field(ge=1, le=DAY_SECONDS)] = 1800
    """How long one run may take; the rest waits for the next run."""
    dry_run: bool = False
    """True only counts: nothing is removed."""


class JobRetentionPolicy(Recurring):
    """Removes finished jobs and other things that nobody needs any more, in small batches.

    The ledger, payments and users are never touched.
    """

    kind: Literal["JobRetentionPolicy"] = "JobRetentionPolicy"
    spec: JobRetentionPolicySpec

    names: ClassVar[Names] = Names("jobretentionpolicies", "jobretentionpolicy", ("retention",))
    columns: ClassVar[tuple[Column, ...]] = recurring_columns(EXAMINED, CHANGED, FAILED)
