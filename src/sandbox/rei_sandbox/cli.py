"""`rei sandbox`: serve the stand-ins, and order faults from a running one."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
from typing import Any, Final

import click
import httpx

from rei_core.settings import load
from rei_sandbox.app import running
from rei_sandbox.faults import ANY, KINDS, OPERATIONS
from rei_sandbox.settings import SandboxSettings

DEFAULT_URL: Final = "http://127.0.0.1:8090"
CALL_SECONDS_MAX: Final = 10.0

_url_option = click.option(
    "--url",
    envvar="REI_SANDBOX_URL",
    default=DEFAULT_URL,
    show_default=True,
    help="The running sandbox.",
)


@click.group(invoke_without_command=True)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0: any.  [default: 8090]")
@click.pass_context
def sandbox(context: click.Context, host: str | None, port: int | None) -> None:
    """Stand-ins for Telegram, YooKassa and Gemini, with a chat page in the browser.

    Nothing real is called and no money moves. Without a further word it serves until Ctrl-C.

    \b
    Serve, and open the chat page that it prints:
        rei sandbox
    Point a bot and a worker at it:
        export REI_TELEGRAM_API_URL=http://127.0.0.1:8090
        export YOOKASSA_API_URL=http://127.0.0.1:8090/yookassa/v3
        export GEMINI_BASE_URL=http://127.0.0.1:8090/gemini
    with the credentials that it lets in, and that open nothing else:
        export YOOKASSA_SHOP_ID=100500 YOOKASSA_SECRET_KEY=test_sandbox_secret_key
        export GEMINI_API_KEY=sandbox-gemini-key
    Let the next three pictures fail with 503, then see what waits:
        rei sandbox fault gemini unavailable --count 3
        rei sandbox faults

    Settings come from REI_SANDBOX_* in the environment, such as REI_SANDBOX_NOTIFICATION_URL.
    """
    if context.invoked_subcommand is not None:
        return
    settings = load(SandboxSettings)
    if host is None and not _is_loopback(settings.host):
        raise click.ClickException(
            f"REI_SANDBOX_HOST={settings.host} would let others in, and the sandbox has no "
            f"password. If that is what you want, say so: rei sandbox --host {settings.host}"
        )
    changes = {"host": host or settings.host, "port": settings.port if port is None else port}
    settings = settings.model_copy(update=changes)
    try:
        asyncio.run(_serve(settings))
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. "
            "Is another sandbox running? Choose another port with --port"
        ) from error


@sandbox.command(
    epilog="Operations: "
    + "; ".join(f"{service}: {', '.join(names)}" for service, names in OPERATIONS.items())
    + f"; {ANY}: any but notification and getUpdates."
)
@click.argument("service", type=click.Choice(list(KINDS)))
@click.argument("kind")
@click.option("--count", default=1, show_default=True, help="How many calls go wrong.")
@click.option("--delay", default=0.0, show_default=True, help="Seconds: retry-after, or how late.")
@click.option("--operation", default=ANY, show_default=True, help="Only this operation.")
@click.option("--subject", default="", help="Only this payment, model or chat.")
@_url_option
def fault(  # noqa: PLR0917  # click passes them by name
    service: str, kind: str, count: int, delay: float, operation: str, subject: str, url: str
) -> None:
    """Let the next calls of SERVICE go wrong in the manner of KIND.

    \b
    telegram  rate_limited unavailable internal hang done_no_answer blocked
              and of its updates: duplicated late reordered
    yookassa  rate_limited unavailable internal hang done_no_answer
              and of its notifications: lost duplicated late reordered forged
    gemini    rate_limited unavailable internal hang done_no_answer slow
              quota_exhausted blocked no_image bad_key model_gone truncated garbage not_an_image

    \b
    Gemini asks to come back in 7 s:   rei sandbox fault gemini rate_limited --delay 7
    A payment is made, no answer:      rei sandbox fault yookassa done_no_answer --operation create
    Ten copies of a notification:      rei sandbox fault yookassa duplicated
    A success that is not true:        rei sandbox fault yookassa forged
    User 7 has blocked the bot:        rei sandbox fault telegram blocked --subject 7
    An update comes twice:             rei sandbox fault telegram duplicated
    """
    body = {
        "service": service,
        "kind": kind,
        "operation": operation,
        "count": count,
        "delay_seconds": delay,
        "subject": subject,
    }
    click.echo(f"ordered: {_line(_call('POST', url, json=body))}")


@sandbox.command()
@_url_option
def faults(url: str) -> None:
    """Show the faults that wait, and those that have happened."""
    answer = _call("GET", url)
    for order in answer["waiting"]:
        click.echo(f"waiting: {_line(order)}")
    for name, number in sorted(answer["taken"].items()):
        click.echo(f"happened: {name} ×{number}")
    if not answer["waiting"] and not answer["taken"]:
        click.echo("none waits, none has happened")


@sandbox.command()
@click.option("--service", type=click.Choice(list(KINDS)), help="Only the faults of this service.")
@_url_option
def clear(service: str | None, url: str) -> None:
    """Drop the faults that wait."""
    answer = _call("DELETE", url, params={"service": service} if service else {})
    click.echo(f"dropped: {answer['cleared']}")


async def _serve(settings: SandboxSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as server:
        click.echo(f"chat page      {server.url}/")
        click.echo(f"notifications  {settings.notification_url}")
        click.echo(f"export REI_TELEGRAM_API_URL={server.url}")
        click.echo(f"export YOOKASSA_API_URL={server.url}/yookassa/v3")
        click.echo(f"export GEMINI_BASE_URL={server.url}/gemini")
        if not _is_loopback(settings.host):
            click.echo("Others than this machine are let in, and there is no password.")
        click.echo("Ctrl-C ends it.")
        await stop.wait()


def _call(method: str, url: str, **options: Any) -> Any:
    try:
        answer = httpx.request(
            method,
            f"{url.rstrip('/')}/_sandbox/faults",
            timeout=CALL_SECONDS_MAX,
            trust_env=False,  # a proxy knows nothing of this machine's loopback
            **options,
        )
        body = answer.json()
    except (httpx.HTTPError, ValueError):
        raise click.ClickException(
            f"no sandbox answers at {url}. Start one with `rei sandbox`, or name it with --url"
        ) from None
    if answer.is_error:
        raise click.ClickException(str(body.get("error", body)))
    return body


def _line(order: dict[str, Any]) -> str:
    extras = f" after {order['delay_seconds']:g} s" if order["delay_seconds"] else ""
    extras += f" for {order['subject']}" if order["subject"] else ""
    return f"{order['service']} {order['kind']} of {order['operation']} ×{order['count']}{extras}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
