"""What every procedure of maintenance tells, and where it keeps count while it works.

A run that dies is taken over by another process, which goes on from what was counted. So a
procedure writes its result in the same transaction as each of its steps: a step and its count
happen together or not at all, and the result of a run that was killed ten times equals that of one
that was not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from rei_core.db import Connection
from rei_core.logs import masked_text

NOTES_MAX: Final = 20
NOTE_CHARS_MAX: Final = 300

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did. `notes` are sentences for a person, bounded by `noting`.

    `changed` counts what a dry run would have changed; `amount_kopecks` only what really moved:
    positive if customers have more than before.
    """

    examined: int = 0
    changed: int = 0
    failed: int = 0
    amount_kopecks: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.notes) > NOTES_MAX or any(len(note) > NOTE_CHARS_MAX for note in self.notes):
            raise ValueError("notes are added by `noting`, which keeps them short")

    def plus(
        self, *, examined: int = 0, changed: int = 0, failed: int = 0, amount_kopecks: int = 0
    ) -> RunResult:
        """The same with these added."""
        return replace(
            self,
            examined=self.examined + examined,
            changed=self.changed + changed,
            failed=self.failed + failed,
            amount_kopecks=self.amount_kopecks + amount_kopecks,
        )

    def noting(self, sentence: str) -> RunResult:
        """The same with another note: without secrets, shortened, once; the first twenty stay."""
        note = " ".join(masked_text(sentence).split())
        if len(note) > NOTE_CHARS_MAX:
            note = note[: NOTE_CHARS_MAX - 1] + "…"
        if note in self.notes or len(self.notes) == NOTES_MAX:
            return self
        return replace(self, notes=(*self.notes, note))

    def document(self) -> Json:
        """As `maintenance_runs.result` keeps it."""
        return {
            "examined": self.examined,
            "changed": self.changed,
            "failed": self.failed,
            "amount_kopecks": self.amount_kopecks,
            "notes": list(self.notes),
        }

    @classmethod
    def of(cls, document: Json) -> RunResult:
        """From what `document` gave; a newer version's row may hold more, an empty one less."""
        return cls(
            examined=document.get("examined", 0),
            changed=document.get("changed", 0),
            failed=document.get("failed", 0),
            amount_kopecks=document.get("amount_kopecks", 0),
            notes=tuple(document.get("notes", ())),
        )


class Progress(Protocol):
    """Where a run stands."""

    @property
    def result(self) -> RunResult:
        """What earlier attempts at this run did already."""
        ...

    @property
    def detail(self) -> Json:
        """What earlier attempts remembered; empty if there was none."""
        ...

    async def advance(self, connection: Connection, result: RunResult) -> None:
        """Remember the result so far, in the caller's transaction.

        Raises `RunLost` if another process has taken the run over: the transaction, and the step
        in it, is then rolled back.
        """
        ...

    async def remember(self, connection: Connection, detail: Json) -> None:
        """Write down what is about to be done, for the attempt that may have to go on with it.

        Raises `RunLost` as `advance` does.
        """
        ...


class Unrecorded:
    """The progress of a run that has no row: nothing to go on from, nothing to remember."""

    result: RunResult = RunResult()
    detail: Json = {}  # noqa: RUF012 - never written to

    async def advance(self, connection: Connection, result: RunResult) -> None:
        """Nothing to do."""

    async def remember(self, connection: Connection, detail: Json) -> None:
        """Nothing to do."""
