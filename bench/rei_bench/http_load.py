"""One contender under a load of HTTP requests."""

from __future__ import annotations

from dataclasses import dataclass, field

from rei_bench.children import program
from rei_bench.stage import BenchError, Stage


@dataclass(frozen=True, slots=True)
class Requests:
    """What is posted; `{n}` in the body becomes a number that no other request has."""

    path: str
    body: str
    connections: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered:
    """How many requests were answered with 200, and in how long."""

    ok: int
    per_second: float


def load(stage: Stage, requests: Requests, *, port: int, first: int, seconds: float) -> Answered:
    """Post for a while; raises `BenchError` if any request was answered otherwise than with 200."""
    with program(
        stage,
        "load",
        port=port,
        path=requests.path,
        body=requests.body,
        headers=requests.headers,
        connections=requests.connections,
        first=first,
        seconds=seconds,
    ) as child:
        done = child.told("done")
    if done["failed"] or not done["ok"]:
        raise BenchError(f"{done['failed']} requests failed, {done['ok']} were answered with 200")
    return Answered(done["ok"], done["ok"] / done["seconds"])
