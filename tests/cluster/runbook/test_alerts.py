"""Alert, page, rule test and panel belong together one to one: none lacks another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rei_sandbox.dashboards import panel_of_alert
from rei_sandbox.drill.drills import DRILLS
from rei_sandbox.drill.rules import RULES

from .pages import LANGUAGES, alerts

RULE_TESTS = Path(__file__).parents[2] / "alerts"


def names() -> set[str]:
    """The chart's alerts."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    found = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert found
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_alert_has_a_page_and_each_page_an_alert(language: str) -> None:
    assert alerts(language).keys() == names()


def test_each_alert_links_to_its_page() -> None:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        url = rule["annotations"]["runbook_url"]
        assert url == f"https://runbook.example.com/en/{rule['alert']}.md"


def test_each_alert_is_fired_by_a_rule_test_and_kept_silent_by_another() -> None:
    fired: set[str] = set()
    silent: set[str] = set()
    for path in sorted(RULE_TESTS.glob("*.yaml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for one in test.get("alert_rule_test", ()):
                (fired if one.get("exp_alerts") else silent).add(one["alertname"])
    assert fired == names()
    assert silent == names()


def test_each_alert_has_the_panel_that_explains_it_and_its_page_says_which() -> None:
    panels = panel_of_alert()
    assert panels.keys() == names()
    for alert, (dashboard, panel) in panels.items():
        for language, quoted in (("en", f"“{panel.title}”"), ("ru", f"«{panel.title}»")):
            assert f"Grafana: {dashboard.title}, {quoted}." in alerts(language)[alert].text


def test_drills_wait_for_alerts_that_there_are() -> None:
    assert {drill.alert for drill in DRILLS if drill.alert} <= names()
