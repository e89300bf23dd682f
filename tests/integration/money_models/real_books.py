"""The real thing beside the reference: carries out its operations, and reads its books."""

from __future__ import annotations

from dataclasses import fields

from rei_core.db import Connection, Pool
from rei_core.errors import FailureClass, ImageProviderError, InsufficientFunds, OperationConflict
from rei_core.images import circuits
from rei_core.jobs import claim_queries, end_queries
from rei_core.jobs.accept_queries import accept
from rei_core.jobs.model import Order, Output
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.users import queries as users

from . import books
from .books import Books, Job, Key, Posting, reference

LONG_SECONDS = 3_600.0
"""Leases, delays and deadlines: nothing lapses unless the tests' clock says so."""
PICTURE = Output(mime_type="image/png", width=1, height=1, data=b"png")
NO_JOB = -1
JOB_FIELDS = [job_field.name for job_field in fields(Job)]

JOBS = """
SELECT id, user_id, idempotency_key, model, price_kopecks, status, attempt, attempts_max,
       coalesce(lease_until < now(), false) AS lapsed,
       status <> 'queued' OR run_after <= now() AS due,
       deadline_at < now() AS overdue
FROM jobs
ORDER BY id
"""

TICKS = {
    "lease": "UPDATE jobs SET lease_until = now() - interval '1 s'"
    " WHERE status = 'processing' AND id = ANY($1)",
    "delay": "UPDATE jobs SET run_after = now() WHERE status = 'queued' AND id = ANY($1)",
    "deadline": "UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = ANY($1)",
}

# As somebody with all rights would: the triggers that keep tables from being emptied go first.
EMPTY = """
ALTER TABLE transfers DISABLE TRIGGER transfers_append_only;
ALTER TABLE admin_actions DISABLE TRIGGER admin_actions_append_only;
TRUNCATE users, jobs, transfers, circuits RESTART IDENTITY CASCADE;
ALTER TABLE transfers ENABLE TRIGGER transfers_append_only;
ALTER TABLE admin_actions ENABLE TRIGGER admin_actions_append_only;
"""


