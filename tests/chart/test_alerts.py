"""Alerts reach Prometheus and Alertmanager as the files say, narrowed to the release."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rei_sandbox.cluster.helm import CHART, Helm, HelmRefused
from rei_sandbox.prometheus import Programs

from .conftest import Json, Render, tool
from .objects import one

FILES = CHART / "files" / "monitoring"
RUNBOOK = "https://runbook.example.com/rei"
Amtool = Callable[..., str]


def plain() -> Json:
    loaded: Json = yaml.safe_load((FILES / "alertmanager.yaml").read_text(encoding="utf-8"))
    return loaded


def alerts(groups: list[Json]) -> list[Json]:
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_the_rules_are_narrowed_to_the_release(render: Render) -> None:
    made = one(render("production"), "PrometheusRule", "rei-alerts")["spec"]["groups"]
    text = json.dumps(made)
    assert "namespace=~" not in text
    assert text.count('namespace=\\"rei\\"') > 80
    shipped = yaml.safe_load((FILES / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    assert [rule["alert"] for rule in alerts(made)] == [rule["alert"] for rule in alerts(shipped)]


def test_a_prometheus_without_its_operator_gets_the_same(
    render: Render, prometheus_programs: Programs, tmp_path: Path
) -> None:
    objects = render("everything")
    made = one(objects, "ConfigMap", "rei-alerts")
    assert made["metadata"]["labels"]["prometheus_rule"] == "1"
    rules = tmp_path / "rules.yaml"
    rules.write_text(made["data"]["rules.yaml"], encoding="utf-8")
    done = subprocess.run(
        [str(prometheus_programs.promtool), "check", "rules", "--lint=all", "--lint-fatal", str(rules)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rule = one(objects, "PrometheusRule", "rei-alerts")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert yaml.safe_load(made["data"]["rules.yaml"]) == rule["spec"]


def test_the_runbook_is_where_the_values_say(render: Render) -> None:
    made = one(render("everything"), "PrometheusRule", "rei-alerts")["spec"]["groups"]
    for rule in alerts(made):
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}/{rule['alert']}.md"


def config(text: str, folder: Path) -> str:
    """A configuration as the Alertmanager of Debian can read it: 0.25 takes no file with a token."""
    (folder / "telegram.tmpl").write_bytes((FILES / "telegram.ru.tmpl").read_bytes())
    text = text.replace("/etc/alertmanager/telegram.tmpl", str(folder / "telegram.tmpl"))
    text = re.sub(r"bot_token_file: \S+", "bot_token: 1:token", text)
    path = folder / "alertmanager.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_alertmanager_takes_the_plain_file(amtool: Amtool, tmp_path: Path) -> None:
    text = (FILES / "alertmanager.yaml").read_text(encoding="utf-8")
    said = amtool("check-config", config(text, tmp_path))
    assert "SUCCESS" in said
    assert "6 inhibit rules" in said
    assert "1 templates" in said


def test_alertmanager_takes_the_config_map_which_names_the_chat(
    render: Render, amtool: Amtool, tmp_path: Path
) -> None:
    made = one(render("everything"), "ConfigMap", "rei-alerts")["data"]
    assert "SUCCESS" in amtool("check-config", config(made["alertmanager.yaml"], tmp_path))
    (receiver,) = yaml.safe_load(made["alertmanager.yaml"])["receivers"]
    assert receiver["telegram_configs"][0]["chat_id"] == -1009876543210
    assert made["telegram.tmpl"].strip() == (FILES / "telegram.ru.tmpl").read_text().strip()


@pytest.mark.parametrize(
    ("labels", "repeat"), [("severity=critical", "1h"), ("severity=warning", "12h")]
)
def test_what_wakes_somebody_is_repeated_sooner(
    amtool: Amtool, tmp_path: Path, labels: str, repeat: str
) -> None:
    path = config((FILES / "alertmanager.yaml").read_text(encoding="utf-8"), tmp_path)
    amtool(
        "config", "routes", "test", f"--config.file={path}", "--verify.receivers=telegram", labels
    )
    route = plain()["route"]
    critical = route["routes"][0]
    assert critical["matchers"] == ['severity="critical"']
    assert (critical if labels == "severity=critical" else route)["repeat_interval"] == repeat


def test_every_alert_that_an_inhibition_names_is_one() -> None:
    rules = yaml.safe_load((FILES / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    known = {rule["alert"] for rule in alerts(rules)}
    for rule in plain()["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.search(r'"(.*)"', matcher)
            assert pattern is not None
            for name in pattern[1].split("|"):
                assert any(re.fullmatch(name, one) for one in known), name


def test_the_prometheus_operator_gets_the_same_routes(render: Render) -> None:
    """AlertmanagerConfig has its own words for them."""
    made = one(render("everything"), "AlertmanagerConfig", "rei-alerts")
    assert made["metadata"]["labels"]["alertmanager"] == "main"
    spec, wanted = made["spec"], plain()
    route = spec["route"]
    assert route["groupBy"] == wanted["route"]["group_by"]
    assert route["repeatInterval"] == wanted["route"]["repeat_interval"]
    assert route["matchers"] == [{"name": "alertname", "matchType": "=~", "value": "Rei.*"}]
    (critical,) = route["routes"]
    assert critical["matchers"] == [{"name": "severity", "matchType": "=", "value": "critical"}]
    assert critical["repeatInterval"] == wanted["route"]["routes"][0]["repeat_interval"]
    assert [
        [[as_text(one) for one in rule[side]] for side in ("sourceMatch", "targetMatch")]
        + [rule["equal"]]
        for rule in spec["inhibitRules"]
    ] == [
        [rule["source_matchers"], rule["target_matchers"], rule["equal"]]
        for rule in wanted["inhibit_rules"]
    ]


def as_text(matcher: Any) -> str:
    return f'{matcher["name"]}{matcher["matchType"]}"{matcher["value"]}"'


def test_the_token_stays_in_its_secret(render: Render) -> None:
    made = one(render("everything"), "AlertmanagerConfig", "rei-alerts")
    (telegram,) = made["spec"]["receivers"][0]["telegramConfigs"]
    assert telegram["botToken"] == {"name": "alerting-bot", "key": "token"}
    assert telegram["chatID"] == -1009876543210
    assert telegram["parseMode"] == "HTML"


@pytest.fixture
def news(tmp_path: Path) -> Path:
    """What Alertmanager tells: one alert that has begun, and one that is over."""

    def alert(name: str, status: str, **labels: str) -> Json:
        return {
            "status": status,
            "labels": {"alertname": name, "namespace": "rei", **labels},
            "annotations": {
                "summary": "No bot is running",
                "description": "Nobody answers.",
                "runbook_url": f"https://example.com/runbook/en/{name}.md",
            },
            "startsAt": "2026-11-24T10:00:00Z",
            "endsAt": "2026-11-24T11:30:00Z",
        }

    path = tmp_path / "news.json"
    path.write_text(
        json.dumps(
            {
                "status": "firing",
                "alerts": [
                    alert("ReiBotDown", "firing", severity="critical"),
                    alert("ReiRedisDown", "resolved", severity="warning"),
                ],
                "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            }
        ),
        encoding="utf-8",
    )  # fmt: skip
    return path


ENGLISH = """
🔥 <b>No bot is running</b> · rei
Nobody answers.
since 10:00 UTC, 24 November · <a href="https://example.com/runbook/en/ReiBotDown.md">what to do</a>

