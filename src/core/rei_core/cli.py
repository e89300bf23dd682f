"""The `rei` command. Each part of Rei brings its own words by an entry point `rei.commands`.

Parts are imported only when their word is used, so `rei migrate` needs no aiogram, and an image
that holds only the worker says which extra is missing instead of a traceback.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

import click

from rei_core import logs
from rei_core.commands import change, look
from rei_core.commands.api import api
from rei_core.commands.audit import audit_command
from rei_core.commands.config import config
from rei_core.commands.doctor import doctor
from rei_core.commands.log_level import log_level
from rei_core.commands.migrate import migrate_command
from rei_core.commands.preflight import preflight
from rei_core.commands.refund import refund
from rei_core.errors import ReiError

# Words of the core that lean on libraries of one extra only.
LEANING: dict[str, EntryPoint] = {
    name: EntryPoint(name, f"rei_core.commands.backup:{name}", "rei.commands")
    for name in ("backup", "backups", "restore")
}
EXTRA_OF = dict.fromkeys(
    ("apply", "backup", "backups", "maintenance-job", "restore", "rollout", "run"), "operator"
)


class ReiGroup(click.Group):
    """A click group whose other words are the installed parts."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_parts()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = super().get_command(ctx, cmd_name)
        if known is not None or cmd_name not in _parts():
            return known
        try:
            loaded = _parts()[cmd_name].load()
        except ImportError as error:
            missing = error.name or str(error)
            return _unavailable(cmd_name, missing)
        assert isinstance(loaded, click.Command)
        return loaded


def _parts() -> dict[str, EntryPoint]:
    return LEANING | {point.name: point for point in entry_points(group="rei.commands")}


def _unavailable(name: str, missing: str) -> click.Command:
    @click.command(name, help=f"Not installed here: needs {missing}.", hidden=True)
    def refuse() -> None:
        raise click.ClickException(
            f"`rei {name}` needs the package {missing!r}, which is not installed. "
            f"Install Rei with what it needs: pip install 'rei[{EXTRA_OF.get(name, name)}]'"
        )

    return refuse


@click.group(cls=ReiGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rei", prog_name="rei")
def rei() -> None:
    """Rei sells AI images in Telegram against a prepaid ruble balance.

    \b
    Try it with nothing but this command:  rei demo
    Before the first real start:           rei config check, rei migrate, rei doctor
    Then, a process each:                  rei bot, rei worker
    On call:                               rei status, rei doctor, rei user, rei credit, rei log
    """


for command in (
    api,
    audit_command,
    *change.COMMANDS,
    config,
    doctor,
    log_level,
    *look.COMMANDS,
    migrate_command,
    preflight,
    refund,
):
    rei.add_command(command)


def main() -> None:
    """The entry point: errors that Rei names are one line, not a traceback.

    Results go to stdout, so the log does not: until a process has set up its own, warnings are told
    on stderr.
    """
    logs.configure(level="WARNING", log_format="console", component="rei")
    try:
        rei()
    except ReiError as error:
        click.secho(f"rei: {error}", fg="red", err=True)
        sys.exit(1)
