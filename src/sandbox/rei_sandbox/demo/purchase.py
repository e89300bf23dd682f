"""`rei purchase`: the story played against a bot and a worker that somebody else runs (`helm test`)."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import click
import httpx

from rei_core.db import close_pool, create_pool
from rei_core.errors import ReiError
from rei_core.ledger.audit import INVARIANTS
from rei_core.settings import CoreSettings, load
from rei_sandbox.demo.story import Story, Told
from rei_sandbox.stage import Outside

LOOK_SECONDS: Final = 0.5


class NotReady(ReiError):
    """Something that the story needs did not come up in time."""


class NotNew(ReiError):
    """The shop has had customers: the story begins with the first, and would break somewhere."""


@click.command()
@click.option("--sandbox", "sandbox_url", required=True, help="The running sandbox.")
@click.option(
    "--ready", "ready_urls", multiple=True, help="An address that has to answer 200 first; several."
)
@click.option(
    "--wait", "wait_seconds", type=click.FloatRange(0, 3600), default=60, show_default=True,
    help="So many seconds for all of them.",
)  # fmt: skip
def purchase(*, sandbox_url: str, ready_urls: tuple[str, ...], wait_seconds: float) -> None:
    """Buy pictures from a bot that talks to a sandbox, and audit its ledger; exit 1 if a step broke.

    A top-up, a picture, a refusal that is refunded, an outage that is survived. The database is that
    of REI_DATABASE_URL, and has to be one without customers.
    """
    try:
        told = asyncio.run(
            _bought(sandbox_url.rstrip("/"), ready_urls=ready_urls, wait_seconds=wait_seconds)
        )
    except (ReiError, httpx.HTTPError) as error:
        click.secho(f"✗ {error}", fg="red", err=True)
        sys.exit(1)
    click.echo(
        f"✓ Every step held, to the kopeck: {len(INVARIANTS)} invariants over "
        f"{told.report.transfers_examined} transfers."
    )


async def _bought(sandbox_url: str, *, ready_urls: tuple[str, ...], wait_seconds: float) -> Told:
    url = load(CoreSettings).database_url.get_secret_value()
    async with httpx.AsyncClient(
        base_url=sandbox_url, timeout=30, trust_env=False, follow_redirects=True
    ) as http:
        deadline = time.monotonic() + wait_seconds
        for address in (f"{sandbox_url}/_sandbox/healthz", *ready_urls):
            await _answers(http, address, deadline=deadline)
        pool = await create_pool(url, application="rei-purchase", size_max=2)
        try:
            if await pool.fetchval("SELECT EXISTS (SELECT FROM users)"):
                raise NotNew(
                    "The database of REI_DATABASE_URL has customers already: "
                    "the story needs a new one, of its own"
                )
            with tempfile.TemporaryDirectory(prefix="rei-purchase-") as folder:
                story = Story(
                    http=http, pool=pool, folder=Path(folder), outside=Outside(), tell=click.echo
                )
                return await story.play()
        finally:
            await close_pool(pool)


async def _answers(http: httpx.AsyncClient, address: str, *, deadline: float) -> None:
    while True:
        try:
            answer = await http.get(address)
            said = f"HTTP {answer.status_code}: {answer.text[:100]}"
        except httpx.HTTPError as error:
            said = type(error).__name__
        else:
            if answer.is_success:
                return
        if time.monotonic() > deadline:
            raise NotReady(f"{address} is not ready: {said}")
        await asyncio.sleep(LOOK_SECONDS)
