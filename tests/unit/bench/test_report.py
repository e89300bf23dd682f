"""The page that the benchmark writes, from a run's data to Markdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rei_bench import results
from rei_bench.report import anchor, report, table
from rei_bench.results import Asked, CaseResult, Measured, RowResult, RunResult

ASKED = Asked("Rei", "limit", 0.7, at_most=False)


def case(name: str, *, ours: list[float], limit: list[float]) -> CaseResult:
    return CaseResult(
        name=name,
        contenders=[Measured("limit", limit, {}), Measured("Rei", ours, {"peak": [5.0, 7.0, 6.0]})],
        wanted=[ASKED],
    )


def run(*cases: CaseResult, error: str | None = None, quick: bool = False) -> RunResult:
    row = RowResult(
        key="accept",
        title="Accept a job",
        unit="orders/s",
        better="more",
        text="What it is.",
        cases=cases,
        seconds=1.0,
        error=error,
    )
    machine = {
        "processor": "P", "cores": 2, "memory_gb": 4.0, "kernel": "6", "load_before": 0.1,
        "fdatasyncs_per_second": 1234,
    }  # fmt: skip
    return RunResult("2026-11-24 10:00 UTC", 60.0, 3, quick, machine, {"Rei": "abc"}, [row])


def page(made: RunResult, **notes: str) -> str:
    return report(made, notes=notes, raw="bench/results/full.json", plots="benchmarks")


GOOD = case("1 client", ours=[80.0, 90.0, 85.0], limit=[100.0, 100.0, 100.0])
BAD = case("4 clients", ours=[60.0, 60.0, 60.0], limit=[100.0, 120.0, 80.0])


def test_a_table_keeps_a_bar_inside_its_cell() -> None:
    assert table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | --: |\n| x\\|y | 1 |"


def test_medians_with_their_spread_and_ratios_with_their_mark() -> None:
    text = page(run(GOOD))
    assert "| 1 client | 100 (100–100) | 85.0 (80.0–90.0) |" in text
    assert "| 1 client | Rei / limit | 0.85 (0.80–0.90) | ≥ 0.7 | ✓ |" in text


def test_one_case_that_falls_short_shows_in_the_summary_with_its_ratio() -> None:
    text = page(run(GOOD, BAD))
    assert "| 4 clients | Rei / limit | 0.60 (0.50–0.75) | ≥ 0.7 | ✗ |" in text
    assert (
        "| [Accept a job](#accept-a-job) | Rei / limit | ≥ 0.7 | 0.60 | ✗ (1 of 2 cases) |" in text
    )


def test_a_row_that_failed_is_told_and_never_counts_as_met() -> None:
    text = page(run(error="BenchError: it ended\nwith a log"))
    assert "**Not measured to its end:** `BenchError: it ended`" in text
    assert "| Accept a job | not measured to its end |  |  | ✗ |" in text


def test_notes_of_people_and_of_contenders_stand_with_their_row() -> None:
    text = page(run(GOOD), accept="Before it was slower.\n")
    assert "Before it was slower." in text
    assert "| 1 client | Rei | peak 6.00 |" in text
    assert "![Accept a job](benchmarks/accept.svg)" in text


def test_a_quick_run_says_that_it_means_nothing() -> None:
    assert "A quick run" in page(run(GOOD, quick=True))
    assert "A quick run" not in page(run(GOOD))


def test_cases_of_another_unit_have_a_table_of_their_own() -> None:
    other = CaseResult("p99", [Measured("Rei", [3.0], {})], [], unit="ms")
    text = page(run(GOOD, other))
    assert "In orders/s, more is better:\n\n| case | limit | Rei |" in text
    assert "In ms, less is better:\n\n| case | Rei |\n| --- | --: |\n| p99 | 3.00" in text


def test_links_of_headings() -> None:
    assert anchor("A no-op job, end to end") == "a-no-op-job-end-to-end"


def test_a_run_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    made = run(GOOD, BAD, replace(GOOD, name="p99", unit="ms"))
    results.save(made, tmp_path / "run.json")
    assert page(results.load(tmp_path / "run.json")) == page(made)


def test_a_row_measured_again_takes_the_place_of_the_old_one_and_says_when() -> None:
    first, later = (
        run(error="BenchError: it ended"),
        replace(run(GOOD), began_at="2026-11-25 08:00 UTC"),
    )

    text = page(results.replaced(first, later))

    assert "it ended" not in text
    assert "| 1 client | 100 (100–100) | 85.0 (80.0–90.0) |" in text
    assert "All of it was measured again by itself, 2026-11-25 08:00 UTC." in text
