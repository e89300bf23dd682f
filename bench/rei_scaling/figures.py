"""What a replay comes to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; 0 of none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one replay."""

    queued: tuple[float, ...]
    """Seconds from each order to the start of its picture."""
    waited: tuple[float, ...]
    """Seconds from each order to its picture: what a customer waits."""
    pod_seconds: float
    taken_busy: int = 0
    """Jobs that were running in pods which were let go: they had to be waited for."""

    @property
    def queued_p95(self) -> float:
        return percentile(self.queued, 0.95)

    @property
    def waited_p95(self) -> float:
        return percentile(self.waited, 0.95)
