"""`bench/run`: measure, keep the raw figures, write the report and draw it.

Only a whole run, or rows of one measured again, write docs/benchmarks.md; a part writes
bench/results/partial.md.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from rei_bench import machine, report, results
from rei_bench.children import BENCH
from rei_bench.plan import Row, Scale
from rei_bench.results import RunResult
from rei_bench.rounds import ProgressLine, measure_row
from rei_bench.rows import ROWS
from rei_bench.stage import started_stage

DOCS = BENCH.parent / "docs"
RESULTS = BENCH / "results"


@click.command()
@click.option(
    "--only",
    "only",
    multiple=True,
    type=click.Choice([row.key for row in ROWS]),
    help="This row alone; may be given more than once.",
)
@click.option("--rounds", type=click.IntRange(1, 25), default=3, show_default=True)
@click.option("--quick", is_flag=True, help="Short rounds: whether it works, not how fast it is.")
@click.option(
    "--again",
    is_flag=True,
    help="Put the rows of --only into the report of the last whole run, in the place of theirs.",
)
@click.option("--report-only", is_flag=True, help="Write the report of the last whole run anew.")
def main(
    only: tuple[str, ...], rounds: int, quick: bool, again: bool, report_only: bool
) -> None:  # fmt: skip
    """Measure Rei beside its peers and the limits of this machine."""
    if again and (quick or not only):
        raise click.UsageError("--again goes with --only, and not with --quick")
    whole = report_only or again or not (only or quick)
    raw = RESULTS / ("full.json" if whole else "partial.json")
    if not report_only:
        rows = [row for row in ROWS if not only or row.key in only]
        run = _run(rows, rounds=rounds, quick=quick)
        results.save(results.replaced(results.load(raw), run) if again else run, raw)
    _write(raw, whole=whole)


def _run(rows: Sequence[Row], *, rounds: int, quick: bool) -> RunResult:
    began_at, began = datetime.now(UTC), time.monotonic()
    line = ProgressLine()
    line.tell("starting PostgreSQL and Redis")
    with started_stage() as stage:
        where, what = machine.machine(stage.folder), machine.versions(stage)
        measured = [
            measure_row(row, stage, Scale(quick), rounds=rounds, line=line) for row in rows
        ]  # fmt: skip
    line.end()
    return RunResult(
        began_at=began_at.strftime("%Y-%m-%d %H:%M UTC"),
        seconds=round(time.monotonic() - began),
        rounds=rounds,
        quick=quick,
        machine=where,
        versions=what,
        rows=measured,
    )


def _write(raw: Path, *, whole: bool) -> None:
    run = results.load(raw)
    plots = _draw(raw) if whole else None
    notes = {file.stem: file.read_text() for file in (BENCH / "notes").glob("*.md")}
    page = DOCS / "benchmarks.md" if whole else RESULTS / "partial.md"
    page.write_text(
        report.report(run, notes=notes, raw=str(raw.relative_to(BENCH.parent)), plots=plots)
    )
    sys.stdout.write(page.read_text().split("## The machine")[0].split("## The wanted ratios")[1])
    sys.stdout.write(f"{page.relative_to(BENCH.parent)}\n")


def _draw(raw: Path) -> str:
    """The plots, drawn by an environment of their own: Rei needs no matplotlib to run."""
    python = BENCH / "plots" / ".venv" / "bin" / "python"
    folder = DOCS / "benchmarks"
    subprocess.run(
        [str(python), str(BENCH / "plots" / "draw.py"), str(raw), str(folder)], check=True
    )
    return folder.name


if __name__ == "__main__":
    main()
