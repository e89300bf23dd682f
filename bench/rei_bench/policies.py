"""Runs of maintenance policies, as the operator makes them, in a process of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rei_bench.children import program
from rei_bench.stage import BenchError, Stage

RUN_SECONDS_MAX = 900.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run changed, and how long it took; `began` and `ended` on the machine's clock."""

    changed: int
    seconds: float
    began: float
    ended: float


def run_policy(stage: Stage, kind: str, spec: dict[str, Any], *, database: str) -> Ran:
    """One run to its end; raises `BenchError` if it did not do all that it should."""
    with program(
        stage, "maintain", database_url=stage.url(database), kind=kind, spec=spec
    ) as child:  # fmt: skip
        began = child.told("started")["at"]
        done = child.told("done", within_seconds=RUN_SECONDS_MAX)
    if done["status"] != "succeeded" or done["failed"] or done["notes"]:
        raise BenchError(f"{kind}: {done['status']}, {done['failed']} failed: {done['notes']}")
    return Ran(done["changed"], done["seconds"], began, done["at"])
