"""The reference: what ledger and jobs have to do, in plain Python.

No SQL, no clock, no concurrency, and no look at how the real one does it. `Books` is the whole
state; every operation is a value whose `apply` changes the books and returns its answer. Time is
three facts about a job (its lease has lapsed, its delay is over, its deadline has passed), which
only the tests' clock changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from rei_core.ledger.model import Account, TransferKind

Key = tuple[int, str]
"""A job by its customer and idempotency key: ids of the database differ from run to run."""
Answer = object

ACTIVE_JOBS_MAX = 3
UNFINISHED = ("queued", "processing")

WAYS = {
    TransferKind.HOLD: (Account.USER, Account.HELD),
    TransferKind.CAPTURE: (Account.HELD, Account.REVENUE),
    TransferKind.RELEASE: (Account.HELD, Account.USER),
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job's row, as far as money and its machine go."""

    model: str
    price_kopecks: int
    status: str
    attempt: int
    attempts_max: int
    lapsed: bool = False
    """Processing, and its lease is over."""
    due: bool = True
    """May be claimed, as far as its delay goes."""
    overdue: bool = False

    @property
    def unfinished(self) -> bool:
        return self.status in UNFINISHED


@dataclass(frozen=True, slots=True)
class Posting:
    """A transfer; its cause is the key it is found by."""

    user_id: int
    debit: str
    credit: str
    kopecks: int
    balance_after: int


@dataclass
class Books:
    """Everything that may be compared with the tables. `jobs` is in the order of arrival."""

    balances: dict[int, int]
    jobs: dict[Key, Job] = field(default_factory=dict)
    transfers: dict[tuple[str, str], Posting] = field(default_factory=dict)
    """By kind and reference."""
    deliveries: set[tuple[str, str]] = field(default_factory=set)
    banned: set[int] = field(default_factory=set)
    circuits: set[str] = field(default_factory=set)
    on_trial: bool = False

    def copy(self) -> Books:
        """Books of their own; what is in them is never changed in place."""
        return Books(
            dict(self.balances),
            dict(self.jobs),
            dict(self.transfers),
            set(self.deliveries),
            set(self.banned),
            set(self.circuits),
            self.on_trial,
        )

    def call_came_back(self) -> None:
        """The provider is off its trial, unless it has been found out meanwhile."""
        if "provider" not in self.circuits:
            self.on_trial = False

    def accounts(self) -> dict[str, int]:
        """The sum of each account that money ever went through."""
        sums: dict[str, int] = {}
        for posting in self.transfers.values():
            sums[posting.debit] = sums.get(posting.debit, 0) - posting.kopecks
            sums[posting.credit] = sums.get(posting.credit, 0) + posting.kopecks
        return sums

    def active(self, user_id: int) -> int:
        return sum(job.unfinished for (owner, _), job in self.jobs.items() if owner == user_id)

    def change(self, key: Key, **changes: object) -> Job:
        self.jobs[key] = replace(self.jobs[key], **changes)  # type: ignore[arg-type]
        return self.jobs[key]

    def post(self, kind: TransferKind, key: Key) -> None:
        """Move a job's price on its way, once: a second time is a fault of the reference."""
        user_id, price = key[0], self.jobs[key].price_kopecks
        debit, credit = WAYS[kind]
        self.balances[user_id] += price * ((credit is Account.USER) - (debit is Account.USER))
        cause = (kind.value, reference(key))
        assert cause not in self.transfers
        self.transfers[cause] = Posting(user_id, debit, credit, price, self.balances[user_id])

    def end_with_refund(self, key: Key, status: str, *, told: bool) -> None:
        self.change(key, status=status, lapsed=False, due=True)
        self.post(TransferKind.RELEASE, key)
        if told:
            self.deliveries.add(("job_failed", reference(key)))


class Operation(Protocol):
    """Something that the real system can be asked to do as well."""

    def apply(self, books: Books) -> Answer: ...


