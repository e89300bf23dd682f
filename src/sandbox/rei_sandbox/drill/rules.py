"""The chart's alerting rules with all their durations shortened, so that hours become seconds.

What an alert waits for (`for`, the windows of its query) is shortened. What it compares with is not:
an age in seconds is the database's, and a drill makes rows old instead.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

import yaml

from rei_sandbox.cluster.helm import CHART

RULES: Final = CHART / "files" / "monitoring" / "rules.yaml"
FACTOR: Final = 60
"""A minute becomes a second."""
WINDOW_SECONDS_MIN: Final = 5
"""Of a window that is scraped every second, for `rate` to have something to go by."""

_SECONDS: Final = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
    "y": 31_536_000,
}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdwy])")
_WINDOW: Final = re.compile(r"\[((?:\d+(?:ms|[smhdwy]))+)(:[^\]]*)?\]")
_OFFSET: Final = re.compile(r"\boffset ((?:\d+(?:ms|[smhdwy]))+)")


def seconds(duration: str) -> float:
    """A duration of Prometheus, such as 1h30m."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))


def shortened(rules: dict[str, Any], *, factor: int = FACTOR) -> dict[str, Any]:
    """The same groups of rules, faster."""
    return {"groups": [_group(group, factor) for group in rules["groups"]]}


def write(path: Path, *, source: Path = RULES, factor: int = FACTOR) -> dict[str, float]:
    """Write the shortened rules to `path`; how long each alert waits in life, in seconds."""
    rules = yaml.safe_load(source.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(shortened(rules, factor=factor)), encoding="utf-8")
    waits: dict[str, float] = {}
    for group in rules["groups"]:
        for rule in group["rules"]:
            if name := rule.get("alert"):  # several may have one name: the one that comes first
                waits[name] = min(seconds(rule.get("for", "0s")), waits.get(name, math.inf))
    return waits


def _group(group: dict[str, Any], factor: int) -> dict[str, Any]:
    kept = {key: value for key, value in group.items() if key != "interval"}
    return {**kept, "rules": [_rule(rule, factor) for rule in group["rules"]]}


def _rule(rule: dict[str, Any], factor: int) -> dict[str, Any]:
    short = {**rule, "expr": _expression(str(rule["expr"]), factor)}
    for key in ("for", "keep_firing_for"):
        if key in rule:
            short[key] = _shorter(rule[key], factor, at_least=0)
    return short


def _expression(text: str, factor: int) -> str:
    def window(found: re.Match[str]) -> str:
        rest = ":" if found[2] else ""  # a step of a subquery: the default
        return f"[{_shorter(found[1], factor, at_least=WINDOW_SECONDS_MIN)}{rest}]"

    def offset(found: re.Match[str]) -> str:
        return f"offset {_shorter(found[1], factor, at_least=1)}"

    return _OFFSET.sub(offset, _WINDOW.sub(window, text))


def _shorter(duration: str, factor: int, *, at_least: int) -> str:
    return f"{max(at_least, round(seconds(duration) / factor))}s"
