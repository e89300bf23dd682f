"""The crash matrix as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = ("What", "Killed right after", "Exit code", "Begun again", "End equal", "Seconds")
INTRODUCTION = """\
# The crash matrix

Killed anywhere, Rei's operator and its Jobs end as if nothing had happened. This page is what came of
trying it. It is made by `make crash-matrix WRITE=docs/crash-matrix.md`; every line was run.

Each line is a story told from its beginning: real processes (`rei operator`, or what a Job runs), a
real kube-apiserver and PostgreSQL, a database, a storage and objects of its own. The process dies by
itself at the place named, as `kill -9` would end it, and is begun again.

- **Killed right after**: the place. There is one after everything that outlives the process: a row,
  a Job or Backup made or deleted, a Deployment scaled, an Event, a status, an object in the storage,
  a database made, marked or renamed. The places of a story are those that it passed when nobody died;
  `#2` is the second time that it comes by. A place in the code that no story passes fails the matrix,
  and so does a write on the API server that no place comes after. (What the operator writes on
  workers' pods, their deletion costs, belongs to no story: it is made anew at every look.)
- **End equal**: rows of PostgreSQL, objects, statuses and Events of the Kubernetes API, what the pods'
  exit codes were, backups in the storage and databases on the server are, in the end, those of the
  same story without a death, but for times and made-up names; and the ledger's audit finds nothing.
  One number may be larger: a reconciliation that was cut off asks YooKassa again, and counts as
  examined what it was told twice.
- **At random**: killed from outside, at moments that the seed (`REI_CRASH_SEED`) decides.
- **Seconds**: how long the telling took, beside others that were told at the same time.

The time for which a dead run's lease stands, a minute, is made to go by at once.
"""
SECTIONS = {
    "Operator": """\
## The operator

`rei operator` on the API server, with its own ServiceAccount and Role and nothing else. The pods of
its Jobs are made and judged by Kubernetes' own Job controller. At random it is killed twice: in the
middle of the work, once so many of the jobs were refunded or payments credited, and again while it
makes up for that. The ledger is audited while it is dead, too.
""",
    "Job": """\
## What its Jobs run

The Job is tried again, as Kubernetes would. While the process is dead, the ledger adds up, no backup
is listed as verified that was not, and in a restore in place the living database is there under its
name, wholly the old one or wholly the new one.
""",
}
"""By what the rows are about."""


@dataclass(frozen=True, slots=True)
class Row:
    """A death, and what came of it; `differences` says why the end is another one."""

    what: str
    place: str
    code: int | None
    tries: int
    seconds: float
    differences: tuple[str, ...] = ()
    number: int = 0
    """Its place among those of the story, where they die at the same time."""

    @property
    def equal(self) -> bool:
        return not self.differences

    @property
    def cells(self) -> tuple[str, ...]:
        again = "no" if self.tries < 2 else "yes" if self.tries == 2 else f"{self.tries - 1} times"
        code = "lived" if self.code is None else str(self.code)
        equal = "yes" if self.equal else "NO"
        return self.what, self.place, code, again, equal, f"{self.seconds:.1f}"


@dataclass(slots=True)
class Table:
    """All rows of a run."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Show it at once, keep it for the end."""
        self.rows.append(row)
        print("  ".join(row.cells), flush=True)  # noqa: T201 - it is what the matrix is for
        for difference in row.differences:
            print(f"    {difference}", flush=True)  # noqa: T201

    def text(self) -> str:
        """All rows, aligned, as Markdown."""
        return _markdown(self.rows)

    def write(self, path: Path) -> None:
        """Into the documentation."""
        equal = sum(row.equal for row in self.rows)
        parts = [INTRODUCTION, f"{len(self.rows)} deaths, {equal} of them without a trace.\n"]
        for about, introduction in SECTIONS.items():
            rows = [row for row in self.rows if row.what.startswith(f"{about}: ")]
            parts += [introduction, f"{_markdown(rows)}\n"]
        path.write_text("\n".join(parts), encoding="utf-8")


def _markdown(rows: Sequence[Row]) -> str:
    ordered = sorted(rows, key=lambda row: (row.what, row.number))
    lines = [HEADER, *(row.cells for row in ordered)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    shown = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])


def differences(wanted: Any, got: Any, path: str = "") -> tuple[str, ...]:
    """Where two ends differ, a line each."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        found: list[str] = []
        for name in sorted({*wanted, *got}, key=str):
            found += differences(wanted.get(name), got.get(name), f"{path}.{name}".lstrip("."))
        return tuple(found)
    return () if wanted == got else (f"{path}: {_short(got)} instead of {_short(wanted)}",)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}…"


def require_equal(rows: Sequence[Row]) -> None:
    """Fail with all that went wrong."""
    wrong = [row for row in rows if not row.equal]
    assert not wrong, "\n".join(
        f"{row.what} {row.place}: {'; '.join(row.differences)}" for row in wrong
    )
