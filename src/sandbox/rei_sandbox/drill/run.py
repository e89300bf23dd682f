"""One drill after the other, each from a healthy system, each bounded.

healthy → broken → the alert → mended → a picture is sold again → the account
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rei_core.db import Connection
from rei_core.errors import ReiError
from rei_sandbox.drill import rules
from rei_sandbox.drill.account import Account, account
from rei_sandbox.drill.customers import Customer
from rei_sandbox.drill.drills import Drill
from rei_sandbox.drill.system import LOOK_SECONDS, Say, System, open_system

ALERT_SECONDS_MAX: Final = 100.0
HEALTHY_SECONDS_MAX: Final = 90.0
DRILL_SECONDS_MAX: Final = 300.0
CLOCKS_DIFFER: Final = timedelta(minutes=5)

UNFINISHED: Final = """
SELECT (SELECT count(*) FROM jobs WHERE status IN ('queued', 'processing'))
     + (SELECT count(*) FROM deliveries WHERE status = 'pending')
"""
Look = Callable[[], Awaitable[bool]]


class DrillFailed(ReiError):
    """It did not go as it has to; the text says what was waited for."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a drill measured."""

    drill: Drill
    alert_seconds: float | None
    """From the breaking to the message; None where nobody is to be woken."""
    waits_seconds: float
    """How long the alert waits in life."""
    healthy_seconds: float
    """From the mending to a picture sold, with nothing left over and the alert gone."""
    account: Account

    @property
    def passed(self) -> bool:
        return self.account.clean


async def run(
    drills: Sequence[Drill], *, folder: Path, say: Say, rules_file: Path = rules.RULES
) -> list[Result]:
    """Carry them out; raises `DrillFailed` for the first that goes otherwise than it has to."""
    since = datetime.now(UTC) - CLOCKS_DIFFER
    results = []
    async with open_system(folder, rules_file=rules_file, say=say) as system:
        for number, drill in enumerate(drills, start=1):
            say(f"{number}/{len(drills)} {drill.name}: {drill.what}")
            try:
                async with asyncio.timeout(DRILL_SECONDS_MAX):
                    results.append(await _carried_out(drill, system, since=since))
            except TimeoutError:
                raise DrillFailed(
                    f"{drill.name}: {DRILL_SECONDS_MAX:.0f} s were not enough"
                ) from None
    return results


async def _carried_out(drill: Drill, system: System, *, since: datetime) -> Result:
    customer = await Customer.arrives(system.http, drill.name)
    await customer.tops_up()
    await customer.buys()
    await _until(
        lambda: _quiet(drill, system), ALERT_SECONDS_MAX, f"{drill.alert} does not fire yet"
    )

    mend = await drill.breaks(system, customer)
    broken = time.monotonic()
    alert_seconds = None
    if drill.alert:
        await _until(lambda: _heard(drill, system), ALERT_SECONDS_MAX, f"{drill.alert} fires")
        alert_seconds = time.monotonic() - broken

    mended = time.monotonic()
    await mend()
    await customer.buys()
    async with system.database() as connection:
        await _until(lambda: _finished(connection), HEALTHY_SECONDS_MAX, "nothing is left undone")
        healthy_seconds = time.monotonic() - mended
        await _until(lambda: _quiet(drill, system), ALERT_SECONDS_MAX, f"{drill.alert} ends")
        dead = [program.name for program in system.programs if program.pid is None]
        if dead:
            raise DrillFailed(f"{drill.name}: died by themselves: {', '.join(dead)}")
        found = await account(connection, system.provider, since=since)
    return Result(
        drill=drill,
        alert_seconds=alert_seconds,
        waits_seconds=system.waits_seconds[drill.alert] if drill.alert else 0,
        healthy_seconds=healthy_seconds,
        account=found,
    )


async def _heard(drill: Drill, system: System) -> bool:
    """Whether the person on call has been told, where Telegram is what tells."""
    if not drill.told_in_telegram:
        return drill.alert in await system.alertmanager.active()
    chat = await system.on_call.chat()
    return any(seen.text == f"firing: {drill.alert}" for seen in chat)


async def _quiet(drill: Drill, system: System) -> bool:
    """Whether everything is seen, and the alert neither fires nor is about to."""
    if await system.prometheus.ask("count(up == 0)"):
        return False
    if await system.prometheus.ask("count(up)") != [float(len(system.programs) - 1)]:
        return False  # of all but the sandbox
    pending = await system.prometheus.ask(f'ALERTS{{alertname="{drill.alert}"}}')
    return not pending and drill.alert not in await system.alertmanager.active()


async def _finished(connection: Connection) -> bool:
    left: int = await connection.fetchval(UNFINISHED)
    return left == 0


async def _until(look: Look, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not await look():
        if time.monotonic() > deadline:
            raise DrillFailed(f"after {seconds:.0f} s still waiting: {what}")
        await asyncio.sleep(LOOK_SECONDS)
