"""What is measured: rows of the report, their cases, and who is measured in each.

A `measure` runs one contender once, alone, and returns one figure. Everything it needs is there
when it is called; everything it started has ended when it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from rei_bench.figures import Bound
from rei_bench.stage import Stage


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender; `notes` are figures shown beside it, by their names."""

    value: float
    notes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who does the work."""

    name: str
    measure: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The ratio of one contender to another that the row asks for."""

    ours: str
    against: str
    bound: Bound


@dataclass(frozen=True, slots=True)
class Case:
    """One setting in which all contenders are measured, one after the other, round by round."""

    name: str
    contenders: Sequence[Contender]
    wanted: Sequence[Wanted]
    unit: str | None = None
    """Another unit than the row's; then less is better."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how much: `quick` only proves that everything works."""

    quick: bool

    def pick(self, *, quick: int, full: int) -> int:
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: its cases, prepared and taken down around them."""

    key: str
    title: str
    unit: str
    better: Literal["more", "less"]
    text: str
    """What is measured, and what is not: a paragraph of Markdown."""
    cases: Callable[[Stage, Scale], AbstractContextManager[Sequence[Case]]]
