"""`kubectl rei`: kubectl runs `kubectl-rei` from the PATH for it.

The words that only look are those of `rei`, with their options and their help: what was typed is
checked here and run there, in the operator's pod.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from rei_core import log_levels
from rei_core.admin import asking
from rei_core.commands import change, look, telling
from rei_core.commands.audit import audit_command
from rei_core.commands.change import (
    Amount,
    announce,
    confirmed,
    operation_option,
    reason_option,
    sensible,
    yes_option,
)
from rei_core.commands.doctor import doctor as doctor_command
from rei_core.commands.doctor import exit_status
from rei_core.commands.doctor import show as show_findings
from rei_core.commands.look import USER_ID, Output, output_option
from rei_core.commands.refund import refund
from rei_core.errors import ReiError
from rei_core.kubectl import levels, manifests, pods, work
from rei_core.kubectl.client import Json, Program
from rei_core.money import decimal_of
from rei_core.trail.model import Word

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

CHANGE_SECONDS: Final = 60
RUN_SECONDS: Final = 600
RESTORE_SECONDS: Final = 21_600

_where = (
    click.Option(["-n", "--namespace"], help="Where Rei is; the context's namespace otherwise."),
    click.Option(["--context"], help="The kubeconfig's context to use."),
    click.Option(["--kubeconfig"], help="The kubeconfig to use."),
)
_WHERE: Final = tuple(str(option.name) for option in _where)


def where(command: Decorated) -> Decorated:
    """The options of kubectl that say which cluster and namespace."""
    for option in reversed(_where):
        command = click.option(*option.opts, help=option.help)(command)
    return command


def wait_option(seconds: int) -> Callable[[Decorated], Decorated]:
    """How long to wait for the operator."""
    return click.option(
        "--wait",
        "wait_seconds",
        type=click.FloatRange(0, 86_400),
        default=seconds,
        show_default=True,
        help="Seconds to wait for the operator's answer.",
    )


def kubectl_of(chosen: dict[str, str | None]) -> Program:
    """kubectl, with what was said about cluster and namespace, behind the word or before it; takes
    that out of `chosen`."""
    before = click.get_current_context().find_root().params
    options = {name: chosen.pop(name, None) or before.get(name) for name in _WHERE}
    return Program(tuple(f"--{name}={value}" for name, value in options.items() if value))


class Forwarded(click.Command):
    """A word of `rei` that runs in the operator's pod; `path` is what it is called there."""

    def __init__(self, command: click.Command, *path: str, tells_who: bool = False) -> None:
        own = [one for one in command.params if not (tells_who and one.name == "by")]
        super().__init__(
            command.name,
            params=[*own, *_where],
            help=(command.help or "").replace("rei ", "kubectl rei "),
            callback=self._run,
        )
        self._own = own
        self._path = path
        self._tells_who = tells_who

    def _run(self, **values: Any) -> None:
        kubectl = kubectl_of(values)
        options, arguments = _given(self._own, click.get_current_context())
        if self._tells_who:
            options.append(f"--by=kubernetes:{work.who(kubectl)}")
        words = [*self._path, *options, *(["--", *arguments] if arguments else [])]
        sys.exit(pods.run_through(kubectl, words))


def _given(
    params: Sequence[click.Parameter], context: click.Context
) -> tuple[list[str], list[str]]:
    """What was typed, once more: options and arguments."""
    options: list[str] = []
    arguments: list[str] = []
    for param in params:
        value = context.params.get(str(param.name))
        source = context.get_parameter_source(str(param.name))
        if value is None or source is not click.core.ParameterSource.COMMANDLINE:
            continue
        text = decimal_of(value) if isinstance(param.type, Amount) else str(value)
        if isinstance(param, click.Argument):
            arguments.append(text)
        elif isinstance(param, click.Option) and param.is_flag:
            options.append(param.opts[-1])
        else:
            options.append(f"{param.opts[-1]}={text}")
    return options, arguments


@click.group(
    name="kubectl rei", context_settings={"help_option_names": ["-h", "--help"]}
)  # fmt: skip
@click.version_option(package_name="rei", prog_name="kubectl rei")
@where
def kubectl_rei(**chosen: str | None) -> None:
    """Rei in a cluster, for people on call; the same words as `rei` has.

    \b
    Look:      status, doctor, user, payments, jobs, top, log, audit, refund list
    Change:    credit, debit, ban, unban, refund start
    Maintain:  stuck, reconcile, cleanup, backup, restore
    Logs:      log-level

    What only looks runs in the operator's pod (you need pods/exec). What changes something is a
    resource that the operator carries out (you need to create it); refunds run in the pod, too.
    Who you are, as the API server knows it, goes into `kubectl rei log`.

    The kubectl on your PATH does the talking, or the one that KUBECTL names.
    """
    del chosen  # `kubectl_of` finds it


