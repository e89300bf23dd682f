"""The doorbell: how a pod with a new job wakes one that can do it.

Only a hint. It rings after the commit and never fails an order: with Redis gone the workers
find the job by themselves, a second or two later.
"""

from __future__ import annotations

from typing import Protocol

STREAM = "rei:doorbell"
"""The Redis stream. Bounded, because a ring that nobody heard is of no use later."""
STREAM_LENGTH_MAX = 10_000
TASK = "rei.work"
"""The taskiq task that a ring starts."""


class Doorbell(Protocol):
    """Rings without ever raising."""

    async def ring(self, job_id: int) -> None:
        """Tell the workers that `job_id` waits."""
        ...
