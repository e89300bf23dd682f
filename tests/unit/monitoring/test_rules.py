"""The alerts are sound: by promtool, by stories in which each fires and in which it does not, and by
the page of metrics."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rei_sandbox.prometheus import Programs

from .documented import CHECKOUT, expanded, label_values, series_names

RULES = CHECKOUT / "helm" / "rei" / "files" / "monitoring" / "rules.yaml"
STORIES = sorted((CHECKOUT / "tests" / "alerts").glob("*.yaml"))
MARKER = 'namespace=~".*"'
RUNBOOK = "https://runbook.example.com/en"
SELECTOR = re.compile(
    r'(?P<name>[a-z_:0-9]*)\{(?:__name__=~"(?P<pattern>[^"]+)",)?(?P<matchers>[^}]*)\}'
)
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


def groups() -> list[Any]:
    loaded: list[Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return loaded


RULES_OF_ALL = [rule for group in groups() for rule in group["rules"]]
ALERTS = [rule for rule in RULES_OF_ALL if "alert" in rule]
RECORDS = {rule["record"] for rule in RULES_OF_ALL if "record" in rule}
NAMES = sorted({rule["alert"] for rule in ALERTS})


def promtool(programs: Programs, *arguments: str, folder: Path = CHECKOUT) -> None:
    done = subprocess.run(
        [str(programs.promtool), *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_to_say(prometheus_programs: Programs) -> None:
    promtool(prometheus_programs, "check", "rules", "--lint=all", "--lint-fatal", str(RULES))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_each_story_ends_as_it_says(prometheus_programs: Programs, story: Path) -> None:
    promtool(prometheus_programs, "test", "rules", story.name, folder=story.parent)


def told() -> Iterator[tuple[str, bool]]:
    """Alert, and whether it fires, at each moment that a story looks at."""
    for story in STORIES:
        for test in yaml.safe_load(story.read_text(encoding="utf-8"))["tests"]:
            for look in test["alert_rule_test"]:
                yield look["alertname"], bool(look["exp_alerts"])


def test_each_alert_fires_in_a_story_and_stays_silent_in_another() -> None:
    assert {name for name, fires in told() if fires} == set(NAMES)
    assert {name for name, fires in told() if not fires} == set(NAMES)


def test_each_cause_of_an_alert_is_seen_to_fire() -> None:
    text = "".join(story.read_text(encoding="utf-8") for story in STORIES)
    for rule in ALERTS:
        labels = ", ".join(f"{name}: {value}" for name, value in rule["labels"].items())
        assert f"exp_labels: {{{labels}" in text, rule["alert"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_and_what_to_do(rule: Any) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}/{rule['alert']}.md"
    assert not rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")


def selectors() -> Iterator[tuple[str, str]]:
    """Each metric that a rule asks for, with its matchers."""
    for rule in RULES_OF_ALL:
        for found in SELECTOR.finditer(rule["expr"]):
            pattern = found["pattern"]
            names = (
                expanded(pattern.replace("(", "{").replace(")", "}").replace("|", ","))
                if pattern
                else [found["name"]]
            )
            for name in names:
                yield name, found["matchers"]


def test_every_metric_of_a_rule_is_documented() -> None:
    assert {name for name, _ in selectors()} <= series_names() | RECORDS


def test_every_selector_can_be_narrowed_to_a_release() -> None:
    assert [name for name, matchers in selectors() if MARKER not in matchers] == []
    bare = re.compile(r"\brei_[a-z_]+\b(?![{\w:])")
    for rule in RULES_OF_ALL:
        assert not bare.findall(re.sub(r'"[^"]*"', '""', rule["expr"])), rule


def test_every_value_that_a_rule_asks_for_is_one_that_is_told() -> None:
    known = label_values()
    asked = [
        (name, label, value)
        for name, matchers in selectors()
        for label, _, text in MATCHER.findall(matchers)
        if (name, label) in known
        for value in text.split("|")
    ]
    assert len(asked) > 20, "the page's lists of values are read"
    assert [one for one in asked if one[2] and one[2] not in known[one[0], one[1]]] == []
