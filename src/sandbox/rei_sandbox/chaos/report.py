"""The account of a run: what broke, what became of every order and every kopeck."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from rei_core.db import Connection
from rei_core.ledger.audit import audit
from rei_core.payments.port import PaymentProvider
from rei_sandbox.chaos.customers import Deeds

JOBS = """
SELECT concat_ws(': ', status, CASE WHEN status = 'failed' THEN error_code END) AS ended,
       count(*) AS jobs
FROM jobs
GROUP BY 1
ORDER BY 1
"""
ATTEMPTS = "SELECT coalesce(sum(attempt - 1), 0)::bigint FROM jobs WHERE attempt > 1"
DELIVERIES = "SELECT status, count(*) AS deliveries FROM deliveries GROUP BY status ORDER BY status"
REMEMBERED = "SELECT chat_id, message_id FROM deliveries WHERE status = 'delivered'"
CREDITED = """
SELECT p.provider_payment_id, t.amount_kopecks
FROM transfers AS t
JOIN payments AS p ON p.id::text = t.ref_id
WHERE t.kind = 'topup'
"""
TWICE = """
SELECT count(*) FROM (
    SELECT FROM jobs GROUP BY user_id, progress_message_id HAVING count(*) > 1
) AS orders
"""
PICTURES = """
SELECT count(*) FROM deliveries AS d
JOIN jobs AS j ON j.id::text = d.ref_id
WHERE d.kind IN ('result', 'original') AND j.status <> 'completed'
"""
UNFINISHED = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'processing')"
ANSWERED = "SELECT user_id, progress_message_id FROM jobs"
DRAWN = "SELECT count(*) FROM jobs WHERE status = 'completed' OR error_code = 'blocked'"


@dataclass
class Report:
    """Everything that is told at the end; `violations` is empty when all is well."""

    seconds: float = 0.0
    seed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, int] = field(default_factory=dict)
    deliveries: dict[str, int] = field(default_factory=dict)
    deeds: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    stuck: int = 0
    lost_orders: int = 0
    paid_kopecks: int = 0
    credited_kopecks: int = 0
    duplicated_deliveries: int = 0
    missing_deliveries: int = 0
    undone: int = 0
    duplicated_calls: int = 0
    transfers: int = 0
    died: int = 0
    memory_mib: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        return not self.violations

    def rows(self) -> list[tuple[str, str]]:
        """(what, how much), in the order in which people ask."""
        ended = sum(self.jobs.values())
        rate = ended / self.seconds if self.seconds else 0
        return [
            ("seed", str(self.seed)),
            ("time", f"{self.seconds:.0f} s, {rate:.1f} jobs/s"),
            ("jobs", _counts(self.jobs)),
            (
                "faults",
                f"{sum(self.faults.values())}: {_counts(dict(sorted(self.faults.items())))}",
            ),
            ("customers", _counts(dict(sorted(self.deeds.items())))),
            ("deliveries", _counts(self.deliveries)),
            ("attempts beyond the first", str(self.retries)),
            ("paid at YooKassa", _rubles(self.paid_kopecks)),
            ("credited", _rubles(self.credited_kopecks)),
            ("transfers audited", str(self.transfers)),
            ("duplicated deliveries", str(self.duplicated_deliveries)),
            ("duplicated provider calls (the owner's money)", str(self.duplicated_calls)),
            ("peak memory, MiB", _counts(self.memory_mib)),
            ("orders lost", str(self.lost_orders)),
            ("steps that no stand-in took", str(self.undone)),
            ("jobs not ended 60 s after the last order", str(self.stuck)),
            ("violations", "; ".join(self.violations) or "0"),
        ]

    def markdown(self) -> str:
        """The same as a table for the docs."""
        lines = ["| what | how much |", "|---|---|"]
        return "\n".join(lines + [f"| {what} | {value} |" for what, value in self.rows()]) + "\n"


async def account(
    report: Report,
    connection: Connection,
    payments: PaymentProvider,
    deeds: Deeds,
    *,
    since: datetime,
    pictures_made: int,
    delivered: set[tuple[int, int]],
    undeliverable_expected: int,
) -> None:
    """Fill in what the database, YooKassa's stand-in and the chats say.

    `delivered` holds (chat, message) of every message in the chats that is a delivery.
    """
    report.deeds, report.undone = deeds.counts, deeds.undone
    report.jobs = {row["ended"]: row["jobs"] for row in await connection.fetch(JOBS)}
    report.deliveries = {
        row["status"]: row["deliveries"] for row in await connection.fetch(DELIVERIES)
    }
    report.retries = await connection.fetchval(ATTEMPTS)
    report.stuck = await connection.fetchval(UNFINISHED)
    credited = {
        row["provider_payment_id"]: row["amount_kopecks"]
        for row in await connection.fetch(CREDITED)
    }
    paid = {
        payment.id: payment.amount_kopecks
        async for payment in payments.list(created_since=since, status="succeeded")
    }
    report.credited_kopecks, report.paid_kopecks = sum(credited.values()), sum(paid.values())
    answered = {
        (row["user_id"], row["progress_message_id"]) for row in await connection.fetch(ANSWERED)
    }
    report.lost_orders = len(deeds.pressed - deeds.refused - answered)
    compare_deliveries(
        report,
        remembered=[
            (row["chat_id"], row["message_id"]) for row in await connection.fetch(REMEMBERED)
        ],
        delivered=delivered,
    )
    report.duplicated_calls = max(0, pictures_made - await connection.fetchval(DRAWN))
    await _judge(report, connection, undeliverable_expected=undeliverable_expected)
    wrong = [
        payment
        for payment in paid.keys() | credited.keys()
        if paid.get(payment) != credited.get(payment)
    ]
    if wrong:
        report.violations.append(f"{len(wrong)} payments are not credited as they were paid")


def compare_deliveries(
    report: Report, *, remembered: list[tuple[int, int | None]], delivered: set[tuple[int, int]]
) -> None:
    """Message by message: a sum would take one that never came and one that came twice for two.

    A delivery never arrived if the message that is remembered of it is in no chat, or is remembered
    of another one too; every delivery in a chat that nothing remembers is a copy.
    """
    arrived = {message for message in remembered if message in delivered}
    report.missing_deliveries = len(remembered) - len(arrived)
    report.duplicated_deliveries = len(delivered) - len(arrived)


async def _judge(report: Report, connection: Connection, *, undeliverable_expected: int) -> None:
    """What must not be, in words."""
    found = await audit(connection)
    report.transfers = found.transfers_examined
    report.violations += [
        f"{violation.invariant}: {violation.subject} ({violation.detail})"
        for violation in found.violations
    ]
    given_up = report.deliveries.get("undeliverable", 0) - undeliverable_expected
    amounts = {
        "kopecks are missing from the sum of all accounts": abs(sum(found.accounts.values())),
        "jobs are stuck": report.stuck,
        "orders are lost": report.lost_orders,
        "orders became two jobs": await connection.fetchval(TWICE),
        "pictures were delivered of jobs that were refunded": await connection.fetchval(PICTURES),
        "deliveries are stuck": report.deliveries.get("pending", 0),
        "deliveries were given up that could have been made": given_up,
        "deliveries never arrived": report.missing_deliveries,
        "steps of customers were left undone, as no stand-in took them": report.undone,
        "processes died by themselves": report.died,
    }
    report.violations += [f"{number} {what}" for what, number in amounts.items() if number > 0]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "none"


def _rubles(kopecks: int) -> str:
    return f"{kopecks // 100}.{kopecks % 100:02d} ₽"