for one in (*look.COMMANDS, audit_command):
    kubectl_rei.add_command(Forwarded(one, str(one.name)))


@kubectl_rei.command(help=(doctor_command.help or "").replace("rei ", "kubectl rei "))
@output_option
@where
def doctor(*, output: Output, **chosen: str | None) -> None:
    """Each part asks what it has the credentials for."""
    findings = work.examine(kubectl_of(chosen))
    show_findings(findings, output)
    sys.exit(exit_status(findings))


@kubectl_rei.group("refund", help=refund.help)
def refund_group() -> None:
    """Refunds of payments; they run in the operator's pod, which has the way to YooKassa."""


for name, one in refund.commands.items():
    tells_who = any(param.name == "by" for param in one.params)
    refund_group.add_command(Forwarded(one, "refund", name, tells_who=tells_who))


def _money_word(word: Word, command: click.Command) -> click.Command:
    """`credit` and `debit`: a BalanceAdjustment that is named after its operation."""

    @click.command(str(command.name), help=(command.help or "").replace("rei ", "kubectl rei "))
    @click.argument("user_id", type=USER_ID)
    @click.argument("amount", type=change.AMOUNT)
    @reason_option
    @operation_option
    @yes_option
    @wait_option(CHANGE_SECONDS)
    @output_option
    @where
    def run(
        *,
        user_id: int,
        amount: int,
        reason: str,
        operation_id: str | None,
        yes: bool,
        wait_seconds: float,
        output: Output,
        **chosen: str | None,
    ) -> None:
        kubectl = kubectl_of(chosen)
        with sensible():
            spec = asking.adjustment(
                word,
                user_id=user_id,
                amount_kopecks=amount,
                reason=reason,
                operation_id=operation_id,
            )
        confirmed(amount, yes=yes)
        announce(spec.operation_id)
        by = work.who(kubectl)
        changed = work.change_balance(kubectl, spec, by=by, wait_seconds=wait_seconds)
        change.show(changed, output)

    return run


kubectl_rei.add_command(_money_word(Word.CREDIT, change.credit))
kubectl_rei.add_command(_money_word(Word.DEBIT, change.debit))


@kubectl_rei.command()
@click.argument("user_id", type=USER_ID)
@reason_option
@change.days_option
@wait_option(CHANGE_SECONDS)
@output_option
@where
def ban(
    *,
    user_id: int,
    reason: str,
    days: int | None,
    wait_seconds: float,
    output: Output,
    **chosen: str | None,
) -> None:
    """Keep the customer USER_ID from ordering and topping up, by the UserBan `user-USER_ID`.

    A second ban replaces the first. Somebody who has never written to the bot is banned as soon as
    they do.

    Example:  kubectl rei ban 4711 --reason "stolen cards" --days 30
    """
    kubectl = kubectl_of(chosen)
    with sensible():
        spec = change.ban_of(user_id=user_id, reason=reason, days=days)
    told = work.ban(kubectl, spec, by=work.who(kubectl), wait_seconds=wait_seconds)
    if output == "json":
        telling.echo_json({"word": Word.BAN, "user_id": user_id, "message": told})
    else:
        click.echo(told)


@kubectl_rei.command()
@click.argument("user_id", type=USER_ID)
@click.option("--reason", default="", help="Why, in one line.")
@wait_option(CHANGE_SECONDS)
@output_option
@where
def unban(
    *, user_id: int, reason: str, wait_seconds: float, output: Output, **chosen: str | None
) -> None:
    """Lift every ban of the customer USER_ID: UserBans of this namespace, and the admins'.

    UserBans are deleted; then `rei unban` runs in the operator's pod, which tells who it was.
    """
    kubectl = kubectl_of(chosen)
    changed = work.unban(
        kubectl, user_id, reason=reason, by=work.who(kubectl), wait_seconds=wait_seconds
    )
    if output == "json":
        telling.echo_json(changed)
        return
    click.echo(f"user {user_id}: the bans of this namespace and of the admins are lifted.")
    for other in changed["bans_left"]:
        click.echo(f"Still banned by {other['source']}: {other['reason']}")


