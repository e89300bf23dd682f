"""A report for whoever ran it: a table for a person, JSON for a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rei_core.money import format_rubles
from rei_operator.by_hand.model import Ended, Report, State

WIDTH_WITHOUT_TERMINAL = 160
COLOURS = {State.DONE: "green", State.FAILED: "red", State.LEFT: "yellow"}


def document(report: Report) -> dict[str, Any]:
    """One document's end as JSON values; the amount in kopecks."""
    which, ended = report
    kind, namespace, name = which.resource.key
    return {
        "document": which.number,
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "state": ended.state.name.lower(),
        **ended.result.document(),
        "lines": list(ended.lines),
        "error": ended.error or None,
        "detail": ended.detail,
    }


def show(reports: Sequence[Report]) -> None:
    """Print the table and what is to be said about each document."""
    console = Console(
        highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    )
    table = Table("#", "kind", "name", "state", "examined", "changed", "failed", "amount")
    for column in table.columns[4:]:
        column.justify = "right"
    for which, ended in reports:
        resource = which.resource
        table.add_row(
            str(which.number), resource.kind, escape(resource.metadata.name), *_cells(ended)
        )
    console.print(table)
    for which, ended in reports:
        for sentence in ended.saying():
            mark = "[red]✗[/]" if ended.state is State.FAILED else " "
            console.print(f"{mark} {which.number}: {escape(sentence)}", soft_wrap=True)


def _cells(ended: Ended) -> tuple[str, ...]:
    colour = COLOURS.get(ended.state)
    state = f"[{colour}]{ended.state.value}[/]" if colour else ended.state.value
    if ended.state is State.LEFT:
        return state, "", "", "", ""
    result = ended.result
    return (
        state,
        str(result.examined),
        str(result.changed),
        str(result.failed),
        format_rubles(result.amount_kopecks),
    )
