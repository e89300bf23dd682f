"""The CustomResourceDefinition of a kind, made from its class.

A CRD takes only *structural* schemas: no `$ref`, no `anyOf` of a type and null, no `const`, every
node with a type. pydantic's JSON schema says the same things in those other words, and is put
into these. What has no other word is refused here (`SchemaError`), so that no demand of a model
is ever lost on the way to the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel

from rei_core.errors import ReiError
from rei_core.maintenance.resources import GROUP, VERSION, Resource
from rei_core.maintenance.resources.base import Column, Fields, Rule

Schema = dict[str, Any]

# What is the same in both languages.
_KEPT: Final = (
    "type",
    "format",
    "description",
    "enum",
    "default",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
# What is put into other words, or says nothing that the API server does not do by itself: unknown
# fields are refused by it if the client asks for that, as kubectl does, and dropped otherwise.
_PUT_OTHERWISE: Final = frozenset(
    {
        "$ref",
        "anyOf",
        "const",
        "properties",
        "items",
        "additionalProperties",
        "propertyNames",
        "title",
    }
)


class SchemaError(ReiError):
    """A model demands something that no structural schema can say."""

    def __init__(self, path: str, word: str) -> None:
        self.path = path
        self.word = word
        super().__init__(f"{path}: {word!r} has no place in a structural schema")


def crd(kind: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of `kind`, ready to be applied."""
    names = kind.names
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.__name__,
                "listKind": f"{kind.__name__}List",
                "plural": names.plural,
                "singular": names.singular,
                "shortNames": list(names.short),
                "categories": ["rei"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema(kind)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                }
            ],
        },
    }


def schema(kind: type[Resource]) -> Schema:
    """The structural schema of a whole resource."""
    given = kind.model_json_schema(by_alias=True)
    parts = given["properties"]
    return {
        "type": "object",
        "description": _one_line(given["description"]),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},  # Kubernetes' own; it allows nothing else here
            "spec": _structural(parts["spec"], given["$defs"], _model(kind, "spec"), ".spec"),
            # What the operator has not told must not look as if it had: no defaults here.
            "status": _without_defaults(
                _structural(parts["status"], given["$defs"], _model(kind, "status"), ".status")
            ),
        },
        **_validations(kind.rules),
    }


def _model(kind: type[Resource], part: str) -> type[Fields]:
    model = kind.model_fields[part].annotation
    assert isinstance(model, type)
    assert issubclass(model, Fields)
    return model


def _structural(
    given: Mapping[str, Any], defs: Mapping[str, Any], model: type[BaseModel] | None, path: str
) -> Schema:
    """The node `given` in the words of a structural schema.

    `model` is the class that it describes, or that the list or mapping here holds.
    """
    given = _without_null(given, path)
    if "$ref" in given:
        referred = defs[given["$ref"].rpartition("/")[2]]
        # What is said at the reference is about this use: a better description, a default.
        given = {**referred, **{word: given[word] for word in given if word != "$ref"}}
    if unknown := set(given) - {*_KEPT, *_PUT_OTHERWISE}:
        raise SchemaError(path, min(unknown))
    if "type" not in given:
        raise SchemaError(path, "no type")
    node: Schema = {word: given[word] for word in _KEPT if word in given}
    if "description" in node:
        node["description"] = _one_line(node["description"])
    if node.get("default", "") is None:
        del node["default"]
    if "const" in given:
        node["enum"] = [given["const"]]
    if node["type"] == "integer":
        node["format"] = "int64"
    if node["type"] == "array":
        node["items"] = _structural(given["items"], defs, model, f"{path}[]")
    if node["type"] == "object":
        node |= _object(given, defs, model, path)
    return node


def _object(
    given: Mapping[str, Any], defs: Mapping[str, Any], model: type[BaseModel] | None, path: str
) -> Schema:
    if "properties" in given:
        fields = (
            {field.alias: field.annotation for field in model.model_fields.values()}
            if model
            else {}
        )
        return {
            "properties": {
                name: _structural(one, defs, _model_in(fields.get(name)), f"{path}.{name}")
                for name, one in given["properties"].items()
            },
            **_validations(model.rules if model and issubclass(model, Fields) else ()),
        }
    values = given.get("additionalProperties")
    if not isinstance(values, Mapping):
        raise SchemaError(path, "an object of anything")
    return {"additionalProperties": _structural(values, defs, model, f"{path}{{}}")}


def _without_null(given: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """A field that may be missing; Kubernetes takes a null for that by itself."""
    if "anyOf" not in given:
        return given
    others = [choice for choice in given["anyOf"] if choice != {"type": "null"}]
    if len(others) != 1:
        raise SchemaError(path, "anyOf")
    return {**others[0], **{word: value for word, value in given.items() if word != "anyOf"}}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)


def _without_defaults(node: Schema) -> Schema:
    kept = {word: value for word, value in node.items() if word != "default"}
    for word in ("items", "additionalProperties"):
        if word in kept:
            kept[word] = _without_defaults(kept[word])
    if "properties" in kept:
        kept["properties"] = {
            name: _without_defaults(one) for name, one in kept["properties"].items()
        }
    return kept


def _validations(rules: tuple[Rule, ...]) -> Schema:
    if not rules:
        return {}
    return {
        "x-kubernetes-validations": [{"rule": rule.cel, "message": rule.message} for rule in rules]
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        **({"description": column.description} if column.description else {}),
        **({"priority": column.priority} if column.priority else {}),
    }


def _one_line(text: str) -> str:
    """Paragraphs stay, lines do not: kubectl explain breaks them itself."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
