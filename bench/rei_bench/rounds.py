"""Rounds, interleaved: A B C, A B C, … so that a machine that slows down slows all of them down."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rei_bench.plan import Case, Contender, Row, Sample, Scale
from rei_bench.results import Asked, CaseResult, Measured, RowResult
from rei_bench.stage import Stage


class ProgressLine:
    """One line that tells what is being measured; on a terminal it is written over."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        passed = time.monotonic() - self._began
        line = f"[{passed // 60:02.0f}:{passed % 60:02.0f}] {text}"
        sys.stderr.write(f"\r\x1b[K{line[:118]}" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")


def measure_row(
    row: Row, stage: Stage, scale: Scale, *, rounds: int, line: ProgressLine
) -> RowResult:
    """All cases of a row, each contender `rounds` times.

    A row that fails is told with its error, and does not take the others with it.
    """
    began = time.monotonic()
    cases: Sequence[Case] = ()
    samples: dict[tuple[str, str], list[Sample]] = {}
    error = None
    try:
        line.tell(f"{row.key} · preparing")
        with row.cases(stage, scale) as cases:
            for number in range(1, rounds + 1):
                for case in cases:
                    for contender in case.contenders:
                        line.tell(
                            f"{row.key} · round {number}/{rounds} · {case.name} · {contender.name}"
                        )
                        sample = contender.measure()
                        samples.setdefault((case.name, contender.name), []).append(sample)
    except Exception as problem:  # whatever it is: the other rows are worth having
        error = f"{type(problem).__name__}: {problem}"
        line.tell(f"{row.key} · failed: {error}")
    whole = [case for case in cases if all(_key(case, each) in samples for each in case.contenders)]
    return RowResult(
        key=row.key,
        title=row.title,
        unit=row.unit,
        better=row.better,
        text=row.text,
        cases=[_result(case, samples) for case in whole],
        seconds=round(time.monotonic() - began, 1),
        error=error,
    )


def _key(case: Case, contender: Contender) -> tuple[str, str]:
    return case.name, contender.name


def _result(case: Case, samples: dict[tuple[str, str], list[Sample]]) -> CaseResult:
    # After a failure some have had one round more than others: only whole rounds count.
    rounds = min(len(samples[_key(case, each)]) for each in case.contenders)
    return CaseResult(
        name=case.name,
        contenders=[
            _measured(each.name, samples[_key(case, each)][:rounds]) for each in case.contenders
        ],
        wanted=[
            Asked(each.ours, each.against, each.bound.ratio, each.bound.at_most)
            for each in case.wanted
        ],
        unit=case.unit,
    )


def _measured(name: str, samples: Sequence[Sample]) -> Measured:
    notes = {note: [sample.notes[note] for sample in samples] for note in samples[0].notes}
    return Measured(name, [sample.value for sample in samples], notes)
