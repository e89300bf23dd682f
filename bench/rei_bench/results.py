"""A run as it is kept: plain data, from JSON and to JSON, and nothing that has to be run again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rei_bench.figures import Bound, Spread, ratio_of, spread_of


@dataclass(frozen=True, slots=True)
class Measured:
    """A contender's rounds, in their order; `notes` holds the rounds of each note."""

    name: str
    values: Sequence[float]
    notes: Mapping[str, Sequence[float]]

    @property
    def spread(self) -> Spread:
        return spread_of(self.values)


@dataclass(frozen=True, slots=True)
class Asked:
    """A wanted ratio."""

    ours: str
    against: str
    ratio: float
    at_most: bool

    @property
    def bound(self) -> Bound:
        return Bound(self.ratio, self.at_most)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case with all its contenders."""

    name: str
    contenders: Sequence[Measured]
    wanted: Sequence[Asked]
    unit: str | None = None
    """Another unit than the row's; then less is better."""

    def of(self, name: str) -> Measured:
        return next(each for each in self.contenders if each.name == name)

    def ratio(self, asked: Asked) -> Spread:
        """The ratio, round by round."""
        return ratio_of(self.of(asked.ours).values, self.of(asked.against).values)


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row of the report. `error`: it could not be measured to its end."""

    key: str
    title: str
    unit: str
    better: str
    text: str
    cases: Sequence[CaseResult]
    seconds: float
    error: str | None = None
    again_at: str | None = None
    """When it was measured, if that was after the run."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A whole run."""

    began_at: str
    seconds: float
    rounds: int
    quick: bool
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: Sequence[RowResult]


def replaced(run: RunResult, again: RunResult) -> RunResult:
    """The run with some of its rows measured again, later."""
    by_key = {row.key: replace(row, again_at=again.began_at) for row in again.rows}
    return replace(run, rows=[by_key.get(row.key, row) for row in run.rows])


def save(run: RunResult, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(run), ensure_ascii=False, indent=1) + "\n")


def load(file: Path) -> RunResult:
    data = json.loads(file.read_text())
    return RunResult(**{**data, "rows": [_row(row) for row in data["rows"]]})


def _row(row: dict[str, Any]) -> RowResult:
    return RowResult(**{**row, "cases": [_case(case) for case in row["cases"]]})


def _case(case: dict[str, Any]) -> CaseResult:
    return CaseResult(
        name=case["name"],
        contenders=[Measured(**each) for each in case["contenders"]],
        wanted=[Asked(**each) for each in case["wanted"]],
        unit=case.get("unit"),  # a run of before there was one has none
    )
