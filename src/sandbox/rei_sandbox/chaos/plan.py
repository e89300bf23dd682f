"""What breaks, and when: all of it drawn from one seed before the run begins."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "kill bot", "kill worker", "kill postgres", "kill redis", "flush redis", "freeze worker",
    "lose answer", "lose statement", "cut all", "gemini", "telegram", "yookassa", "notification",
]  # fmt: skip

# What a stand-in does wrong: (kind, operation, delay in seconds).
GEMINI: Final = (
    ("rate_limited", "generate", 1.0), ("unavailable", "generate", 0.0),
    ("internal", "generate", 0.0), ("done_no_answer", "generate", 0.0),
    ("truncated", "generate", 0.0), ("garbage", "generate", 0.0),
    ("not_an_image", "generate", 0.0), ("hang", "generate", 2.0),
)  # fmt: skip
TELEGRAM: Final = (
    ("rate_limited", "sendPhoto", 1.0), ("unavailable", "sendMessage", 0.0),
    ("internal", "editMessageText", 0.0), ("done_no_answer", "sendDocument", 0.0),
    ("done_no_answer", "sendMessage", 0.0), ("rate_limited", "sendMessage", 1.0),
    ("duplicated", "*", 0.0), ("reordered", "*", 0.5), ("late", "*", 1.0),
    ("hang", "sendMessage", 3.0), ("blocked", "sendPhoto", 0.0),
)  # fmt: skip
YOOKASSA: Final = (
    ("unavailable", "create", 0.0), ("internal", "get", 0.0), ("done_no_answer", "create", 0.0),
    ("rate_limited", "get", 0.0), ("hang", "get", 2.0),
)  # fmt: skip
NOTIFICATION: Final = (
    ("duplicated", "notification", 0.0), ("late", "notification", 2.0),
    ("reordered", "notification", 0.0), ("forged", "notification", 0.0),
    ("lost", "notification", 0.0),
)  # fmt: skip
NO_FAULT: Final = (("", "", 0.0),)


@dataclass(frozen=True, slots=True)
class Amounts:
    """How often each thing breaks in a run."""

    kills: int = 20
    """Of bots and workers together."""
    postgres: int = 2
    redis: int = 2
    flushes: int = 2
    freezes: int = 3
    cuts: int = 20
    services: int = 30
    """Faults of Gemini, Telegram, YooKassa and its notifications together."""

    @property
    def total(self) -> int:
        return (
            self.kills + self.postgres + self.redis + self.flushes + self.freezes + self.cuts
            + self.services
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that breaks once `at_job` jobs have ended."""

    at_job: int
    kind: Kind
    fault: tuple[str, str, float] = ("", "", 0.0)


def plan(*, jobs: int, amounts: Amounts, rng: random.Random) -> list[Step]:
    """All steps, in the order in which they come."""
    kinds: list[tuple[Kind, tuple[str, str, float]]] = []

    def add(kind: Kind, count: int, faults: tuple[tuple[str, str, float], ...] = ()) -> None:
        # Each fault in turn, so that a short run has them all.
        kinds.extend(
            (kind, (faults or NO_FAULT)[i % len(faults or NO_FAULT)]) for i in range(count)
        )

    add("kill worker", amounts.kills - amounts.kills // 2)
    add("kill bot", amounts.kills // 2)
    add("kill postgres", amounts.postgres)
    add("kill redis", amounts.redis)
    add("flush redis", amounts.flushes)
    add("freeze worker", amounts.freezes)
    add("cut all", amounts.cuts // 10)
    add("lose statement", amounts.cuts // 5)
    add("lose answer", amounts.cuts - amounts.cuts // 10 - amounts.cuts // 5)
    services = amounts.services
    add("gemini", services - 3 * (services // 4), GEMINI)
    add("telegram", services // 4, TELEGRAM)
    add("yookassa", services // 4, YOOKASSA)
    add("notification", services // 4, NOTIFICATION)
    rng.shuffle(kinds)
    moments = sorted(rng.randrange(jobs // 50, max(jobs * 19 // 20, 1)) for _ in kinds)
    return [Step(at, kind, fault) for at, (kind, fault) in zip(moments, kinds, strict=True)]
