"""Resources from YAML files, with errors that a person can act on.

An error says which document, which field, what is wrong, and the nearest name that exists. It
never repeats a value: somebody may have pasted a key where its name belongs.

YAML is read as Kubernetes reads it, not as Python does: times stay text, every key is text, and
the same key twice is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from rei_core.errors import ReiError
from rei_core.maintenance.resources import API_VERSION, KINDS, Resource

CHARACTERS_MAX: Final = 1_000_000
DOCUMENTS_MAX: Final = 100
PROBLEMS_MAX: Final = 10

# A name may be repeated in an error. What is longer, or looks otherwise, may be a secret.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
MASKED: Final = "(not shown)"


class ManifestError(ReiError):
    """A manifest cannot be used. `document` counts from 1; `path` is "" for the whole of it."""

    def __init__(self, problem: str, *, document: int, path: str = "", others: int = 0) -> None:
        self.document = document
        self.path = path
        self.problem = problem
        where = f"document {document}" + (f", {path}" if path else "")
        more = f" (and {others} more)" if others else ""
        super().__init__(f"{where}: {problem}{more}")


def load(text: str) -> list[Resource]:
    """The resources of a YAML text with one or more documents; empty documents do not count.

    Raises `ManifestError`.
    """
    return [resource for _, resource in load_numbered(text)]


def load_numbered(text: str) -> list[tuple[int, Resource]]:
    """The same, each with the number of its document in the text."""
    resources = [(number, _read(document, number=number)) for number, document in _documents(text)]
    if not resources:
        raise ManifestError("there is no resource in it", document=1)
    return resources


def read(document: Mapping[str, Any]) -> Resource:
    """The resource that the API gave as JSON; raises `ManifestError`."""
    return _read(document, number=1)


def _documents(text: str) -> Iterator[tuple[int, Any]]:
    if len(text) > CHARACTERS_MAX:
        raise ManifestError(f"has more than {CHARACTERS_MAX} characters", document=1)
    number = 0
    try:
        # The loader builds text, numbers, lists and mappings only: it is a SafeLoader.
        for number, document in enumerate(yaml.load_all(text, _Loader), start=1):
            if number > DOCUMENTS_MAX:
                raise ManifestError(f"there are more than {DOCUMENTS_MAX}", document=number)
            if document is not None:
                yield number, document
    except yaml.YAMLError as error:
        raise ManifestError(_syntax(error), document=number + 1) from None
    except RecursionError:
        raise ManifestError("is nested too deeply", document=number + 1) from None
    except ValueError:  # a number of thousands of digits
        raise ManifestError("holds a value that is no JSON", document=number + 1) from None


def _syntax(error: yaml.YAMLError) -> str:
    """What is wrong with the YAML, without what it quotes of the text."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "is no YAML: it holds a character that must not be in it"
    mark, problem = error.problem_mark, error.problem or "it cannot be read"
    if not problem.startswith("expected"):  # these quote signs of YAML only
        problem = re.sub(r"(['\"]).*\1", "…", problem, flags=re.DOTALL)
    return f"is no YAML, line {mark.line + 1}, column {mark.column + 1}: {problem}"


_TEXT: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes understands it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (_TEXT, _MERGE):
                raise yaml.MarkedYAMLError(
                    problem="a key must be text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {shown(key.value)} stands here for the second time",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(document: Any, *, number: int) -> Resource:
    if not isinstance(document, Mapping):
        raise ManifestError("is no resource but a list or a single value", document=number)
    kind = _kind(document, number=number)
    try:
        return kind.of(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # A whole that is wrong only because of its parts comes after them.
        first = found[0]
        raise ManifestError(
            _problem(kind, first),
            document=number,
            path=_path(kind, first),
            others=len(found) - 1,
        ) from None  # the original holds the values
    except (ValueError, TypeError, RecursionError):  # a value that JSON does not have
        raise ManifestError(
            "holds a value that is no JSON, such as .nan", document=number
        ) from None


def _kind(document: Mapping[str, Any], *, number: int) -> type[Resource]:
    version, name = document.get("apiVersion"), document.get("kind")
    for path, value, known in (("apiVersion", version, [API_VERSION]), ("kind", name, [*KINDS])):
        if value is None:
            raise ManifestError("is missing", document=number, path=path)
        if value not in known:
            raise ManifestError(_unknown(value, known), document=number, path=path)
    return KINDS[str(name)]


def _unknown(value: object, known: list[str]) -> str:
    near = nearest(str(value), known)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
    return f"{shown(str(value))} is not known here; {hint}"


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that somebody probably meant."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def shown(name: str) -> str:
    """A name, unless it may be no name at all."""
    return name if NAME.fullmatch(name.removeprefix("rei.bot/")) else MASKED


# pydantic's own words for what happens are not a person's. Its context fills the braces; it holds
# bounds and choices, never the value.
_WORDS: Final[dict[str, str]] = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "bool_type": "must be true or false, without quotes",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of fields to values",
    "datetime_type": "must be a time such as 2027-01-31T00:00:00Z",
    "datetime_parsing": "must be a time such as 2027-01-31T00:00:00Z",
    "datetime_from_date_parsing": "must be a time such as 2027-01-31T00:00:00Z",
    "timezone_aware": "must say its time zone, such as 2027-01-31T00:00:00Z",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "is not written as it must be. {description}",
}


def _problem(kind: type[Resource], error: ErrorDetails) -> str:
    what, location = error["type"], error["loc"]
    if what == "extra_forbidden":
        near = nearest(str(location[-1]), _fields_at(kind, location[:-1]))
        return "there is no such field" + (f"; did you mean {near}?" if near else "")
    if what == "value_error":
        return error["msg"].removeprefix("Value error, ")
    words = _WORDS.get(what, "cannot be used. {description}")
    context = {**error.get("ctx", {}), "description": _description(kind, location)}
    return words.format(**context).strip()


def _path(kind: type[Resource], error: ErrorDetails) -> str:
    """spec.storage.s3.bucket, spec.recipients[0]."""
    path = ""
    model: Any = kind
    for part in error["loc"]:
        if part == "[key]":  # pydantic's mark of a mapping's key that is wrong
            continue
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part if _field(model, part) else shown(part)}"
            field = _field(model, part)
            model = _model_of(field.annotation) if field else None
    return path.removeprefix(".")


def _fields_at(kind: type[Resource], location: tuple[int | str, ...]) -> list[str]:
    model: Any = kind
    for part in location:
        field = _field(model, part)
        model = _model_of(field.annotation) if field else model
    return [str(field.alias) for field in model.model_fields.values()] if model else []


def _description(kind: type[Resource], location: tuple[int | str, ...]) -> str:
    """What the field is, the first sentences of it."""
    model: Any = kind
    description = ""
    for part in location:
        field = _field(model, part)
        if field is not None:
            description = field.description or ""
            model = _model_of(field.annotation)
    return " ".join(description.split())


def _field(model: Any, name: int | str) -> FieldInfo | None:
    if model is None:
        return None
    fields: dict[str, FieldInfo] = model.model_fields
    return next((field for field in fields.values() if field.alias == name), None)


def _model_of(annotation: Any) -> Any:
    """The model somewhere in an annotation such as `tuple[Model, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_of(one))), None)
