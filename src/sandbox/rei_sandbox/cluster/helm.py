"""helm, and what the chart of this checkout renders to."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from rei_core.errors import ReiError
from rei_sandbox.cluster.go_programs import CHECKOUT

CHART: Final = CHECKOUT / "helm" / "rei"
RELEASE: Final = "rei"
COMMAND_SECONDS_MAX: Final = 900.0
SAID_CHARS_MAX: Final = 4000
# `helm template` asks no cluster which kinds of others it has.
FOREIGN_KINDS: Final = (
    "gateway.networking.k8s.io/v1/HTTPRoute",
    "keda.sh/v1alpha1/ScaledObject",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1alpha1/AlertmanagerConfig",
    "postgresql.cnpg.io/v1/Cluster",
)
KUBERNETES_VERSION: Final = "1.37.2"


class HelmRefused(ReiError):
    """helm ended otherwise than well; `said` is the end of its output, the logs of Jobs that failed
    and then its standard error."""

    def __init__(self, command: str, said: str) -> None:
        self.said = said
        super().__init__(f"helm {command}: {said}")


@dataclass(frozen=True, slots=True)
class Helm:
    """`helm("list")`: the pinned one, with nothing of this machine's own configuration."""

    program: Path
    home: Path
    """For its caches; its own alone."""
    kubeconfig: Path | None = None
    namespace: str = "rei"

    def __call__(self, *words: str) -> str:
        """What it printed; raises `HelmRefused`."""
        environment = {
            **os.environ,
            "HELM_CACHE_HOME": str(self.home / "cache"),
            "HELM_CONFIG_HOME": str(self.home / "config"),
            "HELM_DATA_HOME": str(self.home / "data"),
            "HELM_NAMESPACE": self.namespace,
            "KUBECONFIG": str(self.kubeconfig or os.devnull),
        }
        done = subprocess.run(
            [self.program, *words], check=False, capture_output=True, text=True,
            env=environment, timeout=COMMAND_SECONDS_MAX,
        )  # fmt: skip
        if done.returncode != 0:
            said = f"{done.stdout}{done.stderr}".strip()
            raise HelmRefused(" ".join(words[:2]), said[-SAID_CHARS_MAX:])
        return done.stdout

    def render(self, *options: str, upgrade: bool = False) -> list[dict[str, Any]]:
        """The objects of the chart with these values (`--values=…`, `--set=…`), hooks too."""
        text = self(
            "template", RELEASE, str(CHART), f"--kube-version={KUBERNETES_VERSION}",
            *(f"--api-versions={kind}" for kind in FOREIGN_KINDS),
            *(["--is-upgrade"] if upgrade else []), *options,
        )  # fmt: skip
        return [_fixed(document) for document in yaml.safe_load_all(text) if document]


def _fixed(document: dict[str, Any]) -> dict[str, Any]:
    """The same with what differs from one rendering to the next replaced: secrets that are made, and
    the moment in the name of an upgrade's backup."""
    if document["kind"] == "Secret":
        made = document.get("data", {})
        document["data"] = dict.fromkeys(made, "bWFkZQ==")  # "made", as the API server wants it
    if document["kind"] == "ConfigMap":
        document["data"] = {
            name: re.sub(r"(-upgrade-)\d{10}\b", r"\g<1>(moment)", text)
            for name, text in document["data"].items()
        }
    return document
