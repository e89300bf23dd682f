"""What we choose, and what the cluster gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from rei_scaling.hpa import Behavior, ScalingPolicy

AT_ONCE = (ScalingPolicy("Pods", 100, 15),)
"""Kubernetes' own defaults at most double, or add four, in 15 seconds."""


@dataclass(frozen=True, slots=True)
class World:
    """What is the same for whoever scales."""

    slots: int = 8
    """REI_CONCURRENCY."""
    start_seconds: float = 10.0
    """From the order of a pod until it takes jobs. A node that must come first: a minute or two."""
    stop_seconds: float = 2.0
    """From the end of its last job until a pod is gone."""
    pods_max: int = 8
    """REI_PROVIDER_CONCURRENCY_MAX / REI_CONCURRENCY."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An autoscaler's numbers."""

    pods_min: int = 1
    utilisation: float = 0.9
    """Of a pod's slots, how many are to be busy; the rest is for those who come while pods start."""
    drain_seconds: float | None = None
    """Within which what waits is to be begun. None: at once, a slot for each job."""
    count_seconds: float = 1.0
    """REI_QUEUE_METRICS_SECONDS."""
    scrape_seconds: float = 5.0
    sync_seconds: float = 15.0
    """The HPA's, of kube-controller-manager: not ours to choose in a managed cluster."""
    marks_busy: bool = True
    """Does the operator write deletion costs?"""
    cost_seconds: float = 5.0
    """REI_DELETION_COST_SECONDS."""
    behavior: Behavior = field(default_factory=lambda: Behavior(up=AT_ONCE, down_window_seconds=45))

    def target(self, world: World) -> float:
        """The trigger's threshold: slots wanted of one pod."""
        return world.slots * self.utilisation

    def signal(self, *, due: int, processing: int, mean_seconds: float | None) -> float:
        """How many slots are wanted."""
        if self.drain_seconds is None or mean_seconds is None:
            return due + processing
        return processing + due * min(1.0, mean_seconds / self.drain_seconds)
