"""k8s/: the CRDs are those of the models and structural, and the role covers all kinds.

What the API server itself says to them is asked in tests/cluster.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic import Field

from rei_core.maintenance.resources import KINDS
from rei_core.maintenance.resources.backups import BackupSchedule
from rei_core.maintenance.resources.base import Fields
from rei_core.maintenance.resources.crd import SchemaError, crd, schema
from rei_core.maintenance.resources.jobs import StuckJobPolicy
from rei_core.maintenance.resources.manifest import load
from rei_core.maintenance.resources.recurring import Recurring

ROOT = Path(__file__).parents[3]
K8S = ROOT / "k8s"
Node = Mapping[str, Any]

TYPES = {"object", "array", "string", "integer", "number", "boolean"}
WORDS = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
    "array": {"items", "minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"},
    "string": {"pattern", "minLength", "maxLength", "enum", "format"},
    "integer": {"minimum", "maximum", "format", "enum"},
    "boolean": set(),
}  # fmt: skip
ANYWHERE = {"type", "description", "default", "x-kubernetes-validations"}


def problems(node: Node, path: str) -> Iterator[str]:
    """What the API server would say to a schema: written from its rules for structural schemas
    (apiextensions.k8s.io/v1), not from the code that makes ours."""
    kind = node.get("type")
    if kind not in TYPES:
        yield f"{path}: type {kind!r}"
        return
    for word in node.keys() - WORDS[kind] - ANYWHERE:
        yield f"{path}: {word} does not belong to {kind}"
    match kind:
        case "object":
            yield from object_problems(node, path)
        case "array":
            yield from list_problems(node, path)
        case "string":
            yield from text_problems(node, path)
        case "integer" if node.get("format") != "int64":
            yield f"{path}: no int64"
    if "default" in node:
        yield from wrong_value(node["default"], node, f"{path} default")
    yield from rule_problems(node, path)
    for name, inner in children(node):
        yield from problems(inner, f"{path}{name}")


def object_problems(node: Node, path: str) -> Iterator[str]:
    if "properties" in node and "additionalProperties" in node:
        yield f"{path}: both properties and additionalProperties"
    for name in node.get("required", ()):
        if name not in node.get("properties", {}):
            yield f"{path}: {name} is required and unknown"


def text_problems(node: Node, path: str) -> Iterator[str]:
    re.compile(node.get("pattern", ""))
    if "(?" in node.get("pattern", ""):
        yield f"{path}: the pattern is not Go's"
    if not all(isinstance(one, str) for one in node.get("enum", ())):
        yield f"{path}: an enum of something else than text"


def children(node: Node) -> Iterator[tuple[str, Node]]:
    for name, inner in node.get("properties", {}).items():
        yield f".{name}", inner
    if "items" in node:
        yield "[]", node["items"]
    if "additionalProperties" in node:
        yield "{}", node["additionalProperties"]


def list_problems(node: Node, path: str) -> Iterator[str]:
    if "maxItems" not in node:
        yield f"{path}: no bound"
    if "items" not in node:
        yield f"{path}: a list of anything"
        return
    match node.get("x-kubernetes-list-type"):
        case "map":
            items = node["items"]
            for key in node.get("x-kubernetes-list-map-keys", ()):
                if key not in items["required"] and "default" not in items["properties"][key]:
                    yield f"{path}: the key {key} may be missing"
        case "set":
            if node["items"]["type"] in ("object", "array"):
                yield f"{path}: a set of {node['items']['type']}"
        case "atomic":
            pass
        case other:
            yield f"{path}: list type {other!r}"


def rule_problems(node: Node, path: str) -> Iterator[str]:
    """Rules name fields that exist, and their messages are one line that is short enough."""
    for rule in node.get("x-kubernetes-validations", ()):
        if not 0 < len(rule["message"]) <= 2048 or "\n" in rule["message"]:
            yield f"{path}: the message {rule['message']!r}"
        if rule["rule"].count("(") != rule["rule"].count(")"):
            yield f"{path}: the rule {rule['rule']!r}"
        for dotted in re.findall(r"\b(?:self|oldSelf)((?:\.[A-Za-z]+\b(?!\())*)", rule["rule"]):
            inner = node
            for name in filter(None, dotted.split(".")):
                if inner["type"] == "object" and path == "" and name == "metadata":
                    break
                if name not in inner.get("properties", {}):
                    yield f"{path}: the rule {rule['rule']!r} knows no {name}"
                    break
                inner = inner["properties"][name]


def wrong_value(value: object, node: Node, path: str) -> Iterator[str]:
    """Whether a default is a value that the schema takes."""
    fits = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if not isinstance(value, fits[node["type"]]):
        yield f"{path}: {value!r} is no {node['type']}"
    elif isinstance(value, dict):
        for name, one in value.items():
            inner = node.get("properties", {}).get(name, node.get("additionalProperties"))
            if inner is None:
                yield f"{path}: {name} is unknown"
            else:
                yield from wrong_value(one, inner, f"{path}.{name}")
    elif "enum" in node and value not in node["enum"]:
        yield f"{path}: {value!r} is none of the enum"


def described(node: Node, path: str) -> Iterator[str]:
    """Fields that `kubectl explain` would say nothing about."""
    for name, inner in children(node):
        if name.startswith(".") and len(inner.get("description", "")) < 10:
            yield f"{path}{name}"
        yield from described(inner, f"{path}{name}")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crds", ROOT / "tools" / "crds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_models_say(tool: ModuleType) -> None:
    for folder, wanted in tool.folders().items():
        assert tool.differences(folder, wanted) == []
        assert {path.name for path in folder.iterdir()} == set(wanted)


def test_the_tool_writes_removes_and_sees_differences(tool: ModuleType, tmp_path: Path) -> None:
    wanted = tool.files()
    tool.write(tmp_path, wanted)
    assert tool.differences(tmp_path, wanted) == []
    (tmp_path / "gone.yaml").write_text("kind: Gone")
    changed = tmp_path / "userbans.yaml"
    changed.write_text(changed.read_text().replace("Telegram", "Telegramm"))
    assert tool.differences(tmp_path, wanted) == ["gone.yaml", "userbans.yaml"]
    tool.write(tmp_path, wanted)
    assert tool.differences(tmp_path, wanted) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_structural(kind: str) -> None:
    given = schema(KINDS[kind])
    metadata = given["properties"]["metadata"]
    assert metadata == {"type": "object"}
    assert list(problems(given, "")) == []
    # What JSON, and so the API server, sees is the same.
    assert json.loads(json.dumps(given)) == given


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_explained(kind: str) -> None:
    given = schema(KINDS[kind])
    assert len(given["description"]) > 30
    parts = {name: given["properties"][name] for name in ("spec", "status")}
    assert list(described({"type": "object", "properties": parts}, "")) == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_status_is_there_before_the_operator_says_it(kind: str) -> None:
    assert '"default":' not in json.dumps(schema(KINDS[kind])["properties"]["status"])


def test_what_happens_once_cannot_change() -> None:
    for kind, resource in KINDS.items():
        rules = schema(resource)["properties"]["spec"].get("x-kubernetes-validations", [])
        immutable = any(rule["rule"] == "self == oldSelf" for rule in rules)
        assert immutable == (resource.condition_type == "Succeeded"), kind


def test_names_are_told_apart() -> None:
    names = [crd(kind)["spec"]["names"] for kind in KINDS.values()]
    said = [word for one in names for word in (one["plural"], one["singular"], *one["shortNames"])]
    assert len(set(said)) == len(said)
    for one in names:
        assert one["categories"] == ["rei"]
        assert one["singular"] == one["kind"].lower()


@pytest.mark.parametrize("kind", KINDS)
def test_columns_lead_to_fields(kind: str) -> None:
    version = crd(KINDS[kind])["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    root = version["schema"]["openAPIV3Schema"]
    names = []
    for column in version["additionalPrinterColumns"]:
        names.append(column["name"])
        if column["jsonPath"] == ".metadata.creationTimestamp":
            continue
        node = root
        for part in re.sub(r"\[[^]]*\]", "[]", column["jsonPath"]).removeprefix(".").split("."):
            node = node["properties"][part.removesuffix("[]")]
            if part.endswith("[]"):
                node = node["items"]
        allowed = {"date": "string"}.get(column["type"], column["type"])
        assert node["type"] == allowed, column
    assert len(set(names)) == len(names)
    wanted = {"Ready", "Last Run", "Next Run"} if issubclass(KINDS[kind], Recurring) else set()
    assert {*wanted, KINDS[kind].condition_type, "Reason", "Age"} <= set(names)


def test_a_demand_with_no_other_word_is_not_lost() -> None:
    class Odd(Fields):
        """A model that no structural schema can tell."""

        even: int = Field(multiple_of=2, default=2, description="An even number")

    class OddSpec(StuckJobPolicy):
        """A resource with it."""

        spec: Odd  # type: ignore[assignment]

    with pytest.raises(SchemaError, match=r"\.spec\.even: 'multipleOf' has no place"):
        schema(OddSpec)


def test_defaults_of_the_schema_are_those_of_the_model() -> None:
    spec = schema(BackupSchedule)["properties"]["spec"]["properties"]
    assert spec["retention"]["default"] == {"maxAgeDays": 30, "minVerified": 3}
    assert "default" not in spec["encryption"]
    assert spec["verification"]["default"] == "Restore"
    assert spec["storage"]["properties"]["s3"]["properties"]["prefix"]["default"] == ""


def test_the_checker_itself_finds_what_is_wrong() -> None:
    for wrong in (
        {"$ref": "#/x"},
        {"type": "object", "anyOf": []},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        {"type": "integer"},
        {"type": "array", "items": {"type": "string"}, "maxItems": 1},
        {"type": "string", "default": None},
        {"type": "string", "pattern": "(?=x)"},
        {"type": "object", "required": ["x"]},
        {
            "type": "object",
            "properties": {},
            "x-kubernetes-validations": [{"rule": "self.x == 1", "message": "x"}],
        },
    ):
        assert list(problems(wrong, "")), wrong


def documents(folder: str) -> list[dict[str, Any]]:
    return [
        document
        for path in sorted((K8S / folder).glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("folder", ["crds", "operator"])
def test_a_kustomization_lists_what_is_there(folder: str) -> None:
    kustomization = yaml.safe_load((K8S / folder / "kustomization.yaml").read_text())
    there = {path.name for path in (K8S / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == there


def test_the_role_covers_every_kind_and_nothing_secret() -> None:
    (role,) = (one for one in documents("operator") if one["kind"] == "Role")
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    plurals = {kind.names.plural for kind in KINDS.values()}
    for verb in ("get", "list", "watch"):
        assert {one[1] for one in granted if one[0] == "rei.bot" and one[2] == verb} == plurals
    assert {one[1] for one in granted if one[0] == "rei.bot" and one[2] == "patch"} == {
        f"{plural}/status" for plural in plurals
    }
    assert not [one for one in granted if "*" in one or "secret" in one[1]]
    assert {one for one in granted if "pods" in one[1]} == {
        ("", "pods", "list"),
        ("", "pods/status", "patch"),  # of a pod's metadata; no spec can be changed by it
    }


def test_the_deployment_is_one_and_never_two() -> None:
    (deployment,) = (one for one in documents("operator") if one["kind"] == "Deployment")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    (container,) = spec["template"]["spec"]["containers"]
    assert container["image"] == "rei-operator"
    assert {one["name"] for one in container["env"]} >= {"REI_NAMESPACE", "REI_JOB_IMAGE"}
    (account,) = (one for one in documents("operator") if one["kind"] == "ServiceAccount")
    assert spec["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]


def test_samples_pass_the_schema() -> None:
    for path in (K8S / "samples").iterdir():
        (resource,) = load(path.read_text(encoding="utf-8"))
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec = schema(KINDS[resource.kind])["properties"]["spec"]
        assert list(wrong_value(given["spec"], spec, path.stem)) == []
