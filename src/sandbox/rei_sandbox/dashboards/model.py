"""What a dashboard of ours is made of; `grafana` turns it into Grafana's JSON.

A panel's `id` never changes: runbook pages and people's bookmarks name it. `alerts` are those that
its curve explains: each alert has one panel, where whoever was woken looks first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Form = Literal["lines", "number", "table"]

NAMESPACE: Final = 'namespace=~"$namespace"'
"""Where no namespace is a label (a Prometheus without Kubernetes) "All" matches as well."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A question to Prometheus. `legend` names each series of the answer: {{outcome}}."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Sql:
    """A question to PostgreSQL, about the views of the schema `reporting`."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. `unit` is Grafana's name of it; `limits` are (from this value on, colour)."""

    id: int
    title: str
    description: str
    unit: str
    ask: tuple[Metric | Sql, ...]
    form: Form = "lines"
    width: int = 12
    height: int = 8
    limits: tuple[tuple[float, str], ...] = ()
    below: str = "green"
    """The colour below the first limit."""
    words: tuple[tuple[int, str], ...] = ()
    """What is shown instead of a number."""
    units: tuple[tuple[str, str], ...] = ()
    """Of a table's columns, where they differ from `unit`."""
    bars: bool = False
    top: float | None = None
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a headline."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page. `name` is that of its file."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    span: str = "now-6h"
    refresh: str = "30s"
    uid: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uid", f"rei-{self.name}")

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


def per_minute(metric: str, by: str, more: str = "") -> str:
    """How often a minute something happened, by a label."""
    chosen = f"{NAMESPACE},{more}" if more else NAMESPACE
    return f"60 * sum by ({by}) (rate({metric}{{{chosen}}}[$__rate_interval]))"


def quantile(metric: str, share: float, more: str = "") -> str:
    """The time within which this share of the calls was done."""
    chosen = f"{NAMESPACE},{more}" if more else NAMESPACE
    buckets = f"sum by (le) (rate({metric}_bucket{{{chosen}}}[$__rate_interval]))"
    return f"histogram_quantile({share:g}, {buckets})"


def quantiles(metric: str) -> tuple[Metric, ...]:
    """The usual three."""
    return tuple(
        Metric(quantile(metric, share), f"{share * 100:g} %") for share in (0.5, 0.95, 0.99)
    )
