"""Values for the worker's unit tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rei_core.deliveries.model import Delivery, DeliveryKind
from rei_core.jobs.model import Job, JobStatus

NOW = datetime(2026, 11, 24, tzinfo=UTC)

JOB = Job(
    id=1,
    user_id=1,
    status=JobStatus.PROCESSING,
    model="m",
    prompt="a cat",
    aspect_ratio="1:1",
    image_size="1K",
    inputs=(),
    price_kopecks=1500,
    attempt=1,
    attempts_max=4,
    run_after=NOW,
    lease_until=NOW,
    error_code=None,
    error_detail=None,
    chat_id=1,
    progress_message_id=None,
    created_at=NOW,
    started_at=NOW,
    finished_at=None,
)


def job(**changes: Any) -> Job:
    """A claimed job, but for the changes."""
    return replace(JOB, **changes)


def delivery(**changes: Any) -> Delivery:
    """A delivery on its first attempt, but for the changes."""
    first = Delivery(
        id=1,
        kind=DeliveryKind.RESULT,
        ref_id="1",
        user_id=1,
        chat_id=1,
        attempt=1,
        failures=1,
        age_seconds=0,
        language="en",
    )
    return replace(first, **changes)
