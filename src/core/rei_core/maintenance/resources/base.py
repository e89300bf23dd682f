"""What all custom resources share: how a field is written, what a rule is, metadata and status.

One class tells everything about a kind: the fields with their bounds, defaults and descriptions
(`kubectl explain` shows them), and the rules that no single field can express. The CRDs in
`k8s/crds` are generated from these classes, so the API server and `rei run -f` refuse the same
manifests with the same sentences.

A spec refuses what it does not know: a misspelt field must never be dropped in silence. Metadata
and status do take unknown fields: Kubernetes owns the one, and a newer operator may have written
the other.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

GROUP = "rei.bot"
VERSION = "v1alpha1"
API_VERSION: Final = "rei.bot/v1alpha1"
REQUESTED_AT = f"{GROUP}/requested-at"
"""The annotation that asks a recurring resource for a run now; see `rei_core.maintenance.schedule`."""
REQUESTED_BY = f"{GROUP}/requested-by"
"""The annotation by which `kubectl rei` says who asks. Whoever may write the resource may write it:
it is told as what it is, and the API server's own audit log knows better."""

USER_ID_MAX = 2**53 - 1
"""Telegram's ids fit 52 bits; beyond 2**53 a JSON number would be rounded on the way."""
NOTES_MAX = 20
NOTE_CHARS_MAX = 300

LIST_ATOMIC = {"x-kubernetes-list-type": "atomic"}
LIST_SET = {"x-kubernetes-list-type": "set"}
LIST_OF_CONDITIONS = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


def camel_case(name: str) -> str:
    """`user_id` → `userID`, `last_run_time` → `lastRunTime`, as Kubernetes writes names."""
    first, *others = name.split("_")
    return first + "".join("ID" if word == "id" else word.capitalize() for word in others)


@dataclass(frozen=True, slots=True)
class Rule:
    """A demand that no single field can express.

    `cel` is for the API server, `holds` says the same in Python; `message` is what a person reads
    from either. No `holds`: it is about a change (`oldSelf`), and a manifest knows no older self;
    or the field's own check in Python says it better.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None


class Fields(BaseModel):
    """A part of a resource. Strict as the API server is: the text "5" is no number.

    Read documents by `of`; the keyword arguments of Python are snake_case.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=camel_case,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_the_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise ValueError(rule.message)
        return self

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read what the API or a YAML file gave; raises pydantic's ValidationError.

        By way of JSON, since only there a time is a text and a list becomes a tuple.
        """
        return cls.model_validate_json(json.dumps(document, allow_nan=False))

    def document(self) -> dict[str, Any]:
        """The same as JSON values under the names of Kubernetes; what is not set is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Fields):
    """The part of Kubernetes' metadata that matters to us."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[
        str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    ]
    namespace: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ] = "default"
    annotations: Mapping[str, str] = {}
    generation: Annotated[int, Field(ge=0)] = 0
    uid: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None


class ConditionStatus(enum.StrEnum):
    """Kubernetes has three answers to a yes-no question."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Fields):
    """One answer about the resource, by the conventions of Kubernetes."""

    model_config = ConfigDict(extra="ignore")

    type: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """What is asked: Ready, Succeeded, Consistent, …"""
    status: ConditionStatus
    """True, False, or Unknown while it is not known yet."""
    reason: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Why, in one word that programs may compare."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, in a sentence for people. Never holds a secret."""
    last_transition_time: AwareDatetime
    """When `status` changed last."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this is about."""


class Result(Fields):
    """What a run did."""

    model_config = ConfigDict(extra="ignore")

    examined: Annotated[int, Field(ge=0)] = 0
    """How many rows, payments or backups were looked at."""
    changed: Annotated[int, Field(ge=0)] = 0
    """How many of them were changed; with `dryRun`, how many would have been."""
    failed: Annotated[int, Field(ge=0)] = 0
    """How many could not be dealt with; `notes` says why."""
    amount_kopecks: int = 0
    """The money that was moved, in kopecks; negative if customers have less than before."""
    notes: Annotated[
        tuple[Annotated[str, Field(max_length=NOTE_CHARS_MAX)], ...],
        Field(max_length=NOTES_MAX, json_schema_extra=LIST_ATOMIC),
    ] = ()
    """What a person should know about this run, one sentence each, the first 20."""


class Status(Fields):
    """What the operator tells about a resource. It is told again from PostgreSQL if it is lost."""

    model_config = ConfigDict(extra="ignore")

    conditions: Annotated[
        tuple[Condition, ...], Field(max_length=10, json_schema_extra=LIST_OF_CONDITIONS)
    ] = ()
    """Is it all right? `Ready` for what recurs or lasts, `Succeeded` for what happens once."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that the operator has seen."""

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if it has been told."""
        return next((one for one in self.conditions if one.type == type_), None)


@dataclass(frozen=True, slots=True)
class Names:
    """What kubectl calls a kind."""

    plural: str
    singular: str
    short: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`. Those of priority 1 show with `-o wide` only."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    description: str = ""
    priority: int = 0


def condition_columns(type_: str) -> tuple[Column, ...]:
    """The columns that answer "is it all right", and why."""
    at = f'.status.conditions[?(@.type=="{type_}")]'
    return (
        Column(type_, f"{at}.status", description="Is it all right?"),
        Column("Reason", f"{at}.reason", description="Why, in one word"),
    )


def message_column(type_: str) -> Column:
    """The sentence behind the reason, too long for the ordinary table."""
    return Column(
        "Message",
        f'.status.conditions[?(@.type=="{type_}")].message',
        description="Why, in a sentence",
        priority=1,
    )


AGE = Column("Age", ".metadata.creationTimestamp", "date", "Since when it is there")


class Resource(Fields):
    """A custom resource of Rei. Every kind narrows `kind`, `spec` and `status`."""

    api_version: Literal["rei.bot/v1alpha1"] = API_VERSION
    kind: str
    metadata: Metadata
    spec: Fields
    status: Status = Status()

    names: ClassVar[Names]
    columns: ClassVar[tuple[Column, ...]]
    condition_type: ClassVar[str]
    """The condition that sums the resource up."""

    @property
    def key(self) -> tuple[str, str, str]:
        """(kind, namespace, name): who it is, in PostgreSQL too. Never the uid: a restored
        cluster gives another, and what was done must not be done again."""
        return self.kind, self.metadata.namespace, self.metadata.name


def unchangeable(what: str) -> Rule:
    """The spec of what happens once cannot change: what was done would not be what it says."""
    return Rule("self == oldSelf", f"the spec of a {what} cannot change: make another {what}")


def short_name(characters_max: int) -> Rule:
    """The names of Jobs and Backups are made from this one, and may have 63 characters."""
    return Rule(
        f"self.metadata.name.size() <= {characters_max}",
        f"metadata.name must have at most {characters_max} characters: "
        "longer names are made from it",
        lambda resource: len(resource.metadata.name) <= characters_max,
    )


def only_one_of(*names: str) -> Rule:
    """Exactly one of these optional fields is given."""
    given = ", ".join(f"has(self.{camel_case(name)})" for name in names)
    listed = ", ".join(camel_case(name) for name in names[:-1])
    return Rule(
        f"[{given}].filter(given, given).size() == 1",
        f"give exactly one of {listed} and {camel_case(names[-1])}",
        lambda spec: sum(getattr(spec, name) is not None for name in names) == 1,
    )


ONE_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""Text of one line that is more than spaces."""
