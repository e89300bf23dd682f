"""`rei run` from settings to report: everything that is opened here is closed here."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from rei_core import logs
from rei_core.commands import who
from rei_core.commands.progress import ProgressLine
from rei_core.db import CUT_OFF, close_pool, create_pool
from rei_core.db.migrate import require_schema
from rei_core.errors import ConfigurationError
from rei_core.logs import masked_text
from rei_core.maintenance.backups.encryption import Identities
from rei_core.maintenance.resources import UserBan
from rei_core.payments.port import PaymentProvider
from rei_core.payments.receipts import receipt_of
from rei_core.payments.yookassa import YooKassaClient
from rei_core.settings import CoreSettings, YooKassaSettings, load
from rei_operator.by_hand.model import Document, Ended, Report, State
from rei_operator.by_hand.preview import preview, preview_lift
from rei_operator.by_hand.reading import asks_yookassa
from rei_operator.by_hand.work import Means, carry_out, lift
from rei_operator.main import STATEMENT_SECONDS_MAX
from rei_operator.procedures import Procedures

CONNECTIONS_MAX: Final = 25
"""A reconciliation takes one for each question that is open at a time (20 at most), and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command's options say."""

    dry_run: bool = False
    delete: bool = False
    keep_going: bool = False
    identity_file: Path | None = None
    tools_folder: Path | None = None


async def run(documents: Sequence[Document], choices: Choices) -> list[Report]:
    """Carry the documents out, in their order; SIGTERM ends it as Ctrl-C does, in order.

    Raises `ConfigurationError` before anything is done.
    """
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    settings = load(CoreSettings)
    # What goes wrong is told in the report; the rest of the log is an operator's.
    logs.configure(level="CRITICAL", log_format="console", component="run")
    url = settings.database_url.get_secret_value()
    file = choices.identity_file
    async with AsyncExitStack() as stack:
        provider: PaymentProvider = cast("PaymentProvider", _Nobody())
        receipt = None
        if any(asks_yookassa(document.resource) for document in documents):
            shop = load(YooKassaSettings)
            client = YooKassaClient(
                shop_id=shop.yookassa_shop_id,
                secret_key=shop.yookassa_secret_key.get_secret_value(),
                base_url=shop.yookassa_api_url,
            )
            stack.push_async_callback(client.aclose)
            provider, receipt = client, receipt_of(shop)
        await require_schema(url)
        try:
            pool = await create_pool(
                url,
                application="rei-run",
                size_max=CONNECTIONS_MAX,
                command_timeout_seconds=STATEMENT_SECONDS_MAX,
            )
        except CUT_OFF as error:
            raise ConfigurationError(
                "REI_DATABASE_URL",
                f"the database cannot be reached ({type(error).__name__})",
                "Is PostgreSQL up? Nothing has been done",
            ) from None
        stack.push_async_callback(close_pool, pool)
        means = Means(
            pool=pool,
            url=url,
            procedures=Procedures(pool=pool, database_url=url, provider=provider, receipt=receipt),
            line=stack.enter_context(ProgressLine()),
            actor=who.person("rei run"),
            identities=None if file is None else Identities.of_file(file),
            tools_folder=choices.tools_folder,
        )
        return await _each(documents, choices, _step(means, choices))


async def _each(
    documents: Sequence[Document],
    choices: Choices,
    step: Callable[[Document], Awaitable[Ended]],
) -> list[Report]:
    reports: list[Report] = []
    stopped = False
    for document in documents:
        if stopped:
            reports.append((document, Ended(State.LEFT)))
            continue
        try:
            ended = await step(document)
        except ConfigurationError as error:
            ended = Ended(State.FAILED, error=masked_text(str(error)))
        reports.append((document, ended))
        stopped = ended.state is State.FAILED and not choices.keep_going
    return reports


def _step(means: Means, choices: Choices) -> Callable[[Document], Awaitable[Ended]]:
    def step(document: Document) -> Awaitable[Ended]:
        resource = document.resource
        if choices.delete:
            assert isinstance(resource, UserBan)
            return (preview_lift if choices.dry_run else lift)(means, resource)
        return (preview if choices.dry_run else carry_out)(means, resource)

    return step


class _Nobody:
    """The provider of a run that asks none."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"nothing here asks YooKassa: {name}")
