"""One run of a maintenance policy, as the operator carries it out: run row, lease, count and all."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, cast

import uvloop

from rei_bench.programs import config, tell
from rei_core import logs
from rei_core.db import create_pool
from rei_core.maintenance.runs.model import RunKey
from rei_core.maintenance.runs.service import carry_out
from rei_operator.main import STATEMENT_SECONDS_MAX
from rei_operator.procedures import Procedures
from rei_operator.reading import read

CONNECTIONS = 3
"""The run's own, its lease's, and one to spare."""


async def main() -> None:
    asked = config()
    logs.configure(level="INFO", log_format="json", component="operator")
    policy = read({"kind": asked["kind"], "metadata": {"name": "bench"}, "spec": asked["spec"]})
    pool = await create_pool(
        asked["database_url"],
        application="rei-operator",
        size_max=CONNECTIONS,
        command_timeout_seconds=STATEMENT_SECONDS_MAX,
    )
    procedures = Procedures(
        pool=pool, database_url=asked["database_url"], provider=cast("Any", None)
    )
    work = procedures.work_of(policy)
    assert work is not None, policy.kind
    key = RunKey(policy.kind, "default", "bench", datetime.now(UTC))
    tell("started")
    began = time.perf_counter()
    run = await carry_out(pool, key, owner="bench", work=work)
    seconds = time.perf_counter() - began
    await pool.close()
    tell("done", seconds=seconds, status=run.status, error=run.error, **run.result.document())


if __name__ == "__main__":
    uvloop.run(main())
