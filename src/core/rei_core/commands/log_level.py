"""`rei log-level`: what running processes log, without a restart."""

from __future__ import annotations

from pathlib import Path

import click

from rei_core import log_levels
from rei_core.errors import ConfigurationError
from rei_core.settings import LogSettings, describe, load

VARIABLE = "REI_LOG_LEVELS_DIR"


@click.command("log-level")
@click.argument("words", nargs=-1, metavar="[NAME=LEVEL | NAME-]...")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where the processes look.  [{VARIABLE}]",
)
def log_level(*, words: tuple[str, ...], folder: Path | None) -> None:
    """Change what running processes log, within a second and without a restart.

    NAME is a process (bot, worker, operator) or a logger (rei_core.payments, with all below it, in
    every process); LEVEL is DEBUG, INFO, WARNING or ERROR. NAME- takes a level back to REI_LOG_LEVEL.
    Without any, the levels that are set are shown.

    \b
    rei log-level rei_core.payments=DEBUG      what happens to payments, in detail
    rei log-level worker=DEBUG bot=WARNING     all of the worker, little of the bot
    rei log-level worker- bot-                 as before

    The processes look into the folder that REI_LOG_LEVELS_DIR names. In Kubernetes it is a ConfigMap:
    see docs/logs.md.
    """
    wanted = log_levels.changes(words)
    folder = folder or load(LogSettings).log_levels_dir
    if folder is None:
        raise ConfigurationError(VARIABLE, "is not set", describe(LogSettings, VARIABLE))
    try:
        if wanted:
            log_levels.write(folder, wanted)
        levels = log_levels.read(folder)
    except OSError as error:
        raise ConfigurationError(
            VARIABLE, f"{folder}: {error.strerror}", "In a pod it is a ConfigMap: see docs/logs.md"
        ) from error
    for name, level in levels.items():
        click.echo(f"{name}={level}")
    if not levels:
        click.echo("Nothing is set: REI_LOG_LEVEL holds.")
