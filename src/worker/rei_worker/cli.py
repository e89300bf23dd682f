"""`rei worker`."""

from __future__ import annotations

import click
import uvloop

from rei_core.settings import WorkerSettings, load


@click.command("worker")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 2000),
    help="Jobs at a time in this process; REI_CONCURRENCY otherwise.",
)
def worker(*, concurrency: int | None) -> None:
    """Draw what customers ordered, and deliver it.

    Takes orders from PostgreSQL (Redis only rings), asks the image provider, stores the picture,
    and sends it. Start as many of these as you like, anywhere: an order is done by one of them,
    and one that dies loses nothing but the seconds of REI_LEASE_SECONDS.

    \b
    Needs:   REI_DATABASE_URL, BOT_TOKEN, GEMINI_API_KEY, and usually REI_REDIS_URL.
    Before:  rei config check, rei migrate, rei doctor
    Watch:   http://localhost:8081/healthz, /readyz, /metrics  (REI_METRICS_PORT; 0: none)

    Memory: a running job holds next to nothing, its finished picture (some MB) until it is
    stored, and all jobs together at most 256 MB of customers' photos. Only with the database away
    may there be a picture for each of REI_CONCURRENCY jobs.

    SIGTERM (or Ctrl-C) drains: nothing new is taken, what runs may end within
    REI_DRAIN_SECONDS, the pictures made so far go out. A second one exits at once.

    Example:  rei worker --concurrency 20
    """
    settings = load(WorkerSettings)  # what is wrong with them is told before seconds of imports

    from rei_worker.main import main  # noqa: PLC0415 - nor does `rei worker --help` need it

    if concurrency is not None:
        settings = settings.model_copy(update={"concurrency": concurrency})
    uvloop.run(main(settings))
