"""Finding one's way in a list of rendered objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def one(objects: list[Json], kind: str, name: str) -> Json:
    """The object of this kind and name."""
    (found,) = (
        each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found


def names(objects: list[Json], kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in objects if each["kind"] == kind}


def pods(objects: list[Json]) -> Iterator[tuple[str, Json]]:
    """Every pod that there will be: whose, and its spec."""
    for each in objects:
        whose = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            yield whose, each["spec"]
        elif each["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield whose, each["spec"]["template"]["spec"]


def containers(pod: Json) -> Iterator[Json]:
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


def environment(container: Json) -> dict[str, Json]:
    """Variable → what it is given."""
    return {variable["name"]: variable for variable in container.get("env", ())}