✅ <b>No bot is running</b> · rei: over at 11:30 UTC
"""
RUSSIAN = """
🔥 <b>Бот не отвечает</b> · rei
Nobody answers.
с 10:00 UTC 24.11 · <a href="https://example.com/runbook/ru/ReiBotDown.md">что делать</a>

✅ <b>Redis не отвечает</b> · rei: прошло в 11:30 UTC
"""


@pytest.mark.parametrize(("language", "message"), [("en", ENGLISH), ("ru", RUSSIAN)])
def test_the_message_can_be_read_at_night(
    amtool: Amtool, news: Path, language: str, message: str
) -> None:
    said = amtool(
        "template", "render", f"--template.glob={FILES / f'telegram.{language}.tmpl'}",
        '--template.text={{ template "rei.telegram" . }}', f"--template.data={news}",
    )  # fmt: skip
    assert said.strip() == message.strip()


def test_the_operators_message_is_the_same_in_one_text(
    render: Render, amtool: Amtool, news: Path, tmp_path: Path
) -> None:
    """An AlertmanagerConfig cannot name a file of templates: its text brings them along."""
    made = one(render("everything"), "AlertmanagerConfig", "rei-alerts")
    text = made["spec"]["receivers"][0]["telegramConfigs"][0]["message"]
    nothing = tmp_path / "none.tmpl"
    nothing.write_text("", encoding="utf-8")
    said = amtool(
        "template", "render", f"--template.glob={nothing}",
        f"--template.text={text}", f"--template.data={news}",
    )  # fmt: skip
    assert said.strip() == RUSSIAN.strip()


def test_every_alert_has_a_russian_name() -> None:
    rules = yaml.safe_load((FILES / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    named = re.findall(r'eq \.Labels\.alertname "(\w+)"', (FILES / "telegram.ru.tmpl").read_text())
    assert sorted(named) == sorted({rule["alert"] for rule in alerts(rules)})


def test_who_is_to_be_told_has_to_be_said(helm: Helm) -> None:
    options = (*tool().VALUES["production"], "--set=monitoring.alertmanagerConfig.enabled=true")
    with pytest.raises(HelmRefused, match=r"chatId and botToken\.existingSecret are needed"):
        helm.render(*options)


def test_who_has_no_alerts_is_told_so(helm: Helm) -> None:
    def notes(*more: str) -> str:
        options = (*tool().VALUES["minimal"], *more)
        return helm("install", "rei", str(CHART), "--dry-run=client", *options)

    warning = "nobody is told when something breaks"
    assert warning in notes()
    assert warning not in notes("--set=monitoring.alertsConfigMap.enabled=true")


def test_nobody_gets_alerts_who_has_not_asked(render: Render) -> None:
    kinds = {each["kind"] for each in render("minimal")}
    assert not kinds & {"PrometheusRule", "AlertmanagerConfig"}
