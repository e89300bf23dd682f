"""Random lives of top-ups and their refunds, beside a reference of our books and the provider's.

After every step both books equal the reference's, the audit finds nothing and the accounts sum to
0. At the end of a life everything comes to rest, and then each ruble is in one place: what was
paid there is credited here, less what went back there, less what was spent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from rei_core.db import Pool, create_pool

from . import till_books as till
from .profiles import PROFILE, SECONDS_MAX
from .real_till import FAULT, RealTill
from .serial import at_once, explained
from .till_books import TillBooks, TillOperation

USERS = (1, 2)
AT_ONCE_MAX = 3
PAYMENTS_MAX = 6
TOPUP_FAULTS = ("ok", "ok", "ok", "lost", "lost", "unheard", "refused", "revoked")
REFUND_FAULTS = ("ok", "ok", "lost", "slow", "refused", "refused", "unheard", "revoked")
TOPUP_KOPECKS, OTHER_KOPECKS = 50_000, 30_000

Which = int
"""Which of those that are meant, counted around; and which fault."""
How = int
"""0 and 1 are the usual ways; 2 and 3 the unusual ones: a repeat, a conflict, a forgery, a lie."""
Plan = Callable[[TillBooks, Which, How], TillOperation]


def _one(names: list[str], which: Which) -> str:
    return names[which % len(names)] if names else "none"


def _payments(state: TillBooks, *statuses: str) -> list[str]:
    return [name for name, payment in state.payments.items() if payment.status in statuses]


def _remotes(state: TillBooks, status: str) -> list[str]:
    return [name for name, remote in state.remotes.items() if remote.status == status]


def _unsettled(state: TillBooks) -> list[str]:
    return [name for name in _remotes(state, "succeeded") if name not in _settled(state)]


def _settled(state: TillBooks) -> list[str]:
    return _payments(state, "succeeded")


def _topup(state: TillBooks, which: Which, how: How) -> TillOperation:
    fresh = how < 2 and len(state.payments) < PAYMENTS_MAX
    number = len(state.payments) + 1 if fresh else 1 + which % PAYMENTS_MAX
    kopecks = OTHER_KOPECKS if how == 3 else TOPUP_KOPECKS
    return till.StartTopup(f"click-{number}", USERS[number % 2], kopecks, TOPUP_FAULTS[which])


def _settle(state: TillBooks, which: Which, how: How) -> TillOperation:
    names = _unsettled(state) or _payments(state, "created", "pending") or list(state.payments)
    name = "forged" if (which, how) == (7, 3) else _one(names, which)
    return till.Settle(
        name, "check" if how % 2 else "notification", "unheard" if which > 5 else "ok"
    )


def _payer(state: TillBooks, which: Which, how: How) -> TillOperation:
    status = "canceled" if how == 3 else "succeeded"
    return till.Payer(_one(_remotes(state, "pending"), which), status)


def _lie(state: TillBooks, which: Which, how: How) -> TillOperation:
    lying = [name for name, remote in state.remotes.items() if remote.differs is not None]
    if lying:
        return till.Lie(_one(lying, which), None)
    name = _one(_payments(state, "pending"), which)
    return till.Lie(name, ("amount", "currency", "id", "amount")[how])


def _refund(state: TillBooks, which: Which, how: How) -> TillOperation:
    fault = REFUND_FAULTS[which]
    pending = [name for name, refund in state.refunds.items() if refund.status == "pending"]
    if how == 2 and state.refunds:
        operation_id = _one(pending or list(state.refunds), which)
        known = state.refunds[operation_id]
        return till.RefundPayment(operation_id, known.payment, known.kopecks, fault)
    name = _one(_settled(state), which)
    kopecks = (20_000, TOPUP_KOPECKS, 20_000, OTHER_KOPECKS)[how]
    number = len(state.refunds) + (how != 3)
    return till.RefundPayment(f"refund-{number}", name, kopecks, fault)


def _refund_ends(state: TillBooks, which: Which, how: How) -> TillOperation:
    slow = [name for name, status in state.remote_refunds.items() if status == "pending"]
    return till.RefundEnds(_one(slow, which), "canceled" if how > 1 else "succeeded")


PLANS: dict[str, Plan] = {
    "topup": _topup,
    "settle": _settle,
    "payer": _payer,
    "refund": _refund,
    "refund ends": _refund_ends,
    "lie": _lie,
    "spend": lambda _state, which, how: till.Spend(
        f"spend-{which}-{how}", USERS[which % 2], (10_000, 30_000)[how % 2]
    ),
}
Intent = tuple[str, Which, How]
OFTEN = ["topup", "settle", "settle", "payer", "refund", "refund", "refund", *PLANS]


def _intent(number: int) -> Intent:
    """One of all intents, each as likely: drawn one by one, Hypothesis repeats a few of them."""
    number = number * 0x9E3779B1 % 2**32
    return OFTEN[number % len(OFTEN)], (number >> 8) % 8, (number >> 16) % 4


INTENTS = st.integers(0, 2**32 - 1).map(_intent)


def _planned(intent: Intent, state: TillBooks) -> TillOperation:
    """What an intent comes to. One that would come to nothing mostly is what has to come first."""
    name, which, how = intent
    if how < 3 and name in {"refund", "spend"} and not _settled(state):
        name = "settle"
    if how < 3 and name == "settle" and not _unsettled(state):
        name = "payer"
    if how < 3 and name in {"payer", "lie"} and not _remotes(state, "pending"):
        name = "topup"
    return PLANS[name](state, which, how)


class PaymentsMachine(RuleBasedStateMachine):
    """The state is the reference's; the real books are read after every step."""

    def __init__(self, runner: asyncio.Runner, real: RealTill) -> None:
        super().__init__()
        self._runner = runner
        self._real = real
        self._failed = False
        self._state = runner.run(real.open(USERS))

    @rule(intents=st.lists(INTENTS, min_size=2, max_size=AT_ONCE_MAX), gated=st.booleans())
    def different_ones(self, intents: list[Intent], gated: bool) -> None:
        """Operations that overlap."""
        self._step([_planned(intent, self._state) for intent in intents], gated=gated)

    @rule(intents=st.lists(INTENTS, min_size=2, max_size=6))
    def one_after_the_other(self, intents: list[Intent]) -> None:
        """A piece of an ordinary day."""
        for intent in intents:
            self._step([_planned(intent, self._state)])

    @rule(intent=INTENTS, times=st.integers(2, AT_ONCE_MAX), gated=st.booleans())
    def the_same_at_once(self, intent: Intent, times: int, gated: bool) -> None:
        """One operation, asked for several times in parallel."""
        self._step([_planned(intent, self._state)] * times, gated=gated)

    @rule(faults=st.lists(st.sampled_from(sorted(set(REFUND_FAULTS))), min_size=2, max_size=3))
    def one_refund_asked_for_by_several(self, faults: list[str]) -> None:
        """Each question has a fate of its own, and they are about the same money."""
        planned = _planned(("refund", 0, 0), self._state)
        if isinstance(planned, till.RefundPayment):
            about = (planned.operation_id, planned.name, planned.kopecks)
            self._step([till.RefundPayment(*about, fault) for fault in faults])

    def teardown(self) -> None:
        """The provider tells the truth and answers; what nobody was told of, its list tells."""
        if self._failed:
            return
        for name in self._state.remotes:
            self._step([till.Lie(name, None)])
        for operation_id in self._state.refunds:
            self._step([till.RefundEnds(operation_id, "succeeded")])
        for name in self._runner.run(self._listed()):
            self._step([till.Settle(name, "notification", "ok")])
        for operation_id, refund in self._state.refunds.items():
            self._step([till.RefundPayment(operation_id, refund.payment, refund.kopecks, "ok")])
        assert self._state.balances == {user_id: self._due(user_id) for user_id in USERS}

    def _due(self, user_id: int) -> int:
        """What the provider's books and the spendings say."""
        state = self._state
        of_user = {name: one for name, one in state.payments.items() if one.user_id == user_id}
        paid = sum(
            of_user[name].kopecks for name in _remotes(state, "succeeded") if name in of_user
        )
        returned = sum(
            state.refunds[operation_id].kopecks
            for operation_id, status in state.remote_refunds.items()
            if status == "succeeded" and state.refunds[operation_id].payment in of_user
        )
        spent = sum(
            posting.kopecks
            for (kind, _), posting in state.transfers.items()
            if kind == "adjustment" and posting.user_id == user_id
        )
        return paid - returned - spent

    async def _listed(self) -> list[str]:
        FAULT.set("ok")
        remotes = self._real.provider.list(created_since=datetime.now(UTC))
        names = {f"remote-{row_id}": name for name, row_id in self._real.ids.items()}
        return [names[remote.id] async for remote in remotes]

    def _step(self, operations: list[TillOperation], *, gated: bool = False) -> None:
        note(f"{operations=}")
        self._failed = True  # unless this step comes to its end
        work = [self._real.perform(operation) for operation in operations]
        answers = self._runner.run(at_once(self._real.pool, work, gated=gated))
        after = self._runner.run(self._real.read())
        assert explained(self._state, operations, answers, after), (
            f"no order explains {operations=}\n{answers=}\nbefore {self._state}\nafter {after}"
        )
        self._state = after
        self._failed = False


@pytest.mark.timeout(SECONDS_MAX)
def test_payments_and_refunds_do_as_the_reference_does(database_url: str) -> None:
    async def connect() -> Pool:
        return await create_pool(database_url, application="test", size_max=AT_ONCE_MAX + 2)

    with asyncio.Runner() as runner:
        pool = runner.run(connect())
        try:
            real = RealTill(pool)
            run_state_machine_as_test(
                lambda: PaymentsMachine(runner, real),  # type: ignore[arg-type]  # a factory is as good
                settings=PROFILE,
            )
        finally:
            runner.run(pool.close())
