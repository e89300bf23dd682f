"""Alerts for a drill: all that they wait for is shorter, and what they compare with is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rei_sandbox.drill.rules import seconds, shortened, write


def rule(expr: str, **more: Any) -> dict[str, Any]:
    return {
        "groups": [
            {"name": "g", "interval": "30s", "rules": [{"alert": "A", "expr": expr, **more}]}
        ]
    }


def short(expr: str) -> str:
    (group,) = shortened(rule(expr), factor=60)["groups"]
    text: str = group["rules"][0]["expr"]
    return text


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("3d", 259_200), ("500ms", 0.5)],
)
def test_a_duration_is_read(duration: str, expected: float) -> None:
    assert seconds(duration) == expected


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("rate(a_total[10m])", "rate(a_total[10s])"),
        ("rate(a_total[1h30m])", "rate(a_total[90s])"),
        ("rate(a_total[1m])", "rate(a_total[5s])"),
        ("max_over_time(a[1h:30s])", "max_over_time(a[60s:])"),
        ("a offset 1h", "a offset 60s"),
        ("a_seconds > 3600", "a_seconds > 3600"),
        ('a{code="5m"} == 0', 'a{code="5m"} == 0'),
    ],
)
def test_windows_shrink_and_ages_stay(expr: str, expected: str) -> None:
    assert short(expr) == expected


def test_waiting_shrinks_and_every_group_is_evaluated_every_second() -> None:
    (group,) = shortened(rule("a", **{"for": "15m", "keep_firing_for": "1h"}), factor=60)["groups"]
    assert "interval" not in group
    assert (group["rules"][0]["for"], group["rules"][0]["keep_firing_for"]) == ("15s", "60s")


def test_what_is_written_is_told_with_its_time_in_life(tmp_path: Path) -> None:
    source, target = tmp_path / "rules.yaml", tmp_path / "short.yaml"
    rules = rule("a > 1", **{"for": "5m"})
    rules["groups"] += rule("b > 1", **{"for": "2h"})["groups"]
    source.write_text(yaml.safe_dump(rules))
    assert write(target, source=source) == {"A": 300}, "the one that comes first"
    assert yaml.safe_load(target.read_text())["groups"][0]["rules"][0]["for"] == "5s"
