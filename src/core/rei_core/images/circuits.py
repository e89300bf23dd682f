"""Circuit breakers of the image provider, shared by all pods through PostgreSQL.

An open circuit stops orders before they are charged (`accept` reads it in its own statement)
and leaves queued jobs where they are. 'provider' covers everything, 'model:<id>' one model.
Our fault (a bad key, a retired model) opens at once; failures that may pass open after
`failures_max` in a row. Only a probe that succeeded closes it again, and a probe costs nothing.

A probe proves less than a picture does. So a closed 'provider' is on trial (half-open) at first:
orders are taken, but one job at a time is worked on (see `jobs.claim_queries`) until a call comes
back; one that fails opens the circuit again. An outage that probes do not see then costs one
attempt for each probe, and not one for each slot.
"""

from __future__ import annotations

from dataclasses import dataclass

from rei_core.db import Connection
from rei_core.db.text import storable
from rei_core.errors import FailureClass, ImageProviderError

PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """A circuit that is open, and why."""

    name: str
    reason: str
    detail: str | None

    @property
    def model(self) -> str | None:
        """The model it stops; None: all of them."""
        return self.name.removeprefix("model:") if self.name.startswith("model:") else None


FAILED = """
INSERT INTO circuits AS c (name, failures, opened_at, probe_at, reason, detail)
VALUES ($1, 1, CASE WHEN $2 <= 1 THEN now() END,
        now() + make_interval(secs => $3), $4, $5)
ON CONFLICT (name) DO UPDATE
SET failures = c.failures + 1,
    opened_at = coalesce(
        c.opened_at, CASE WHEN c.on_trial OR c.failures + 1 >= $2 THEN now() END
    ),
    on_trial = false,
    probe_at = now() + make_interval(secs => $3),
    reason = excluded.reason,
    detail = excluded.detail
RETURNING opened_at = now() AS opened_now
"""


async def record_failure(
    connection: Connection,
    *,
    model: str,
    error: ImageProviderError,
    failures_max: int,
    probe_seconds: float,
) -> bool:
    """Count a failed call; True if that opened a circuit.

    A call that the provider refused for the customer's fault came back: it is a success here.
    """
    if error.failure is FailureClass.USER_FAULT:
        await record_success(connection)
        return False
    at_once = error.failure is FailureClass.OUR_FAULT
    name = f"model:{model}" if error.code == "model_gone" else PROVIDER
    opened: bool | None = await connection.fetchval(
        FAILED, name, 1 if at_once else failures_max, probe_seconds, error.code,
        storable(error.detail),
    )  # fmt: skip
    return bool(opened)


# Nearly always nothing to do, and then nothing is written.
SUCCEEDED = """
UPDATE circuits
SET failures = 0, on_trial = false
WHERE name = $1 AND opened_at IS NULL AND (failures > 0 OR on_trial)
"""


async def record_success(connection: Connection) -> None:
    """A call came back: a trial is passed, and the count of failures in a row starts over."""
    await connection.execute(SUCCEEDED, PROVIDER)


DUE_PROBES = """
UPDATE circuits
SET probe_at = now() + make_interval(secs => $1)
WHERE name IN (
    SELECT name FROM circuits
    WHERE opened_at IS NOT NULL AND probe_at <= now()
    FOR UPDATE SKIP LOCKED
)
RETURNING name, reason, detail
"""


async def claim_probes(connection: Connection, *, probe_seconds: float) -> list[OpenCircuit]:
    """The open circuits whose probe is due; no other pod will get them for `probe_seconds`."""
    rows = await connection.fetch(DUE_PROBES, probe_seconds)
    return [OpenCircuit(row["name"], row["reason"], row["detail"]) for row in rows]


CLOSE = """
UPDATE circuits
SET opened_at = NULL, failures = 0, probe_at = NULL, on_trial = (name = 'provider')
WHERE name = $1 AND opened_at IS NOT NULL
"""


async def close(connection: Connection, name: str) -> None:
    """The probe succeeded: take orders again; the provider is on trial."""
    await connection.execute(CLOSE, name)


async def open_circuits(connection: Connection) -> list[OpenCircuit]:
    """All circuits that are open."""
    rows = await connection.fetch(
        "SELECT name, reason, detail FROM circuits WHERE opened_at IS NOT NULL ORDER BY name"
    )
    return [OpenCircuit(row["name"], row["reason"], row["detail"]) for row in rows]
