"""What people do by hand: `rei credit|debit|ban|unban`. Each leaves a row in `rei log`.

`kubectl rei` has the same words: there they become manifests, which the operator carries out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

from rei_core.admin import asking, service
from rei_core.admin.asking import AskedWrongly, rubles_with_sign
from rei_core.admin.service import Changed
from rei_core.commands import telling, who
from rei_core.commands.look import USER_ID, Output, output_option
from rei_core.commands.session import with_connection
from rei_core.db import Connection
from rei_core.errors import AmountError, InsufficientFunds
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.money import format_rubles
from rei_core.trail.model import Word, new_operation_id

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

ACTOR_CHARS_MAX: Final = 200
DAYS_MAX: Final = 3650


class Amount(click.ParamType[int]):
    """Rubles as people write them, as kopecks."""

    name = "amount"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:  # fmt: skip
        try:
            return value if isinstance(value, int) else asking.amount_of(value)
        except AmountError as error:
            self.fail(f"{error}. Examples: 300, 12.50, 1000,05", param, ctx)


class ActorName(click.ParamType[str]):
    """One line that names somebody."""

    name = "name"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:  # fmt: skip
        named = " ".join(str(value).split())
        if not 0 < len(named) <= ACTOR_CHARS_MAX or not named.isprintable():
            self.fail(f"give 1 to {ACTOR_CHARS_MAX} characters that can be read", param, ctx)
        return named


AMOUNT = Amount()
reason_option = click.option(
    "--reason", required=True, help="Why, in one line, such as a ticket. It stays for ever."
)
operation_option = click.option(
    "--operation-id",
    metavar="NAME",
    help="A name of your own for this one change. By default it is made of user, amount and reason, "
    "so that the same command sent twice moves money once.",
)
by_option = click.option(
    "--by", type=ActorName(), metavar="NAME", help="Who you are; by default your login and machine."
)
yes_option = click.option(
    "--yes",
    is_flag=True,
    help=f"Do not ask, from {format_rubles(asking.CONFIRM_KOPECKS)} on, whether that is meant.",
)


days_option = click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), help="For how long; by default until `unban`."
)


def money_options(command: Decorated) -> Decorated:
    """The arguments and options of `credit` and `debit`."""
    for option in reversed(
        (
            click.argument("user_id", type=USER_ID),
            click.argument("amount", type=AMOUNT),
            reason_option,
            operation_option,
            by_option,
            yes_option,
            output_option,
        )
    ):
        command = option(command)
    return command


def ban_of(*, user_id: int, reason: str, days: int | None) -> UserBanSpec:
    """A ban that begins now; raises `AskedWrongly`."""
    spec = asking.ban(user_id=user_id, reason=reason)
    if days is None:
        return spec
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    return spec.model_copy(update={"expires_at": until})


def confirmed(amount_kopecks: int, *, yes: bool) -> None:
    """Let large amounts pass only if they are meant; ends the command if not."""
    if yes or not asking.needs_confirmation(amount_kopecks):
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{format_rubles(amount_kopecks)} is much: confirm it with --yes")
    click.confirm(f"{format_rubles(amount_kopecks)} is much. Is that meant?", abort=True, err=True)


def announce(operation_id: str) -> None:
    """Name the operation before it begins: whatever happens, it can be asked for by that."""
    click.echo(f"operation {operation_id}", err=True)


@click.command()
@money_options
def credit(**asked: Any) -> None:
    """Give the customer USER_ID the AMOUNT of rubles.

    The same command again does not pay again: it says that it was done before. To give the same for
    the same reason once more, name the operation yourself.

    \b
    Examples:  rei credit 4711 300 --reason "ticket 17: two broken pictures"
               rei credit 4711 12.50 --reason gift --operation-id gift-2026-12
    """
    _change_balance(Word.CREDIT, **asked)


@click.command()
@money_options
def debit(**asked: Any) -> None:
    """Take the AMOUNT of rubles from the customer USER_ID.

    Never below zero: what they do not have is refused, and nothing moves. The same command again
    does not take it again.

    Example:  rei debit 4711 300 --reason "ticket 17: credited twice"
    """
    _change_balance(Word.DEBIT, **asked)


def _change_balance(
    word: Word,
    *,
    user_id: int,
    amount: int,
    reason: str,
    operation_id: str | None,
    by: str | None,
    yes: bool,
    output: Output,
) -> None:
    with sensible():
        spec = asking.adjustment(
            word, user_id=user_id, amount_kopecks=amount, reason=reason, operation_id=operation_id
        )
    confirmed(amount, yes=yes)
    announce(spec.operation_id)
    actor = who.person("rei", by=by)
    _done(lambda connection: service.change_balance(connection, spec, actor=actor), output)


@click.command()
@click.argument("user_id", type=USER_ID)
@reason_option
@days_option
@by_option
@output_option
def ban(*, user_id: int, reason: str, days: int | None, by: str | None, output: Output) -> None:
    """Keep the customer USER_ID from ordering and topping up.

    What they have ordered is finished, and the balance stays theirs. A second ban replaces the
    first; bans by UserBan resources are beside it.

    Example:  rei ban 4711 --reason "stolen cards" --days 30
    """
    with sensible():
        spec = ban_of(user_id=user_id, reason=reason, days=days)
    operation_id, actor = new_operation_id(Word.BAN), who.person("rei", by=by)
    _done(
        lambda connection: service.ban(connection, spec, operation_id=operation_id, actor=actor),
        output,
    )


@click.command()
@click.argument("user_id", type=USER_ID)
@click.option("--reason", default="", help="Why, in one line.")
@by_option
@output_option
def unban(*, user_id: int, reason: str, by: str | None, output: Output) -> None:
    """Lift the ban that `rei ban` or the bot's admins put on the customer USER_ID.

    A ban by a UserBan resource stays until that is deleted; what is left is told.
    """
    operation_id, actor = new_operation_id(Word.UNBAN), who.person("rei", by=by)
    _done(
        lambda connection: service.unban(
            connection, user_id=user_id, reason=reason, operation_id=operation_id, actor=actor
        ),
        output,
    )


@contextmanager
def sensible() -> Iterator[None]:
    """What makes no sense is a wrong use of the command: exit status 2, and nothing is done."""
    try:
        yield
    except AskedWrongly as error:
        raise click.UsageError(f"{error.field.replace('_', '-')} {error.problem}") from None


@contextmanager
def told_in_rubles() -> Iterator[None]:
    """What the balance cannot bear is refused in rubles; nothing has moved."""
    try:
        yield
    except InsufficientFunds as error:
        raise click.ClickException(
            f"user {error.user_id} has {format_rubles(error.balance_kopecks)}, "
            f"{format_rubles(error.amount_kopecks)} are needed: nothing has moved"
        ) from None


def _done(work: Callable[[Connection], Coroutine[Any, Any, Changed]], output: Output) -> None:
    with told_in_rubles():
        changed = asyncio.run(with_connection(work))
    show(changed, output)


def show(changed: Changed, output: Output) -> None:
    """Tell what became of it."""
    if output == "json":
        telling.echo_json(changed)
        return
    for line in sentences(changed):
        click.echo(line)


def sentences(changed: Changed) -> list[str]:
    """What became of a request, for a person."""
    lines = [_what(changed)]
    if changed.repeated and changed.done is not None:
        done = changed.done
        lines.append(
            f"It was done before, {telling.moment(done.created_at)} UTC by {done.action.actor.name}: "
            "nothing has changed now."
        )
        if changed.amount_kopecks is not None:
            lines.append("If it is meant once more, name it: --operation-id NAME.")
    elif changed.repeated:
        lines.append("It was done before: nothing has changed now.")
    if changed.word is Word.UNBAN:
        lines += [f"Still banned by {left.source}: {left.reason}" for left in changed.bans_left]
    return lines


def _what(changed: Changed) -> str:
    user = f"user {changed.user_id}"
    match changed.word:
        case Word.BAN:
            return f"{user} is banned."
        case Word.UNBAN:
            return f"{user}: the admins' ban is lifted."
        case Word.REFUND:
            assert changed.amount_kopecks is not None
            sent = format_rubles(-changed.amount_kopecks)
            return f"{user}: {sent} of the payment went back ({changed.refund_status})."
        case _:
            assert changed.amount_kopecks is not None
            assert changed.balance_after_kopecks is not None
            moved = rubles_with_sign(changed.amount_kopecks)
            return (
                f"{user}: {moved}, balance {format_rubles(changed.balance_after_kopecks)} after it."
            )
