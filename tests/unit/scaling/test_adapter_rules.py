"""The rules for prometheus-adapter that the documentation gives are the queries of the chart."""

from __future__ import annotations

import re

import yaml

from rei_sandbox.cluster.go_programs import CHECKOUT

CHART = CHECKOUT / "helm" / "rei"
NAMES = {"workers": "workers", "botsUpdates": "bots-updates", "botsBacklog": "bots-backlog"}
"""Key of the chart's value with a metric's name → its query's file."""


def query(name: str) -> str:
    text = (CHART / "files" / "scaling" / f"{name}.promql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return " ".join(lines).strip().replace("SELECTOR", "<<.LabelMatchers>>")


def test_the_documented_rules_serve_the_charts_queries_under_its_names() -> None:
    page = (CHECKOUT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(externalRules:.*?)```", page, re.DOTALL)
    served = {
        rule["name"]["as"]: rule["metricsQuery"] for rule in yaml.safe_load(block)["externalRules"]
    }
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    names = values["autoscaling"]["externalMetrics"]
    assert served == {names[key]: query(file) for key, file in NAMES.items()}
