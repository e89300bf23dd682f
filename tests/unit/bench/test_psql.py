"""The scripts that psql runs: Rei's own texts, and nothing that psql would read otherwise."""

from __future__ import annotations

import pytest

from rei_bench import psql
from rei_bench.rows import retention, stuck_jobs
from rei_bench.stage import BenchError
from rei_core.jobs.end_queries import FAIL_STUCK
from rei_core.maintenance.retention import queries


def test_a_prepared_statement_is_the_text_with_its_types() -> None:
    text = psql.prepared("one", "\nSELECT $1, $2, $1\n", "integer", "text")
    assert text == "PREPARE one (integer, text) AS SELECT $1, $2, $1;\n"


def test_a_type_for_each_parameter_or_no_script() -> None:
    with pytest.raises(BenchError, match="one"):
        psql.prepared("one", "SELECT $1, $2", "integer")


def test_the_sweep_is_the_very_text_of_the_constant() -> None:
    assert FAIL_STUCK.strip() in stuck_jobs.FIRST
    assert "$" not in stuck_jobs.BATCH


def test_every_sort_is_removed_by_its_own_text_in_the_policys_batches() -> None:
    script = "".join(retention.script(days=100, rows=5000, paused=True))
    for sql in (queries.UPDATES, queries.DELIVERIES, queries.JOBS, queries.DRAFTS, queries.OUTPUTS):
        assert sql.strip() in script
    assert script.count("pg_sleep(0.05)") == script.count("EXECUTE sort_")
    assert "false, 'completed', 'capture')" in script
