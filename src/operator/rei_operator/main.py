"""`rei operator` from settings to exit code: everything that is opened here is closed here."""

from __future__ import annotations

from contextlib import AsyncExitStack

from rei_core import log_levels, logs
from rei_core.db import close_pool, create_pool
from rei_core.db.migrate import require_schema
from rei_core.payments.receipts import receipt_of
from rei_core.payments.yookassa import YooKassaClient
from rei_core.process import stop_on_signals
from rei_core.settings import OperatorSettings
from rei_operator.cluster import connect
from rei_operator.failpoints import Failpoints
from rei_operator.metrics import Metrics
from rei_operator.operator import Operator

STATEMENT_SECONDS_MAX = 3600.0
"""An audit of a large ledger is one statement."""


async def main(settings: OperatorSettings) -> None:
    """Run an operator until SIGTERM or SIGINT; a second signal ends it on the spot."""
    logs.configure(level=settings.log_level, log_format=settings.log_format, component="operator")
    failpoints = Failpoints.of_environment()
    database_url = settings.database_url.get_secret_value()
    await require_schema(database_url)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            log_levels.followed(
                settings.log_levels_dir, process="operator", level=settings.log_level
            )
        )
        pool = await create_pool(
            database_url,
            application="rei-operator",
            size_max=max(settings.database_pool_size_max, 3 * settings.reconciles_max),
            command_timeout_seconds=STATEMENT_SECONDS_MAX,
        )
        stack.push_async_callback(close_pool, pool)
        cluster = await connect()
        stack.push_async_callback(cluster.aclose)
        metrics = Metrics()
        provider = YooKassaClient(
            shop_id=settings.yookassa_shop_id,
            secret_key=settings.yookassa_secret_key.get_secret_value(),
            base_url=settings.yookassa_api_url,
            on_call=metrics.yookassa.called,
        )
        stack.push_async_callback(provider.aclose)
        operator = Operator(
            settings=settings,
            pool=pool,
            cluster=cluster,
            provider=provider,
            receipt=receipt_of(settings),
            failpoints=failpoints,
            metrics=metrics,
        )
        stop_on_signals(operator.stop)
        await operator.run()
