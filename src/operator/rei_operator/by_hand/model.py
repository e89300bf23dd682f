"""How a document of the file ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Final

from rei_core.maintenance.model import RunResult
from rei_core.maintenance.resources import Resource

Json = dict[str, Any]

LINES_MAX: Final = 40


class State(enum.StrEnum):
    """What became of a document."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """It had been done before: nothing has happened now."""
    PREVIEWED = "would run"
    FAILED = "FAILED"
    LEFT = "not run"
    """An earlier document failed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a document's work came to.

    `lines` are sentences for a person beside the result's notes; `detail` is the same for programs;
    `error` says what went wrong, without secrets.
    """

    state: State
    result: RunResult = field(default_factory=RunResult)
    lines: tuple[str, ...] = ()
    detail: Json = field(default_factory=dict)
    error: str = ""

    def saying(self) -> list[str]:
        """All that a person should read, bounded."""
        told = [self.error] if self.error else []
        told += [*self.result.notes, *self.lines]
        if len(told) <= LINES_MAX:
            return told
        return [*told[:LINES_MAX], f"… and {len(told) - LINES_MAX} more"]


@dataclass(frozen=True, slots=True)
class Document:
    """A resource, and which document of the file it is, counted from 1."""

    number: int
    resource: Resource


Report = tuple[Document, Ended]
