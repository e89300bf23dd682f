"""`rei operator`, the word that its Jobs begin with, what the chart's hooks run, and `rei run` for where
no cluster is."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path

import click
import uvloop

from rei_core.errors import ConfigurationError
from rei_core.settings import OperatorSettings, load

EXIT_BAD_MANIFEST = 2
EXIT_TERMINATED = 143


@click.command("operator")
@click.option("-n", "--namespace", help="Serve this namespace only; REI_NAMESPACE otherwise.")
def operator(*, namespace: str | None) -> None:
    """Carry out custom resources: maintenance, backups, adjustments, bans.

    Watches the kinds of rei.bot in the cluster that it runs in (or that KUBECONFIG names), does what
    they ask for, and tells what came of it in their status and in Events. Run one of it; a second
    one by mistake does no harm. Ending it at any moment loses nothing.

    \b
    Needs:   REI_DATABASE_URL, YOOKASSA_SHOP_ID, YOOKASSA_SECRET_KEY, and the CRDs of k8s/crds.
    Before:  rei config check, rei migrate, rei doctor
    Watch:   http://localhost:8083/healthz, /readyz, /metrics  (REI_OPERATOR_PORT; 0: none)

    Example:  rei operator --namespace rei
    """
    settings = load(OperatorSettings)  # what is wrong with them is told before seconds of imports

    from rei_operator.main import main  # noqa: PLC0415 - nor does `rei operator --help` need it
    from rei_operator.operator import WatchDied  # noqa: PLC0415

    if namespace is not None:
        settings = settings.model_copy(update={"namespace": namespace})
    try:
        uvloop.run(main(settings))
    except WatchDied:
        sys.exit(1)


@click.command("maintenance-job", hidden=True)
@click.argument("word", type=click.Choice(["backup", "restore", "prune"]))
@click.option("--moment", type=datetime.fromisoformat, help="prune: after the backup of when.")
def maintenance_job(*, word: str, moment: datetime | None) -> None:
    """What the operator's Jobs run: the resource is in REI_JOB_RESOURCE."""
    from rei_operator.job import main  # noqa: PLC0415

    try:
        sys.exit(uvloop.run(main(word, moment=moment)))
    except asyncio.CancelledError:
        sys.exit(EXIT_TERMINATED)


_namespace_option = click.option(
    "-n",
    "--namespace",
    envvar="REI_NAMESPACE",
    show_envvar=True,
    required=True,
    help="The release's namespace.",
)


@click.command("apply")
@_namespace_option
@click.option("-f", "--file", metavar="FILE", help="The manifest, if there is one; - reads stdin.")
@click.option(
    "--owner",
    required=True,
    metavar="CONFIGMAP",
    help="What it is applied for: when this ConfigMap is deleted, the resources go with it.",
)
@click.option(
    "--prune", is_flag=True, help="Delete the owner's recurring resources that are not in the file."
)
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 86_400),
    default=0,
    help="Wait so many seconds for what ends, such as a Backup; exit 1 if it does not end well.",
)
def apply(
    *, namespace: str, file: str | None, owner: str, prune: bool, wait_seconds: float
) -> None:
    """Apply resources of rei.bot for a release, server-side; again and again is the same as once.

    What the chart's hooks run: its default maintenance after an install, a backup before an upgrade.
    A person uses kubectl.

    Example:  rei apply -n rei -f maintenance.yaml --owner rei-maintenance --prune
    """
    from rei_operator.by_hand.reading import FileError, load_file  # noqa: PLC0415
    from rei_operator.cluster import connect  # noqa: PLC0415
    from rei_operator.release.apply import apply as apply_resources  # noqa: PLC0415

    try:
        resources = [] if file is None else [resource for _, resource in load_file(file)]
    except FileError as error:
        raise ConfigurationError("--file", str(error), "Nothing was applied") from None

    async def applied() -> None:
        cluster = await connect()
        try:
            await apply_resources(
                cluster,
                resources,
                namespace=namespace,
                owner_name=owner,
                prune=prune,
                wait_seconds=wait_seconds,
                tell=click.echo,
            )
        finally:
            await cluster.aclose()

    uvloop.run(applied())


