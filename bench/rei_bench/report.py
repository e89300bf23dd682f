"""docs/benchmarks.md, written from a run's data; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rei_bench.figures import Spread, human
from rei_bench.results import Asked, CaseResult, Measured, RowResult, RunResult

YES, NO = "✓", "✗"

INTRODUCTION = """\
# Benchmarks

`make bench` wrote this page. Everything in it was measured in one run on one machine: Rei, its
peers and the limit beside each other, in interleaved rounds. A figure is the median of {rounds} \
rounds,
with the lowest and the highest in brackets. A ratio is the median of the rounds' own ratios, so a
machine that is slower for a while does not change it. Nothing fails because of a ratio; a {no} \
says so.

PostgreSQL runs with real `fdatasync` for everybody; Redis keeps nothing on disk, which for the
peers that queue in it means that a crash loses their jobs. Every side that is Python runs on \
uvloop.
Each peer has a locked environment of its own under `bench/peers/`. Load, servers and PostgreSQL
share the machine's cores, on all sides alike. The raw figures are in `{raw}`.
"""

QUICK = """\
**A quick run:** it shows that everything works. Its rounds are too short, and what it fills too
small, for its figures to mean anything.
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar inside a cell does not end it."""
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def report(run: RunResult, *, notes: Mapping[str, str], raw: str, plots: str | None) -> str:
    """The whole page. `notes` by row: what a person found out about it; `plots`: their folder."""
    parts = [
        INTRODUCTION.format(rounds=run.rounds, no=NO, raw=raw),
        *([QUICK] if run.quick else []),
        "## The wanted ratios\n",
        _summary(run.rows) + "\n",
        "## The machine\n",
        _machine(run) + "\n",
    ]
    for row in run.rows:
        parts += _row(row, notes=notes.get(row.key), plots=plots)
    parts += ["## Versions\n", _versions(run)]
    return "\n".join(parts) + "\n"


def _summary(rows: Sequence[RowResult]) -> str:
    lines: list[list[str]] = []
    for row in rows:
        for asked, found in _asked(row):
            worst = asked.bound.worst([ratio.median for _, ratio in found])
            met = sum(asked.bound.holds(ratio.median) for _, ratio in found)
            mark = YES if met == len(found) else NO
            of = f" ({met} of {len(found)} cases)" if len(found) > 1 else ""
            lines.append(
                [f"[{row.title}](#{anchor(row.title)})", f"{asked.ours} / {asked.against}",
                 str(asked.bound), human(worst), mark + of]
            )  # fmt: skip
        if row.error is not None:
            lines.append([row.title, "not measured to its end", "", "", NO])
    return table(["work", "ratio of", "wanted", "worst case", "met"], lines)


def _asked(row: RowResult) -> list[tuple[Asked, list[tuple[CaseResult, Spread]]]]:
    """Each wanted ratio of a row with the cases it was asked in."""
    found: dict[Asked, list[tuple[CaseResult, Spread]]] = {}
    for case in row.cases:
        for asked in case.wanted:
            found.setdefault(asked, []).append((case, case.ratio(asked)))
    return list(found.items())


def _row(row: RowResult, *, notes: str | None, plots: str | None) -> list[str]:
    parts = [f"## {row.title}\n", row.text + "\n"]
    if row.again_at is not None:
        parts.append(f"All of it was measured again by itself, {row.again_at}.\n")
    if row.error is not None:
        parts.append(f"**Not measured to its end:** `{row.error.splitlines()[0]}`\n")
    if not row.cases:
        return parts
    parts += [_figures(row) + "\n", _ratios(row) + "\n"]
    if beside := _beside(row):
        parts.append(beside + "\n")
    if plots is not None:
        parts.append(f"![{row.title}]({plots}/{row.key}.svg)\n")
    if notes is not None:
        parts.append(notes.strip() + "\n")
    return parts


def _figures(row: RowResult) -> str:
    """A table for each unit that the row's cases are measured in."""
    units = dict.fromkeys(case.unit for case in row.cases)
    return "\n\n".join(_figures_in(row, unit) for unit in units)


def _figures_in(row: RowResult, unit: str | None) -> str:
    cases = [case for case in row.cases if case.unit == unit]
    names = list(dict.fromkeys(each.name for case in cases for each in case.contenders))
    lines = [
        [case.name, *(_cell(case, name) for name in names)] for case in cases
    ]  # fmt: skip
    better = row.better if unit is None else "less"
    return f"In {unit or row.unit}, {better} is better:\n\n" + table(["case", *names], lines)


def _cell(case: CaseResult, name: str) -> str:
    found = next((each for each in case.contenders if each.name == name), None)
    return "" if found is None else spread_text(found.spread)


def spread_text(spread: Spread) -> str:
    """`median (low-high)`."""
    return f"{human(spread.median)} ({human(spread.low)}–{human(spread.high)})"


def _ratios(row: RowResult) -> str:
    lines = [
        [case.name, f"{asked.ours} / {asked.against}", spread_text(ratio), str(asked.bound),
         YES if asked.bound.holds(ratio.median) else NO]
        for case in row.cases
        for asked in case.wanted
        for ratio in [case.ratio(asked)]
    ]  # fmt: skip
    return table(["case", "ratio of", "ratio", "wanted", ""], lines) if lines else ""


def _beside(row: RowResult) -> str:
    """The notes: figures that are shown and not judged."""
    lines = [
        [case.name, each.name, ", ".join(_noted(each))]
        for case in row.cases
        for each in case.contenders
        if each.notes
    ]
    return table(["case", "who", "beside it"], lines) if lines else ""


def _noted(measured: Measured) -> list[str]:
    return [
        f"{name.replace('_', ' ')} {human(sorted(values)[len(values) // 2])}"
        for name, values in measured.notes.items()
    ]


def _machine(run: RunResult) -> str:
    machine = run.machine
    lines = [
        ["processor", f"{machine['processor']}, {machine['cores']} cores"],
        ["memory", f"{machine['memory_gb']} GB"],
        ["kernel", str(machine["kernel"])],
        ["disk", f"{machine['fdatasyncs_per_second']:,} fdatasyncs of 8 kB a second"],
        ["load before the run", str(machine["load_before"])],
        ["run", f"{run.began_at}, {run.seconds / 60:.0f} min"],
    ]
    return table(["", ""], lines)


def _versions(run: RunResult) -> str:
    return table(["", "version"], [[name, version] for name, version in run.versions.items()])


def anchor(title: str) -> str:
    """The name that a heading has in a link."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
