"""Kubernetes' HorizontalPodAutoscaler for one external metric with an AverageValue.

After pkg/controller/podautoscaler of Kubernetes 1.37: `GetExternalPerPodMetricReplicas`,
`stabilizeRecommendationWithBehaviors` and `convertDesiredReplicasWithBehaviorRate`, whose names are
kept below. Quantities are in thousandths, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Moments = list[tuple[float, int]]
"""When, and how many replicas."""


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """`policies` of a behaviour: so much within so many seconds."""

    type: Literal["Pods", "Percent"]
    value: int
    period_seconds: float


@dataclass(frozen=True, slots=True)
class Behavior:
    """Of scaling up and down. Of several policies the one counts that allows most (Max)."""

    up_window_seconds: float = 0
    up: Sequence[ScalingPolicy] = (ScalingPolicy("Percent", 100, 15), ScalingPolicy("Pods", 4, 15))
    down_window_seconds: float = 300
    down: Sequence[ScalingPolicy] = (ScalingPolicy("Percent", 100, 15),)


class Autoscaler:
    """One HPA, with what its controller remembers."""

    def __init__(
        self,
        *,
        target: float,
        replicas_min: int,
        replicas_max: int,
        behavior: Behavior,
        tolerance: float = 0.1,
    ) -> None:
        self._target_milli = round(1000 * target)
        self._min = replicas_min
        self._max = replicas_max
        self._behavior = behavior
        self._tolerance = tolerance
        self._recommended: Moments = []
        self._ups: Moments = []
        self._downs: Moments = []

    def sync(self, now: float, *, usage: float, replicas: int) -> int:
        """How many replicas there should be from now on."""
        if not self._recommended:
            self._recommended.append((now, replicas))  # recordInitialRecommendation
        stable = self._stabilized(now, self._proposed(usage, replicas), replicas)
        wanted = self._limited(now, stable, replicas)
        if wanted > replicas:
            self._ups.append((now, wanted - replicas))
        elif wanted < replicas:
            self._downs.append((now, replicas - wanted))
        return wanted

    def _proposed(self, usage: float, replicas: int) -> int:
        usage_milli = int(1000 * usage)
        ratio = usage_milli / (self._target_milli * replicas)
        if 1 - self._tolerance <= ratio <= 1 + self._tolerance:
            return replicas
        return math.ceil(usage_milli / self._target_milli)

    def _stabilized(self, now: float, proposed: int, replicas: int) -> int:
        """Up to the lowest, down to the highest of what was recommended within the windows."""
        up_since = now - self._behavior.up_window_seconds
        down_since = now - self._behavior.down_window_seconds
        up = min([proposed, *(count for at, count in self._recommended if at > up_since)])
        down = max([proposed, *(count for at, count in self._recommended if at > down_since)])
        oldest = min(up_since, down_since)
        self._recommended = [one for one in self._recommended if one[0] >= oldest]
        self._recommended.append((now, proposed))
        return min(max(replicas, up), down)

    def _limited(self, now: float, wanted: int, replicas: int) -> int:
        if wanted > replicas:
            most = max(self._start(now, policy, replicas, +1) for policy in self._behavior.up)
            return min(wanted, self._max, max(replicas, most))
        if wanted < replicas:
            least = min(self._start(now, policy, replicas, -1) for policy in self._behavior.down)
            return max(wanted, self._min, min(replicas, least))
        return wanted

    def _start(self, now: float, policy: ScalingPolicy, replicas: int, sign: int) -> int:
        """What a policy allows, from the replicas at the start of its period on."""
        since = now - policy.period_seconds
        added = sum(count for at, count in self._ups if at > since)
        taken = sum(count for at, count in self._downs if at > since)
        start = replicas - added + taken
        if policy.type == "Pods":
            return start + sign * policy.value
        share = start * (1 + sign * policy.value / 100)
        return math.ceil(share) if sign > 0 else int(share)
