"""The study as tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rei_scaling.arrivals import SCENARIOS
from rei_scaling.study import COST_MAX, WAITED_MAX, Comparison, Study

BEGIN, END = "<!-- figures: make bench-scaling -->", "<!-- end of the figures -->"


def filled(page: str, study: Study) -> str:
    """The page with its figures written anew; raises `ValueError` if it has no place for them."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{''.join(_sections(study))}{END}{after}"


def _sections(study: Study) -> Iterator[str]:
    yield "### The chosen numbers beside the oracle\n\n"
    yield _table(
        ("replay", "order → picture, p95", "the oracle's", "×", "in the queue, p95",
         "the oracle's", "pod-seconds ×", "wanted", "× without any lag"),
        (_chosen_row(ours, ideal) for ours, ideal in zip(study.chosen, study.no_lag, strict=True)),
    )  # fmt: skip
    yield (
        f"Wanted: at most {WAITED_MAX:g} × the oracle's waiting and {COST_MAX:g} × its pod-seconds."
        " The last column is the same autoscaler knowing the queue, and acting on it, twice a"
        " second: what is left is only the start of the pods.\n\n"
    )
    for scenario in SCENARIOS:
        yield f"**{scenario.name}**: {scenario.about}\n\n"
        yield f"![Pods and queue in the replay {scenario.name}](scaling/{scenario.name}.svg)\n\n"
    yield "### What was tried\n\n"
    yield (
        "Waiting × / pod-seconds × of the oracle's; in bold what is within both bounds. The last"
        " column: jobs of a day in pods that were let go while they were at work.\n\n"
    )
    names = [scenario.name for scenario in SCENARIOS]
    yield _table(
        ("", *names, "taken busy"),
        (
            (one.name, *map(_pair, one.found), f"{one.found[-1].taken_busy:.0f}")
            for one in study.tried
        ),
    )
    yield "### Pods that start more slowly\n\n"
    rows = []
    for one in study.started:
        start = f"{one.start_seconds:g} s"
        rows.append((start, "as chosen", *map(_pair, one.chosen)))
        rows.append((start, "no lag at all", *map(_pair, one.no_lag)))
    yield _table(("start", "", *names), rows)


def _chosen_row(ours: Comparison, ideal: Comparison) -> Sequence[str]:
    return (
        ours.scenario,
        f"{ours.waited_p95:.1f} s",
        f"{ours.waited_p95_oracle:.1f} s",
        f"{ours.waited_ratio:.2f}",
        f"{ours.queued_p95:.1f} s",
        f"{ours.queued_p95_oracle:.1f} s",
        f"{ours.cost_ratio:.2f}",
        "✓" if ours.holds else "✗",
        f"{ideal.waited_ratio:.2f}",
    )


def _pair(one: Comparison) -> str:
    text = f"{one.waited_ratio:.2f} / {one.cost_ratio:.2f}"
    return f"**{text}**" if one.holds else text


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"