class RealBooks:
    """`ids` finds a job's row by its key."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.ids: dict[Key, int] = {}

    async def open(self, gifts: dict[int, int]) -> Books:
        """Empty tables and customers with money; their books."""
        await self.pool.execute(EMPTY)
        self.ids.clear()
        for user_id, kopecks in gifts.items():
            async with self.pool.acquire() as connection:
                await users.see(connection, user_id)
            await self.perform(books.Adjust(user_id, kopecks, f"gift-{user_id}"))
        return await self.read()

    async def perform(self, operation: object) -> object:
        """Carry out one operation as the product does, on a connection of its own."""
        async with self.pool.acquire() as connection:
            match operation:
                case books.Accept():
                    return await self._accept(connection, operation)
                case books.Held():
                    return await self._held(connection, operation)
                case books.Cancel(key, user_id):
                    ended = await end_queries.cancel(connection, self._id(key), user_id=user_id)
                    return ended is not None
                case books.Adjust():
                    return await self._adjust(connection, operation)
                case books.Time(what, keys):
                    await connection.execute(TICKS[what], [self._id(key) for key in keys])
                    return None
                case _:
                    return await self._others(connection, operation)

    async def read(self) -> Books:
        """The tables as books, in one snapshot; every invariant of the audit holds."""
        async with self.pool.acquire() as connection:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                found = await self._read(connection)
            report = await audit(connection)
        assert report.violations == ()
        assert sum(report.accounts.values()) == 0
        assert report.accounts == found.accounts()
        return found

    async def _accept(self, connection: Connection, operation: books.Accept) -> object:
        order = Order(
            user_id=operation.user_id,
            idempotency_key=operation.key,
            model=operation.model,
            prompt="a cat",
            aspect_ratio="1:1",
            image_size="1K",
            price_kopecks=operation.price_kopecks,
            chat_id=operation.user_id,
        )
        answer = await accept(
            connection,
            order,
            active_jobs_max=books.ACTIVE_JOBS_MAX,
            attempts_max=operation.attempts_max,
            deadline_seconds=LONG_SECONDS,
        )
        assert (answer.job_id is not None) == (answer.outcome in ("accepted", "duplicate"))
        return answer.outcome.value, answer.balance_kopecks

    async def _held(self, connection: Connection, operation: books.Held) -> object:
        job_id, attempt = self._id(operation.key), operation.attempt
        match operation:
            case books.Complete():
                return await end_queries.complete(
                    connection, job_id, attempt=attempt, output=PICTURE
                )
            case books.Fail():
                ended = await end_queries.fail(
                    connection, job_id, attempt=attempt, error_code="blocked", error_detail=""
                )
                return ended is not None
            case books.Retry():
                return await claim_queries.retry_later(
                    connection,
                    job_id,
                    attempt=attempt,
                    delay_seconds=LONG_SECONDS if operation.delayed else 0,
                    error_code="unavailable",
                    error_detail="",
                    counts=operation.counts,
                )
            case _:
                renewed = await claim_queries.renew(
                    connection, [(job_id, attempt)], lease_seconds=LONG_SECONDS
                )
                return renewed.get(job_id)

    async def _adjust(self, connection: Connection, operation: books.Adjust) -> object:
        try:
            async with connection.transaction():
                return await adjust(
                    connection,
                    user_id=operation.user_id,
                    change_kopecks=operation.change_kopecks,
                    operation_id=operation.operation_id,
                    reason="r",
                )
        except OperationConflict:
            return "conflict"
        except InsufficientFunds:
            return "insufficient_funds"

    async def _others(self, connection: Connection, operation: object) -> object:
        match operation:
            case books.Claim(limit=limit, processing_max=processing_max):
                return await self._claim(connection, limit, processing_max)
            case books.Lapse(limit=limit):
                lapsed = await claim_queries.lapse(connection, limit=limit)
                return frozenset(await _keys(connection, lapsed))
            case books.FailLapsed(limit=limit):
                ended = await end_queries.fail_lapsed(connection, limit=limit)
                return frozenset(await _keys(connection, [job.id for job in ended]))
            case books.FailOverdue():
                ended = await end_queries.fail_overdue(connection, limit=100)
                return frozenset(await _keys(connection, [job.id for job in ended]))
            case books.Ban(user_id, True):
                await users.ban(connection, user_id, until=None, reason="spam")
            case books.Ban(user_id, False):
                await users.unban(connection, user_id)
            case books.OpenCircuit(name):
                await self._open_circuit(connection, name)
            case books.CloseCircuit(name):
                await circuits.close(connection, name)
            case books.CallCameBack():
                await circuits.record_success(connection)
            case _:
                raise AssertionError(operation)
        return None

    async def _claim(self, connection: Connection, limit: int, processing_max: int) -> object:
        async with connection.transaction():
            claimed = await claim_queries.claim(
                connection,
                worker="w",
                lease_seconds=LONG_SECONDS,
                limit=limit,
                processing_max=processing_max,
            )
        keys = await _keys(connection, [job.id for job in claimed])
        return frozenset(zip(keys, (job.attempt for job in claimed), strict=True))

    async def _open_circuit(self, connection: Connection, name: str) -> None:
        model = name.removeprefix("model:")
        code = "bad_key" if name == circuits.PROVIDER else "model_gone"
        error = ImageProviderError(FailureClass.OUR_FAULT, code)
        await circuits.record_failure(
            connection, model=model, error=error, failures_max=5, probe_seconds=LONG_SECONDS
        )

    async def _read(self, connection: Connection) -> Books:
        rows = await connection.fetch(JOBS)
        self.ids = {(row["user_id"], row["idempotency_key"]): row["id"] for row in rows}
        keys = {row["id"]: key for key, row in zip(self.ids, rows, strict=True)}
        balances = await connection.fetch("SELECT user_id, balance_kopecks FROM balances")
        found = Books({row["user_id"]: row["balance_kopecks"] for row in balances})
        for row in rows:
            found.jobs[row["user_id"], row["idempotency_key"]] = Job(
                *(row[name] for name in JOB_FIELDS)
            )
        for row in await connection.fetch("SELECT * FROM transfers"):
            ref = row["ref_id"]
            if row["ref_type"] == "job":
                ref = reference(keys[int(ref)])
            found.transfers[row["kind"], ref] = Posting(
                row["user_id"],
                row["debit_account"],
                row["credit_account"],
                row["amount_kopecks"],
                row["balance_after_kopecks"],
            )
        found.deliveries = {
            (row["kind"], reference(keys[int(row["ref_id"])]))
            for row in await connection.fetch("SELECT kind, ref_id FROM deliveries")
        }
        banned = await connection.fetch("SELECT id FROM users WHERE banned_at IS NOT NULL")
        found.banned = {row["id"] for row in banned}
        for row in await connection.fetch("SELECT name, opened_at, on_trial FROM circuits"):
            if row["opened_at"] is not None:
                found.circuits.add(row["name"])
            found.on_trial = found.on_trial or row["on_trial"]
        return found

    def _id(self, key: Key) -> int:
        return self.ids.get(key, NO_JOB)


async def _keys(connection: Connection, ids: list[int]) -> list[Key]:
    """The jobs' keys, in the order of `ids`."""
    rows = await connection.fetch(
        "SELECT id, user_id, idempotency_key FROM jobs WHERE id = ANY($1)", ids
    )
    keys = {row["id"]: (row["user_id"], row["idempotency_key"]) for row in rows}
    return [keys[job_id] for job_id in ids]
