"""`kubectl rei log-level`: the ConfigMap that the pods of a release look into for log levels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from rei_core.errors import ReiError
from rei_core.kubectl.client import NOT_FOUND, Kubectl, KubectlFailed
from rei_core.kubectl.pods import SELECTOR

VOLUME: Final = "log-levels"
"""What the pods call it; the ConfigMap's name depends on the release's."""


class NoLevels(ReiError):
    """No pod here looks into a ConfigMap for levels."""

    def __init__(self) -> None:
        super().__init__(
            f"no pod of Rei's with a volume {VOLUME!r} is in this namespace: "
            f"kubectl get pods -l {SELECTOR}; is it the right one (-n)?"
        )


def change(kubectl: Kubectl, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Carry out `log_levels.changes`; the levels that are set then."""
    name = _name(kubectl)
    if wanted:
        patch = json.dumps({"data": wanted})
        try:
            kubectl.json("patch", "configmap", name, "--type=merge", f"--patch={patch}")
        except KubectlFailed as error:
            if not error.means(NOT_FOUND):
                raise
            _create(kubectl, name, wanted)
    try:
        levels: dict[str, str] = kubectl.json("get", "configmap", name).get("data") or {}
    except KubectlFailed as error:
        if not error.means(NOT_FOUND):
            raise
        return {}
    return levels


def _create(kubectl: Kubectl, name: str, wanted: Mapping[str, str | None]) -> None:
    levels = {whose: level for whose, level in wanted.items() if level is not None}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": levels}
    kubectl.json("create", "--filename=-", stdin=manifest)


def _name(kubectl: Kubectl) -> str:
    pods = kubectl.json("get", "pods", f"--selector={SELECTOR}")["items"]
    for volume in (one for pod in pods for one in pod["spec"].get("volumes", ())):
        if volume["name"] == VOLUME:
            return str(volume["configMap"]["name"])
    raise NoLevels