@click.command("rollout")
@_namespace_option
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 86_400),
    default=600,
    show_default=True,
    help="For so many seconds at most.",
)
@click.argument("deployments", nargs=-1, required=True)
def rollout(*, namespace: str, wait_seconds: float, deployments: tuple[str, ...]) -> None:
    """Wait until Deployments have only pods of their newest version, all ready.

    Example:  rei rollout -n rei rei-bot rei-worker rei-operator
    """
    from rei_operator.cluster import connect  # noqa: PLC0415
    from rei_operator.release.rollout import rollout as roll_out  # noqa: PLC0415

    async def waited() -> None:
        cluster = await connect()
        try:
            await roll_out(
                cluster, deployments, namespace=namespace, seconds=wait_seconds, tell=click.echo
            )
        finally:
            await cluster.aclose()

    uvloop.run(waited())


@click.command("run")
@click.option("-f", "--file", required=True, metavar="FILE", help="The manifest; - reads stdin.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option(
    "--delete",
    is_flag=True,
    help="Lift the bans that the file's UserBans were run for, as deleting them in a cluster would.",
)
@click.option(
    "-k", "--keep-going", is_flag=True, help="Go on with the next document after a failure."
)
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@click.option(
    "--identity",
    "identity_file",
    envvar="REI_BACKUP_IDENTITY_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the age identity for encrypted backups; it takes the place of a Secret.",
)
@click.option(
    "--postgres-bin",
    "tools_folder",
    envvar="REI_POSTGRES_BIN",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pg_dump and pg_restore; found in PATH if not given.",
)
def run(
    *,
    file: str,
    dry_run: bool,
    delete: bool,
    keep_going: bool,
    output: str,
    identity_file: Path | None,
    tools_folder: Path | None,
) -> None:
    """Carry out a maintenance manifest once, here, without a cluster.

    Takes what `kubectl apply` takes: any of the nine kinds of rei.bot, several documents in a file.
    They are done in their order by the operator's own code, on the database of REI_DATABASE_URL;
    after one that fails the rest is left. A file with a mistake in it does nothing at all.

    \b
    StuckJobPolicy, JobRetentionPolicy, PaymentReconciliation, LedgerAudit
        One run, now, whatever the schedule says. Beside an operator it waits for its turn: "is
        being run by another process" means try again in a minute.
    Backup, BackupSchedule
        One more backup each time; a BackupSchedule also deletes old ones as its retention says.
        A volume is the folder of its path on this machine. Credentials come from the vendor's
        usual variables (AWS_ACCESS_KEY_ID, …), not from the Secret that the manifest names.
    Restore
        Needs spec.stored. For one in place stop the bot and the workers first; the payments are
        reconciled afterwards. Running the same name again finds that it is done.
    BalanceAdjustment
        Once for its operationID, whoever made it: run again, nothing moves.
    UserBan
        Bans until expiresAt, beside what an operator or an admin bans. Nothing watches the file:
        deleting it lifts nothing. `rei run -f FILE --delete` does.

    PaymentReconciliation and a Restore in place need YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY.

    \b
    Exit codes: 0 done; 1 something failed, or the ledger has violations; 2 the manifest is wrong.
    Look first:  rei run -f policy.yaml --dry-run
    Then:        rei run -f policy.yaml
    """
    from rei_operator.by_hand import telling  # noqa: PLC0415 - `rei run --help` needs none of it
    from rei_operator.by_hand.main import Choices  # noqa: PLC0415
    from rei_operator.by_hand.main import run as run_documents  # noqa: PLC0415
    from rei_operator.by_hand.model import State  # noqa: PLC0415
    from rei_operator.by_hand.reading import FileError, read  # noqa: PLC0415

    try:
        documents = read(file, with_identity=identity_file is not None, delete=delete)
    except FileError as error:
        click.secho(f"rei run: {error}", fg="red", err=True)
        click.echo("Nothing was done. Mend it and run it again.", err=True)
        sys.exit(EXIT_BAD_MANIFEST)
    choices = Choices(
        dry_run=dry_run,
        delete=delete,
        keep_going=keep_going,
        identity_file=identity_file,
        tools_folder=tools_folder,
    )
    try:
        reports = uvloop.run(run_documents(documents, choices))
    except asyncio.CancelledError:
        click.echo("Ended before it was done; run it again to go on.", err=True)
        sys.exit(EXIT_TERMINATED)
    if output == "json":
        told = [telling.document(report) for report in reports]
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        telling.show(reports)
    if any(ended.state in (State.FAILED, State.LEFT) for _, ended in reports):
        sys.exit(1)
