"""The ledger audit: every invariant of the money, each checked by one set-based query.

A violation is never repaired here; it is reported with enough to find it. The queries run in
one REPEATABLE READ snapshot, so that a bot at full speed beside them makes no false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass

from rei_core.db import Connection

EXCERPT_ROWS_MAX = 20
"""How many violations of one kind are told one by one; the rest are only counted."""

# Each query gives (subject, detail) for every violation of its invariant.
INVARIANTS: dict[str, str] = {
    "balance_is_sum_of_transfers": """
        WITH sums AS (
            SELECT user_id,
                   sum(CASE WHEN credit_account = 'user' THEN amount_kopecks
                            WHEN debit_account = 'user' THEN -amount_kopecks
                            ELSE 0 END) AS total
            FROM transfers
            GROUP BY user_id
        )
        SELECT 'user ' || coalesce(b.user_id, s.user_id) AS subject,
               format('balance %s, transfers %s', b.balance_kopecks, coalesce(s.total, 0)) AS detail
        FROM balances AS b
        FULL JOIN sums AS s USING (user_id)
        WHERE b.balance_kopecks IS DISTINCT FROM coalesce(s.total, 0)
    """,
    "balance_after_follows": """
        SELECT 'transfer ' || id AS subject,
               format('balance after is %s, %s expected', balance_after_kopecks, running) AS detail
        FROM (
            SELECT id, balance_after_kopecks,
                   sum(CASE WHEN credit_account = 'user' THEN amount_kopecks
                            WHEN debit_account = 'user' THEN -amount_kopecks
                            ELSE 0 END) OVER (PARTITION BY user_id ORDER BY id) AS running
            FROM transfers
        ) AS t
        WHERE balance_after_kopecks <> running
    """,
    "no_negative_balance": """
        SELECT 'user ' || user_id AS subject, format('balance %s', balance_kopecks) AS detail
        FROM balances
        WHERE balance_kopecks < 0
    """,
    "held_is_price_of_unfinished_jobs": """
        SELECT 'account held' AS subject, format('held %s, unfinished jobs %s', held, owed) AS detail
        FROM (
            SELECT (SELECT coalesce(sum(CASE WHEN credit_account = 'held' THEN amount_kopecks
                                             WHEN debit_account = 'held' THEN -amount_kopecks
                                             ELSE 0 END), 0) FROM transfers) AS held,
                   (SELECT coalesce(sum(price_kopecks), 0) FROM jobs
                    WHERE status IN ('queued', 'processing')) AS owed
        ) AS t
        WHERE held <> owed
    """,
    "job_held_its_price_once": """
        SELECT 'job ' || j.id AS subject, format('price %s, held %s', j.price_kopecks, t.amount_kopecks)
               AS detail
        FROM jobs AS j
        LEFT JOIN transfers AS t
          ON t.kind = 'hold' AND t.ref_type = 'job' AND t.ref_id = j.id::text
        WHERE t.amount_kopecks IS DISTINCT FROM j.price_kopecks
           OR t.user_id IS DISTINCT FROM j.user_id
    """,
    "job_ended_with_one_transfer": """
        SELECT 'job ' || j.id AS subject,
               format('%s with %s', j.status, coalesce(string_agg(t.kind, '+'), 'nothing')) AS detail
        FROM jobs AS j
        LEFT JOIN transfers AS t
          ON t.kind IN ('capture', 'release') AND t.ref_id = j.id::text AND t.ref_type = 'job'
        GROUP BY j.id
        HAVING count(t.id) <> CASE WHEN j.status IN ('queued', 'processing') THEN 0 ELSE 1 END
            OR bool_or(t.amount_kopecks <> j.price_kopecks)
            OR bool_or((t.kind = 'capture') <> (j.status = 'completed'))
    """,
    "payment_succeeded_with_one_credit": """
        SELECT 'payment ' || coalesce(p.id::text, t.ref_id) AS subject,
               format('%s of %s, credited %s', p.status, p.amount_kopecks, t.amount_kopecks) AS detail
        FROM payments AS p
        FULL JOIN (SELECT * FROM transfers WHERE kind = 'topup') AS t ON t.ref_id = p.id::text
        WHERE (coalesce(p.status, '') = 'succeeded') <> (t.id IS NOT NULL)
           OR t.amount_kopecks <> p.amount_kopecks
           OR t.user_id <> p.user_id
    """,
    "refund_debited_once": """
        SELECT 'refund ' || r.id AS subject, format('%s of %s', r.status, r.amount_kopecks) AS detail
        FROM payment_refunds AS r
        LEFT JOIN transfers AS d ON d.kind = 'payment_refund' AND d.ref_id = r.id::text
        LEFT JOIN transfers AS u ON u.kind = 'payment_refund_reversal' AND u.ref_id = r.id::text
        WHERE d.amount_kopecks IS DISTINCT FROM r.amount_kopecks
           OR (r.status = 'failed') <> (u.id IS NOT NULL)
           OR u.amount_kopecks <> r.amount_kopecks
    """,
    "active_jobs_counted": """
        SELECT 'user ' || b.user_id AS subject,
               format('counter %s, unfinished jobs %s', b.active_jobs, coalesce(j.unfinished, 0)) AS detail
        FROM balances AS b
        LEFT JOIN (
            SELECT user_id, count(*) AS unfinished FROM jobs
            WHERE status IN ('queued', 'processing') GROUP BY user_id
        ) AS j USING (user_id)
        WHERE b.active_jobs <> coalesce(j.unfinished, 0)
    """,
}

# Right after a mass refund the statistics are those of before it, and autovacuum's ANALYZE is a
# minute away: where next to nothing is expected, everything is compared with everything.
NEVER_ROW_BY_ROW = "SET LOCAL enable_nestloop = off"

# One pass over the ledger for the sums that a person wants to see beside the verdict.
ACCOUNTS = """
SELECT account, sum(amount)::bigint AS kopecks
FROM transfers
CROSS JOIN LATERAL (
    VALUES (credit_account, amount_kopecks), (debit_account, -amount_kopecks)
) AS leg (account, amount)
GROUP BY account
ORDER BY account
"""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant at one place."""

    invariant: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found. `accounts` maps an account to its sum in kopecks; they add up to 0."""

    violations: tuple[Violation, ...]
    violation_counts: dict[str, int]
    accounts: dict[str, int]
    transfers_examined: int

    @property
    def consistent(self) -> bool:
        return not self.violation_counts


async def audit(connection: Connection) -> AuditReport:
    """Check every invariant in one snapshot. The connection must not be in a transaction."""
    violations: list[Violation] = []
    counts: dict[str, int] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        accounts = {row["account"]: row["kopecks"] for row in await connection.fetch(ACCOUNTS)}
        await connection.execute(NEVER_ROW_BY_ROW)
        for invariant, sql in INVARIANTS.items():
            rows = await connection.fetch(
                # The SQL is one of the constants above.
                f"SELECT subject, detail, count(*) OVER () AS found FROM ({sql}) AS v LIMIT $1",
                EXCERPT_ROWS_MAX,
            )
            if rows:
                counts[invariant] = rows[0]["found"]
            violations.extend(Violation(invariant, row["subject"], row["detail"]) for row in rows)
        examined: int = await connection.fetchval("SELECT count(*) FROM transfers")
    return AuditReport(tuple(violations), counts, accounts, examined)
