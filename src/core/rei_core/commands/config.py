"""`rei config check`: every setting, where it comes from, and what is wrong with it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rei_core.catalog import load_catalog
from rei_core.errors import ConfigurationError
from rei_core.logs import MASK, masked_text
from rei_core.settings import (
    BotSettings,
    OperatorSettings,
    WorkerSettings,
    problems_of,
    variable_of,
)

PROCESSES: dict[str, type[BaseSettings]] = {
    "bot": BotSettings,
    "worker": WorkerSettings,
    "operator": OperatorSettings,
}


@dataclass(frozen=True, slots=True)
class SettingState:
    """One setting as one process sees it; `problem` is empty when it is all right."""

    variable: str
    processes: tuple[str, ...]
    shown: str
    given: bool
    problem: str
    description: str


@click.group()
def config() -> None:
    """Settings: what there is, what is set, what is wrong."""


@config.command("check")
@click.option(
    "--part",
    type=click.Choice(sorted(PROCESSES)),
    multiple=True,
    help="Check one process only; all by default.",
)
def check(part: tuple[str, ...]) -> None:
    """Show every setting with secrets masked; exit 1 if anything is wrong.

    Settings come from the environment only.
    """
    states = inspect({name: PROCESSES[name] for name in part or PROCESSES})
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table("setting", "value", "for", "what it is", title="Rei's settings")
    for state in states:
        value = f"[red]{escape(state.problem)}[/]" if state.problem else _value(state)
        table.add_row(state.variable, value, ", ".join(state.processes), state.description)
    console.print(table)
    problems = [state for state in states if state.problem]
    for state in problems:
        console.print(f"[red]✗[/] {state.variable}: {escape(state.problem)}. {state.description}.")
        console.print(f"  Set it with: export {state.variable}=…")
    catalog_problem = _catalog_problem()
    if catalog_problem:
        console.print(f"[red]✗[/] {escape(catalog_problem)}")
    if problems or catalog_problem:
        sys.exit(1)
    console.print("[green]✓[/] all settings make sense; `rei doctor` tries them")


def inspect(kinds: dict[str, type[BaseSettings]]) -> list[SettingState]:
    """Every setting of these processes, once, in the order of the classes."""
    found: dict[str, SettingState] = {}
    for process, kind in kinds.items():
        problems = _problems(kind)
        for name, field in kind.model_fields.items():
            variable = variable_of(kind, name)
            known = found.get(variable)
            shown = _shown(variable, field)
            if known is not None and variable in os.environ:
                shown = known.shown
            elif known is not None and shown not in known.shown.split(", "):
                shown = f"{known.shown}, {shown}"  # each process has a default of its own
            found[variable] = SettingState(
                variable=variable,
                processes=(*(known.processes if known else ()), process),
                shown=shown,
                given=variable in os.environ,
                problem=problems.get(variable, ""),
                description=field.description or "",
            )
    return list(found.values())


def _problems(kind: type[BaseSettings]) -> dict[str, str]:
    try:
        kind()
    except ValidationError as error:
        return problems_of(kind, error)
    return {}


def _shown(variable: str, field: FieldInfo) -> str:
    secret = "SecretStr" in str(field.annotation)
    if variable in os.environ:
        # An address may hold a password, and a secret may have been pasted into the wrong one.
        return MASK if secret else masked_text(os.environ[variable])
    if field.default is PydanticUndefined:
        return ""
    default = field.default
    return MASK if isinstance(default, SecretStr) else str(default)


def _value(state: SettingState) -> str:
    shown = escape(state.shown)
    return shown if state.given else f"[dim]{shown} (default)[/]"


def _catalog_problem() -> str:
    try:
        file = os.environ.get("REI_CATALOG_FILE")
        load_catalog(Path(file) if file else None)
    except ConfigurationError as error:
        return str(error)
    return ""
