"""The tables of docs/metrics.md."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
ROW = re.compile(
    r"^\| `(?P<name>rei_[^`]+)` \| (?P<type>\w+) \| (?P<labels>.*?) \| (?P<text>.+) \|$"
)
OF_LABELS = re.compile(r"`(\w+)`")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as people and PromQL see it."""

    name: str
    type: str
    labels: frozenset[str]


def documented() -> list[Metric]:
    """Every metric of the tables, those with braces one by one."""
    text = (CHECKOUT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [found for line in text.splitlines() if (found := ROW.match(line))]
    return [
        Metric(name, row["type"], frozenset(OF_LABELS.findall(row["labels"])))
        for row in rows
        for name in expanded(row["name"])
    ]


def expanded(name: str) -> list[str]:
    """`a_{b,c}_d` is a_b_d and a_c_d."""
    parts = re.split(r"\{(.*?)\}", name)
    choices = [part.split(",") if n % 2 else [part] for n, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def series_names() -> set[str]:
    """All names that a query may use: a histogram has three."""
    names: set[str] = set()
    for metric in documented():
        if metric.type == "histogram":
            names |= {f"{metric.name}_{end}" for end in ("bucket", "sum", "count")}
        else:
            names.add(metric.name)
    return names


def label_values() -> dict[tuple[str, str], set[str]]:
    """The values of the labels that have a closed list of them, by metric and label."""
    text = (CHECKOUT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return {
        (name, label): set(values.split(", "))
        for line in text.splitlines()
        if (row := ROW.match(line))
        for label, values in re.findall(r"`(\w+)` \(([a-z0-9_., ]+)\)", row["labels"])
        if not values.startswith("as above")
        for name in expanded(row["name"])
    }