def reference(key: Key) -> str:
    """How transfers and deliveries name a job here."""
    return f"{key[0]}/{key[1]}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Takes the first `limit` jobs to arrive that are meant.

    It passes over what somebody else has locked: those keys are known only afterwards.
    """

    limit: int
    passed_over: frozenset[Key] = field(default=frozenset(), kw_only=True)

    def first(self, books: Books, condition: Callable[[Job], bool]) -> list[Key]:
        found = [
            key for key, job in books.jobs.items() if condition(job) and key not in self.passed_over
        ]
        return found[: self.limit]


@dataclass(frozen=True, slots=True)
class Accept:
    user_id: int
    key: str
    model: str
    price_kopecks: int
    attempts_max: int

    def apply(self, books: Books) -> Answer:
        balance = books.balances[self.user_id]
        outcome = self._outcome(books)
        if outcome == "accepted":
            key = (self.user_id, self.key)
            books.jobs[key] = Job(self.model, self.price_kopecks, "queued", 0, self.attempts_max)
            books.post(TransferKind.HOLD, key)
            balance = books.balances[self.user_id]
        return outcome, balance

    def _outcome(self, books: Books) -> str:
        if (self.user_id, self.key) in books.jobs:
            return "duplicate"
        if self.user_id in books.banned:
            return "banned"
        if books.circuits & {"provider", f"model:{self.model}"}:
            return "provider_paused"
        if books.active(self.user_id) >= ACTIVE_JOBS_MAX:
            return "too_many_active"
        if books.balances[self.user_id] < self.price_kopecks:
            return "insufficient_funds"
        return "accepted"


@dataclass(frozen=True, slots=True)
class Claim(Sweep):
    processing_max: int

    def apply(self, books: Books) -> Answer:
        if "provider" in books.circuits:
            return frozenset()
        processing = sum(job.status == "processing" for job in books.jobs.values())
        room = (1 if books.on_trial else self.processing_max) - processing
        claimed = self.first(books, lambda job: self._is_free(job, books))[: max(0, room)]
        for key in claimed:
            attempt = books.jobs[key].attempt + 1
            books.change(key, status="processing", attempt=attempt, lapsed=False)
        return frozenset((key, books.jobs[key].attempt) for key in claimed)

    def _is_free(self, job: Job, books: Books) -> bool:
        stopped = f"model:{job.model}" in books.circuits
        return job.status == "queued" and job.due and not stopped


@dataclass(frozen=True, slots=True)
class Held:
    """What whoever holds attempt `attempt` of a job may ask for."""

    key: Key
    attempt: int

    def holds(self, books: Books) -> bool:
        job = books.jobs.get(self.key)
        return job is not None and (job.status, job.attempt) == ("processing", self.attempt)


@dataclass(frozen=True, slots=True)
class Complete(Held):
    def apply(self, books: Books) -> Answer:
        if not self.holds(books):
            return False
        books.change(self.key, status="completed", lapsed=False)
        books.post(TransferKind.CAPTURE, self.key)
        books.deliveries.add(("result", reference(self.key)))
        books.call_came_back()
        return True


@dataclass(frozen=True, slots=True)
class Fail(Held):
    def apply(self, books: Books) -> Answer:
        if not self.holds(books):
            return False
        books.end_with_refund(self.key, "failed", told=True)
        return True


@dataclass(frozen=True, slots=True)
class Retry(Held):
    delayed: bool
    counts: bool

    def apply(self, books: Books) -> Answer:
        job = books.jobs.get(self.key)
        if job is None or not self.holds(books):
            return False
        if self.counts and job.attempt >= job.attempts_max:
            return False
        attempts_max = job.attempts_max + (not self.counts)
        books.change(
            self.key,
            status="queued",
            lapsed=False,
            due=not self.delayed,
            attempts_max=attempts_max,
        )
        return True


@dataclass(frozen=True, slots=True)
class Renew(Held):
    passed_over: bool = False
    """The row was locked by somebody else, which leaves the lease as old as it was."""

    def apply(self, books: Books) -> Answer:
        if not self.holds(books):
            return None
        if not self.passed_over:
            books.change(self.key, lapsed=False)
        return not self.passed_over


@dataclass(frozen=True, slots=True)
class Cancel:
    key: Key
    user_id: int

    def apply(self, books: Books) -> Answer:
        job = books.jobs.get(self.key)
        if job is None or job.status != "queued" or self.key[0] != self.user_id:
            return False
        books.end_with_refund(self.key, "cancelled", told=False)
        return True


@dataclass(frozen=True, slots=True)
class Lapse(Sweep):
    def apply(self, books: Books) -> Answer:
        lapsed = self.first(books, lambda job: job.lapsed and job.attempt < job.attempts_max)
        for key in lapsed:
            books.change(key, status="queued", lapsed=False, due=True)
        return frozenset(lapsed)


@dataclass(frozen=True, slots=True)
class FailLapsed(Sweep):
    def apply(self, books: Books) -> Answer:
        hopeless = self.first(books, lambda job: job.lapsed and job.attempt >= job.attempts_max)
        return _fail_all(books, hopeless)


@dataclass(frozen=True, slots=True)
class FailOverdue(Sweep):
    """The limit is out of reach: who is first to go is not a matter of arrival here."""

    limit: int = 100

    def apply(self, books: Books) -> Answer:
        overdue = self.first(books, lambda job: job.status == "queued" and job.overdue)
        return _fail_all(books, overdue)


def _fail_all(books: Books, keys: list[Key]) -> Answer:
    for key in keys:
        books.end_with_refund(key, "failed", told=True)
    return frozenset(keys)


@dataclass(frozen=True, slots=True)
class Adjust:
    user_id: int
    change_kopecks: int
    operation_id: str

    def apply(self, books: Books) -> Answer:
        credit = self.change_kopecks > 0
        debit_account, credit_account = (
            (Account.ADJUSTMENTS, Account.USER) if credit else (Account.USER, Account.ADJUSTMENTS)
        )
        cause = (TransferKind.ADJUSTMENT.value, self.operation_id)
        known = books.transfers.get(cause)
        if known is not None:
            content = (known.user_id, known.credit, known.kopecks)
            if content != (self.user_id, credit_account, abs(self.change_kopecks)):
                return "conflict"
            return known.balance_after
        if books.balances[self.user_id] + self.change_kopecks < 0:
            return "insufficient_funds"
        books.balances[self.user_id] += self.change_kopecks
        after = books.balances[self.user_id]
        books.transfers[cause] = Posting(
            self.user_id, debit_account, credit_account, abs(self.change_kopecks), after
        )
        return after


@dataclass(frozen=True, slots=True)
class Ban:
    user_id: int
    banned: bool

    def apply(self, books: Books) -> Answer:
        (books.banned.add if self.banned else books.banned.discard)(self.user_id)
        return None


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    name: str

    def apply(self, books: Books) -> Answer:
        books.circuits.add(self.name)
        books.on_trial = books.on_trial and self.name != "provider"
        return None


@dataclass(frozen=True, slots=True)
class CloseCircuit:
    name: str

    def apply(self, books: Books) -> Answer:
        if self.name in books.circuits:
            books.circuits.remove(self.name)
            books.on_trial = books.on_trial or self.name == "provider"
        return None


@dataclass(frozen=True, slots=True)
class CallCameBack:
    """The provider answered: its trial is passed."""

    def apply(self, books: Books) -> Answer:
        books.call_came_back()
        return None


@dataclass(frozen=True, slots=True)
class Time:
    """The tests' clock. `what`: lease, delay or deadline; of one job, or of all that have one."""

    what: str
    keys: tuple[Key, ...]

    def apply(self, books: Books) -> Answer:
        for key in self.keys:
            job = books.jobs[key]
            if self.what == "lease" and job.status == "processing":
                books.change(key, lapsed=True)
            elif self.what == "delay" and job.status == "queued":
                books.change(key, due=True)
            elif self.what == "deadline":
                books.change(key, overdue=True)
        return None
