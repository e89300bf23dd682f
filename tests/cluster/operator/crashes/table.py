"""The crash matrix as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = ("What", "Killed right after", "Exit code", "Begun again", "End equal", "Seconds")
INTRODUCTION = """\
# The crash matrix

Made by `make crash-matrix WRITE=docs/crash-matrix.md`; every line was run.

Each line is a story told from its beginning: real processes (`rei operator`, or what a Job runs), a
real kube-apiserver and PostgreSQL, a database, a storage and objects of its own. The process dies by
itself at the place named, as `kill -9` would end it, and is begun again. "End equal": rows of
PostgreSQL, objects, statuses and Events of the Kubernetes API, backups in the storage and databases
on the server are, in the end, those of the same story without a death; and the ledger's audit finds
nothing. The places of a story are those that it passed when nobody died, in their order: `#2` is the
second time that it comes by. In a restore in place the living database is looked at while the
process is dead, too: it is there under its name, and it is wholly the old one or wholly the new one.

Under "at random" processes are killed from outside, at moments that the seed decides.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A death, and what came of it; `differences` says why the end is another one."""

    what: str
    place: str
    code: int | None
    tries: int
    seconds: float
    differences: tuple[str, ...] = ()

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
        """Aligned, as Markdown."""
        ordered = sorted(self.rows, key=lambda row: row.what)  # stable: the places stay in order
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

    def write(self, path: Path) -> None:
        """Into the documentation."""
        equal = sum(row.equal for row in self.rows)
        summary = f"{len(self.rows)} deaths, {equal} of them without a trace."
        path.write_text(f"{INTRODUCTION}\n{summary}\n\n{self.text()}\n", encoding="utf-8")


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
