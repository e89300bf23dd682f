"""The drills as a table: for the terminal, and for docs/drills.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rei_sandbox.drill.run import Result

COLUMNS: Final = (
    "drill", "what breaks", "alert", "alert after, s", "waits in life", "healthy after, s",
    "steps by hand", "kopecks lost", "what mends it",
)  # fmt: skip
SHOWN: Final = (
    "drill",
    "alert",
    "alert after, s",
    "healthy after, s",
    "steps by hand",
    "kopecks lost",
)
"""Of these, what a terminal has room for."""
BEGIN: Final = "<!-- The table is written by `make drill WRITE=docs/drills.md`. -->"
END: Final = "<!-- Until here. -->"


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """A row of text for each drill, by `COLUMNS`."""
    return [_row(result) for result in results]


def markdown(results: Sequence[Result]) -> str:
    """The table as the page has it."""
    head = [" | ".join(COLUMNS), "|".join("---" for _ in COLUMNS)]
    lines = [f"| {line} |" for line in [head[0], *(" | ".join(row) for row in rows(results))]]
    return "\n".join([lines[0], f"|{head[1]}|", *lines[1:]]) + "\n"


def placed(page: str, results: Sequence[Result]) -> str:
    """The page with its table replaced; raises `ValueError` where it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{markdown(results)}\n{END}{after}"


def _row(result: Result) -> tuple[str, ...]:
    drill = result.drill
    alerted = result.alert_seconds is not None
    return (
        drill.name,
        drill.what,
        drill.alert or "none: nobody is harmed",
        f"{result.alert_seconds:.0f}" if alerted else "–",
        _waits(result) if alerted else "–",
        f"{result.healthy_seconds:.0f}",
        str(drill.steps),
        str(result.account.lost_kopecks),
        drill.how,
    )


def _waits(result: Result) -> str:
    return f"{result.waits_seconds / 60:g} min" if result.waits_seconds else "not at all"
