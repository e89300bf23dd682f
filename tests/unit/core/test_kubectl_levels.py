"""`kubectl rei log-level`: the ConfigMap is found by what the pods mount, made, patched and read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rei_core.kubectl import levels
from rei_core.kubectl.client import Json, KubectlFailed
from rei_core.kubectl.levels import NoLevels


class Cluster:
    """One pod that mounts `name`, and the ConfigMaps that there are."""

    def __init__(self, name: str | None) -> None:
        volume = {"name": "log-levels", "configMap": {"name": name, "optional": True}}
        tmp: Json = {"name": "tmp", "emptyDir": {}}
        self._volumes = [tmp] if name is None else [tmp, volume]
        self.maps: dict[str, dict[str, str]] = {}

    def json(self, *words: str, stdin: Json | None = None) -> Json:
        match words:
            case ("get", "pods", _):
                return {"items": [{"spec": {}}, {"spec": {"volumes": self._volumes}}]}
            case ("create", _) if stdin is not None:
                assert stdin["kind"] == "ConfigMap"
                self.maps[stdin["metadata"]["name"]] = dict(stdin["data"])
            case ("patch", "configmap", name, "--type=merge", patch):
                self._patch(words, name, json.loads(patch.removeprefix("--patch="))["data"])
            case ("get", "configmap", name):
                self._known(words, name)
                return {"data": self.maps[name]} if self.maps[name] else {}
            case _:
                raise AssertionError(words)
        return {}

    def _patch(self, words: tuple[str, ...], name: str, data: dict[str, Any]) -> None:
        self._known(words, name)
        for key, value in data.items():
            self.maps[name].pop(key, None)
            if value is not None:
                self.maps[name][key] = value

    def _known(self, words: tuple[str, ...], name: str) -> None:
        if name not in self.maps:
            raise KubectlFailed(words, f'Error from server (NotFound): "{name}" not found')

    def text(self, *words: str, any_status: bool = False) -> str:
        raise AssertionError(words, any_status)

    def through(self, *words: str) -> int:
        raise AssertionError(words)


def test_levels_are_set_the_first_time_and_again_and_taken_back() -> None:
    cluster = Cluster("shop-rei-log-levels")
    assert levels.change(cluster, {}) == {}
    assert levels.change(cluster, {"bot": "DEBUG", "worker": None}) == {"bot": "DEBUG"}
    both = {"bot": "DEBUG", "rei_core.jobs": "ERROR"}
    assert levels.change(cluster, {"rei_core.jobs": "ERROR"}) == both
    assert list(cluster.maps) == ["shop-rei-log-levels"]
    assert levels.change(cluster, {"bot": None, "rei_core.jobs": None}) == {}


def test_a_namespace_without_such_pods_is_told() -> None:
    with pytest.raises(NoLevels, match="-n"):
        levels.change(Cluster(None), {"bot": "DEBUG"})


def test_a_no_of_the_api_server_is_passed_on() -> None:
    class Forbidden(Cluster):
        def _known(self, words: tuple[str, ...], name: str) -> None:
            raise KubectlFailed(words, "Error from server (Forbidden): you may not")

    for wanted in ({"bot": "DEBUG"}, {}):
        with pytest.raises(KubectlFailed, match="Forbidden"):
            levels.change(Forbidden("rei-log-levels"), wanted)
