"""Random lives of two customers and their jobs, beside a reference that knows no SQL.

After every step the tables equal the reference's books, the audit finds nothing and the accounts
sum to 0. In some steps several operations overlap for certain; some order of them, one after the
other, must then explain every answer and the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from rei_core.db import Pool, create_pool

from . import books
from .books import Books, Key, Operation
from .profiles import PROFILE, SECONDS_MAX
from .real_books import RealBooks
from .serial import at_once, explained

GIFTS = {1: 8_000, 2: 5_000}
AT_ONCE_MAX = 4

Which = int
"""Which of the jobs that are meant, counted around."""
How = int
"""0 and 1 are the usual ways; 2 and 3 the unusual ones: a repeat, an old attempt, a stranger."""

Plan = Callable[[Books, Which, How], Operation]


def _target(state: Books, which: Which, status: str) -> Key:
    """A job with this status if there is one, else any, else one that is none."""
    keys = [key for key, job in state.jobs.items() if job.status == status] or list(state.jobs)
    return keys[which % len(keys)] if keys else (1, "none")


def _held(state: Books, which: Which, how: How) -> tuple[Key, int]:
    """A job and the attempt that somebody thinks they hold: an old one at times, or the next."""
    key = _target(state, which, "processing")
    job = state.jobs.get(key)
    if job is None:
        return key, 1
    return key, job.attempt + (job.status == "queued") - (how == 3)


def _order(state: Books, which: Which, how: How) -> Operation:
    user_id = 1 + which % 2
    known = sum(owner == user_id for owner, _ in state.jobs)
    number = known if how == 3 else known + 1
    return books.Accept(
        user_id,
        f"order-{number}",
        model="m" if which < 5 else "other",
        price_kopecks=(700, 1_100, 2_000, 1_100)[how],
        attempts_max=1 + which % 3 % 2,
    )


def _cancel(state: Books, which: Which, how: How) -> Operation:
    key = _target(state, which, "queued")
    return books.Cancel(key, key[0] if how < 3 else 3 - key[0])


def _adjust(which: Which, how: How, sign: int) -> Operation:
    """Few operation ids, so that they come again: with the same content, or with another."""
    kopecks = sign * (1_500 + (how == 3))
    return books.Adjust(1 + which % 2, kopecks, f"{sign}-{which}-{how % 3}")


def _ban(state: Books, which: Which, how: How) -> Operation:
    """The other way round than it is; or the same again."""
    user_id = 1 + which % 2
    return books.Ban(user_id, (user_id in state.banned) == (how == 3))


def _circuit(state: Books, which: Which, how: How) -> Operation:
    name = "provider" if which % 2 else "model:m"
    opens = (name in state.circuits) == (how == 3)
    return books.OpenCircuit(name) if opens else books.CloseCircuit(name)


def _time(what: str, status: str) -> Plan:
    def plan(state: Books, which: Which, how: How) -> Operation:
        one = _target(state, which, status)
        return books.Time(what, tuple(key for key in state.jobs if how > 1 or key == one))

    return plan


CLOCK: dict[str, Plan] = {
    "lease lapses": _time("lease", "processing"),
    "delay ends": _time("delay", "queued"),
    "deadline passes": _time("deadline", "queued"),
}
PLANS: dict[str, Plan] = {
    "order": _order,
    "claim": lambda _state, which, how: books.Claim(
        how + 1, processing_max=2 if which == 7 else 100
    ),
    "complete": lambda state, which, how: books.Complete(*_held(state, which, how)),
    "fail": lambda state, which, how: books.Fail(*_held(state, which, how)),
    "retry": lambda state, which, how: books.Retry(
        *_held(state, which, how), delayed=how == 1, counts=which < 6
    ),
    "renew": lambda state, which, how: books.Renew(*_held(state, which, how)),
    "cancel": _cancel,
    "lapse": lambda _state, _which, how: books.Lapse(how + 1),
    "fail lapsed": lambda _state, _which, how: books.FailLapsed(how + 1),
    "fail overdue": lambda _state, _which, _how: books.FailOverdue(),
    "credit": lambda _state, which, how: _adjust(which, how, 1),
    "debit": lambda _state, which, how: _adjust(which, how, -1),
    "ban": _ban,
    "circuit": _circuit,
    "call came back": lambda _state, _which, _how: books.CallCameBack(),
} | CLOCK
RARE = ("ban", "circuit", "call came back", "credit", "debit", *CLOCK)

# What is drawn says nothing of the state: how a race came out would otherwise decide what can be
# drawn next, and no life could be repeated.
Intent = tuple[str, Which, How]
OFTEN = [name for name in PLANS for _ in range(1 if name in RARE else 2)]


def _intent(number: int) -> Intent:
    """One of all intents, each as likely: drawn one by one, Hypothesis repeats a few of them."""
    number = number * 0x9E3779B1 % 2**32
    return OFTEN[number % len(OFTEN)], (number >> 8) % 8, (number >> 16) % 4


INTENTS = st.integers(0, 2**32 - 1).map(_intent)


def _planned(intent: Intent, state: Books) -> Operation:
    """What an intent comes to. One that would come to nothing mostly is what has to come first."""
    name, which, how = intent
    jobs = state.jobs.values()
    running = any(job.status == "processing" for job in jobs)
    if how < 2 and name in {"complete", "fail", "retry", "renew", "lapse"} and not running:
        name = "claim"
    if how < 2 and name == "claim" and not any(job.status == "queued" for job in jobs):
        name = "order"
    if name == "order" and state.active(1 + which % 2) >= books.ACTIVE_JOBS_MAX and how < 3:
        name = "complete" if running else "claim"
    return PLANS[name](state, which, how)


def _tick(intent: Intent, state: Books) -> Operation | None:
    """The time that has to pass before a sweep finds anything."""
    name, which, how = intent
    ticks = {
        "lapse": "lease lapses",
        "fail lapsed": "lease lapses",
        "fail overdue": "deadline passes",
    }
    status = "queued" if name == "fail overdue" else "processing"
    if name not in ticks or how == 3 or all(job.status != status for job in state.jobs.values()):
        return None
    return PLANS[ticks[name]](state, which, how)


def _as_answered(operation: Operation, answer: object, *, before: Books, after: Books) -> Operation:
    """What passes over the rows that others have locked, with the rows that it seems to have passed
    over: those that it did not take and that somebody changed."""
    if isinstance(operation, books.Renew) and answer is False:
        return replace(operation, passed_over=True)
    if isinstance(operation, books.Sweep):
        assert isinstance(answer, frozenset)
        claimed = isinstance(operation, books.Claim)
        taken = {key for key, _attempt in answer} if claimed else answer
        changed = {key for key, job in after.jobs.items() if before.jobs.get(key) != job}
        return replace(operation, passed_over=frozenset(changed - taken))
    return operation


class JobsMachine(RuleBasedStateMachine):
    """The state is the reference's; the real books are read after every step."""

    def __init__(self, runner: asyncio.Runner, real: RealBooks) -> None:
        super().__init__()
        self._runner = runner
        self._real = real
        self._state = runner.run(real.open(GIFTS))

    @rule(intents=st.lists(INTENTS, min_size=2, max_size=AT_ONCE_MAX), gated=st.booleans())
    def different_ones(self, intents: list[Intent], gated: bool) -> None:
        """Operations that overlap. Time does not pass meanwhile, but before."""
        self._overlap(intents, gated=gated)

    @rule(intents=st.lists(INTENTS, min_size=2, max_size=6))
    def one_after_the_other(self, intents: list[Intent]) -> None:
        """A piece of an ordinary day."""
        for intent in intents:
            self._let_time_pass([intent])
            self._step([_planned(intent, self._state)])

    @rule(intent=INTENTS, times=st.integers(2, AT_ONCE_MAX))
    def the_same_at_once(self, intent: Intent, times: int) -> None:
        """One operation, asked for several times in parallel."""
        self._overlap([intent] * times, gated=True)

    def _overlap(self, intents: list[Intent], *, gated: bool) -> None:
        self._let_time_pass(intents)
        operations = [_planned(intent, self._state) for intent in intents]
        self._step([one for one in operations if not isinstance(one, books.Time)], gated=gated)

    def _let_time_pass(self, intents: list[Intent]) -> None:
        for intent in intents:
            tick = _tick(intent, self._state)
            if tick is not None:
                self._step([tick])

    def _step(self, operations: list[Operation], *, gated: bool = False) -> None:
        note(f"{operations=}")
        work = [self._real.perform(operation) for operation in operations]
        answers = self._runner.run(at_once(self._real.pool, work, gated=gated))
        after = self._runner.run(self._real.read())
        if len(operations) > 1:
            operations = [
                _as_answered(one, answer, before=self._state, after=after)
                for one, answer in zip(operations, answers, strict=True)
            ]
        assert explained(self._state, operations, answers, after), (
            f"no order explains {answers=}\nbefore {self._state}\nafter {after}"
        )
        self._state = after


@pytest.mark.timeout(SECONDS_MAX)
def test_jobs_and_ledger_do_as_the_reference_does(database_url: str) -> None:
    async def connect() -> Pool:
        return await create_pool(database_url, application="test", size_max=AT_ONCE_MAX + 2)

    with asyncio.Runner() as runner:
        pool = runner.run(connect())
        try:
            real = RealBooks(pool)
            run_state_machine_as_test(
                lambda: JobsMachine(runner, real),  # type: ignore[arg-type]  # a factory is as good
                settings=PROFILE,
            )
        finally:
            runner.run(pool.close())
