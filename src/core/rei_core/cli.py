"""The `rei` command. Each part of Rei brings its own words by an entry point `rei.commands`.

Every word is imported only when it is used: `rei status` at three in the morning answers at once, a
backup's memory holds no payment SDK, `rei migrate` needs no aiogram, and an image that holds only
the worker says which extra is missing instead of a traceback.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

import click

from rei_core import logs
from rei_core.errors import ReiError


def _words(module: str, **attributes: str) -> dict[str, EntryPoint]:
    return {
        word: EntryPoint(word, f"rei_core.commands.{module}:{attribute}", "rei.commands")
        for word, attribute in attributes.items()
    }


CORE: dict[str, EntryPoint] = {
    **_words("api", api="api"),
    **_words("audit", audit="audit_command"),
    **_words("backup", backup="backup", backups="backups", restore="restore"),
    **_words("change", credit="credit", debit="debit", ban="ban", unban="unban"),
    **_words("config", config="config"),
    **_words("doctor", doctor="doctor"),
    **_words("log_level", **{"log-level": "log_level"}),
    **_words(
        "look", jobs="jobs", log="log_command", payments="payments",
        status="status", top="top", user="user",
    ),
    **_words("migrate", migrate="migrate_command"),
    **_words("preflight", preflight="preflight"),
    **_words("refund", refund="refund"),
}  # fmt: skip
EXTRA_OF = dict.fromkeys(
    ("apply", "backup", "backups", "maintenance-job", "restore", "rollout", "run"), "operator"
)


class ReiGroup(click.Group):
    """A click group whose words are the core's and those of the installed parts."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_parts())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        part = _parts().get(cmd_name)
        if part is None:
            return None
        try:
            loaded = part.load()
        except ImportError as error:
            missing = error.name or str(error)
            return _unavailable(cmd_name, missing)
        assert isinstance(loaded, click.Command)
        return loaded


def _parts() -> dict[str, EntryPoint]:
    return CORE | {point.name: point for point in entry_points(group="rei.commands")}


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