def _run_word(word: str, kind: str, text: str) -> click.Command:
    @click.command(word, help=text)
    @click.argument("name", required=False)
    @wait_option(RUN_SECONDS)
    @output_option
    @where
    def run(*, name: str | None, wait_seconds: float, output: Output, **chosen: str | None) -> None:
        kubectl = kubectl_of(chosen)
        found = work.run_now(
            kubectl, kind, name=name, by=work.who(kubectl), wait_seconds=wait_seconds
        )
        if output == "json":
            telling.echo_json(found)
        else:
            _show_runs(kind, found)

    return run


def _show_runs(kind: str, resources: Sequence[Json]) -> None:
    table = telling.table(kind, "name", "all right", "examined", "changed", "what it says",
                          right=(2, 3))  # fmt: skip
    for resource in resources:
        status = resource["status"]
        ready: Json = next((one for one in status["conditions"] if one["type"] == "Ready"), {})
        result = status.get("lastResult", {})
        table.add_row(
            resource["metadata"]["name"],
            ready.get("status", telling.NONE),
            str(result.get("examined", 0)),
            str(result.get("changed", 0)),
            telling.escaped(ready.get("message", "")),
        )
    telling.console().print(table)


NOW: Final = {
    "stuck": ("StuckJobPolicy", "Fail and refund what hangs, now."),
    "reconcile": (
        "PaymentReconciliation",
        "Ask YooKassa about what is pending, now: pays out lost notifications, finishes refunds.",
    ),
    "cleanup": ("JobRetentionPolicy", "Remove what is old enough, now."),
    "backup": ("BackupSchedule", "Make a Backup now, as the BackupSchedule says."),
}
for word, (kind, sentence) in NOW.items():
    text = (
        f"{sentence}\n\nAsks every {kind} of the namespace, or the one called NAME, for a run and "
        f"waits until it has had it. Also while it is suspended."
    )
    kubectl_rei.add_command(_run_word(word, kind, text))


@kubectl_rei.command("log-level")
@click.argument("words", nargs=-1, metavar="[NAME=LEVEL | NAME-]...")
@where
def log_level(*, words: tuple[str, ...], **chosen: str | None) -> None:
    """Change what running pods log, within a minute or two and without a restart.

    NAME is a part (bot, worker, operator) or a logger (rei_core.payments, with all below it, in every
    part); LEVEL is DEBUG, INFO, WARNING or ERROR. NAME- takes a level back to REI_LOG_LEVEL. Without
    any, the levels that are set are shown. They stay until they are taken back, over upgrades too.

    Example:  kubectl rei log-level rei_core.payments=DEBUG worker=WARNING
    """
    kubectl = kubectl_of(chosen)
    set_now = levels.change(kubectl, log_levels.changes(words))
    for name, level in sorted(set_now.items()):
        click.echo(f"{name}={level}")
    if not set_now:
        click.echo("Nothing is set: REI_LOG_LEVEL holds.")


@kubectl_rei.command()
@click.argument("backup")
@click.option("--into", metavar="DATABASE", help="A new database of the same server.")
@click.option(
    "--in-place", metavar="DATABASE", help="Replace the bot's database; repeat its name to confirm."
)
@wait_option(RESTORE_SECONDS)
@output_option
@where
def restore(
    *,
    backup: str,
    into: str | None,
    in_place: str | None,
    wait_seconds: float,
    output: Output,
    **chosen: str | None,
) -> None:
    """Restore the Backup called BACKUP (kubectl get bak), by a Restore, and wait for its end.

    In place, everything is stopped, backed up first, started again and reconciled: see
    docs/operator.md.

    Example:  kubectl rei restore nightly-20261128-030000 --in-place rei
    """
    if (into is None) == (in_place is None):
        raise click.UsageError("give either --into or --in-place")
    kubectl = kubectl_of(chosen)
    manifest = manifests.restore(
        backup, into=into, in_place=in_place, asked_at=datetime.now(UTC), by=work.who(kubectl)
    )
    click.echo(f"Restore {manifest['metadata']['name']}", err=True)
    status: Json = work.restore(kubectl, manifest, wait_seconds=wait_seconds)
    if output == "json":
        telling.echo_json(status)
        return
    verdict = "consistent" if status.get("consistent") else "INCONSISTENT: kubectl rei audit"
    click.echo(f"{status['database']} holds backup {status['backupID']}; its ledger is {verdict}.")
    if kept := status.get("previousDatabase"):
        click.echo(f"The database of before is kept as {kept}.")


def main() -> None:
    """The entry point of `kubectl-rei`."""
    try:
        kubectl_rei(prog_name="kubectl rei")
    except ReiError as error:
        click.secho(f"kubectl rei: {error}", fg="red", err=True)
        sys.exit(1)
