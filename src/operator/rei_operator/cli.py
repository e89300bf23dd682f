"""`rei operator`, and the word that its Jobs begin with."""

from __future__ import annotations

import sys
from datetime import datetime

import click
import uvloop

from rei_core.settings import load


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
    Watch:   http://localhost:8082/healthz, /readyz, /metrics  (REI_OPERATOR_PORT; 0: none)

    Example:  rei operator --namespace rei
    """
    from rei_operator.main import main  # noqa: PLC0415 - `rei operator --help` needs none of it
    from rei_operator.operator import WatchDied  # noqa: PLC0415
    from rei_operator.settings import OperatorSettings  # noqa: PLC0415

    settings = load(OperatorSettings)
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
    from rei_operator.job import run  # noqa: PLC0415

    sys.exit(uvloop.run(run(word, moment=moment)))
