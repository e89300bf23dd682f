"""`make mutants`: plants one bug after the other, and asks the tests whether they notice.

The bugs stand in `mutants.toml`: each in one sentence, as an exact piece of text and what it
becomes, with the tests that have to catch it. A piece that is not found exactly once is an error:
the catalogue cannot rot. Nothing is changed in place. Two copies of src and tests come first on
the path of the programs that run in them, one bug in each at a time. Before that the copies run all
those tests without any bug.

A bug is caught if a test fails, or the audit at its end does. A test that breaks before it begins
catches nothing, nor does one that never ends: the bug then counts as not caught.

Exit status: 0 if every bug is caught, 1 if one is not, 2 if there is something wrong with the
catalogue or with the tests themselves.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rei_sandbox.services import Postgres, Redis

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = Path(__file__).with_suffix(".toml")
COPIED = ("src", "tests", "pyproject.toml")
PARTS = ("core", "bot", "worker", "operator", "telegram", "http", "sandbox")
LANES = 2
TEST_SECONDS_MAX = 60
RUN_SECONDS_MAX = 240
CHECK_SECONDS_MAX = 1200
"""Of a run without a bug: a lane's share of all tests."""
OUTPUT_LINES_MAX = 40

out = Console(highlight=False)


class CatalogueError(Exception):
    """The catalogue does not fit the code."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a file, and the bug in its place."""

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        found = text.count(self.old)
        if found != 1:
            raise CatalogueError(f"{self.file}: found {found} times, not once:\n{self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug and the tests that have to catch it."""

    name: str
    bug: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """How a run of pytest ended. `caught_by` holds what failed, `broken` what never began."""

    seconds: float
    exit_code: int
    output: str
    caught_by: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def caught(self) -> bool:
        return self.exit_code == 1 and self.caught_by != () and self.broken == ()

    @property
    def clean(self) -> bool:
        return self.exit_code == 0


def load(catalogue: Path) -> list[Mutant]:
    """The planted bugs; raises `CatalogueError` for all that is wrong with them at once."""
    mutants = [
        Mutant(
            name=entry["name"],
            bug=entry["bug"],
            tests=tuple(entry["tests"]),
            edits=tuple(Edit(**edit) for edit in entry["edit"]),
        )
        for entry in tomllib.loads(catalogue.read_text(encoding="utf-8"))["mutant"]
    ]
    problems = [problem for mutant in mutants for problem in _problems(mutant)]
    names = [mutant.name for mutant in mutants]
    problems += [f"{name}: two bugs of this name" for name in set(names) if names.count(name) > 1]
    if problems:
        raise CatalogueError("\n\n".join(problems))
    return mutants


def _problems(mutant: Mutant) -> Iterator[str]:
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        try:
            text = texts.get(edit.file) or (ROOT / edit.file).read_text(encoding="utf-8")
            texts[edit.file] = edit.applied(text)
        except (OSError, CatalogueError) as error:
            yield f"{mutant.name}: {error}"
        if edit.old == edit.new:
            yield f"{mutant.name}: an edit that changes nothing"
    for test in mutant.tests:
        file, _, function = test.partition("::")
        if not (ROOT / file).exists() or f"def {function.partition('[')[0]}(" not in (
            ROOT / file
        ).read_text(encoding="utf-8"):
            yield f"{mutant.name}: no such test: {test}"


@dataclass
class Lane:
    """A copy of the code and its tests, in which one run takes place at a time."""

    folder: Path
    database_url: str
    redis_url: str
    _runs: int = field(default=0, init=False)

    def fill(self) -> None:
        """Copy the tree as it is now, and make sure that it is the copy that is imported."""
        ignore = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            source, target = ROOT / name, self.folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignore)
            else:
                shutil.copy2(source, target)
        names = [f"rei_{part}" for part in PARTS]
        program = f"import {', '.join(names)}; print({', '.join(f'{n}.__file__' for n in names)})"
        printed = self._python("-c", program).stdout.split()
        if not all(Path(file).is_relative_to(self.folder) for file in printed) or not printed:
            raise CatalogueError(f"the copy is not what is imported: {printed}")

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """The copy with the bug in it; as it was afterwards."""
        before: dict[Path, tuple[str, os.stat_result]] = {}
        try:
            for edit in mutant.edits:
                path = self.folder / edit.file
                text = path.read_text(encoding="utf-8")
                before.setdefault(path, (text, path.stat()))
                path.write_text(edit.applied(text), encoding="utf-8")
                # Compiled code is found by the source's size and second: each bug has its own.
                self._runs += 1
                second = int(before[path][1].st_mtime) + self._runs
                os.utime(path, (second, second))
            yield
        finally:
            for path, (text, stat) in before.items():
                path.write_text(text, encoding="utf-8")
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def run(
        self, tests: tuple[str, ...], *, stop_at_first: bool, seconds_max: float = RUN_SECONDS_MAX
    ) -> Run:
        """Run the tests on what lies here."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        options = ["-q", "--no-header", "--show-capture=no", f"--timeout={TEST_SECONDS_MAX}"]
        options += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        options += ["-x"] if stop_at_first else []
        started = time.monotonic()
        try:
            done = self._python("-m", "pytest", *options, *tests, seconds_max=seconds_max)
        except subprocess.TimeoutExpired:
            return Run(time.monotonic() - started, -1, f"no end within {seconds_max:.0f} s")
        caught_by, broken = _failures(report)
        return Run(
            seconds=time.monotonic() - started,
            exit_code=done.returncode,
            output="\n".join((done.stdout + done.stderr).splitlines()[-OUTPUT_LINES_MAX:]),
            caught_by=caught_by,
            broken=broken,
        )

    def _python(
        self, *arguments: str, seconds_max: float = RUN_SECONDS_MAX
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(self.folder / "src" / part) for part in PARTS),
            "REI_TEST_DATABASE_URL": self.database_url,
            "REI_TEST_REDIS_URL": self.redis_url,
            "HYPOTHESIS_PROFILE": "mutants",
        }
        return subprocess.run(  # noqa: S603 - our own tests, in our own Python
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds_max,
        )


def _failures(report: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what failed or did not end well, what broke before it began), by the names of the tests."""
    if not report.exists():
        return (), ("pytest itself",)
    caught: list[str] = []
    broken: list[str] = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest's own report
        name = case.get("name", "?")
        for error in case.iter("error"):
            at_end = (error.get("message") or "").startswith("failed on teardown")
            (caught if at_end else broken).append(f"{name} (at its end)" if at_end else name)
        caught += [name for _ in case.iter("failure")]
    return tuple(caught), tuple(broken)


@contextmanager
def lanes() -> Iterator[list[Lane]]:
    """The copies; one PostgreSQL for all, and a Redis for each, because tests empty it."""
    # Not under a folder of root's alone: PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="rei-mutants-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        postgres = Postgres(root / "postgres", durable=False)
        redis = [Redis(root / f"redis-{number}") for number in range(LANES)]
        try:
            postgres.start()
            made = []
            for number in range(LANES):
                place = root / f"lane-{number}"
                place.mkdir()
                made.append(Lane(place, postgres.url(), redis[number].start().url))
                made[-1].fill()
            yield made
        finally:
            for cache in redis:
                cache.stop()
            postgres.stop()


def _whole(lane: Lane, tests: tuple[str, ...]) -> Run:
    return lane.run(tests, stop_at_first=False, seconds_max=CHECK_SECONDS_MAX)


def check_without_bugs(made: list[Lane], mutants: list[Mutant]) -> bool:
    """Every test that is named has to pass on the unchanged copy."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    shares = [tuple(tests[number :: len(made)]) for number in range(len(made))]
    work = [(lane, share) for lane, share in zip(made, shares, strict=True) if share]
    with ThreadPoolExecutor(len(made)) as threads:
        runs = list(threads.map(lambda one: _whole(*one), work))
    for run in runs:
        if not run.clean:
            out.print(run.output, markup=False)
    seconds = max(run.seconds for run in runs)
    out.print(f"without a bug: {len(tests)} tests in {seconds:.0f} s")
    return all(run.clean for run in runs)


def hunt(made: list[Lane], mutants: list[Mutant]) -> dict[str, Run]:
    """Each bug in a copy of its own, as many at a time as there are copies."""
    free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
    for lane in made:
        free.put(lane)

    def one(mutant: Mutant) -> Run:
        lane = free.get()
        try:
            with lane.mutated(mutant):
                run = lane.run(mutant.tests, stop_at_first=True)
        finally:
            free.put(lane)
        out.print(f"{'caught ' if run.caught else 'MISSED '} {mutant.name} ({run.seconds:.1f} s)")
        return run

    with ThreadPoolExecutor(len(made)) as threads:
        return dict(
            zip((mutant.name for mutant in mutants), threads.map(one, mutants), strict=True)
        )


def report(mutants: list[Mutant], runs: dict[str, Run]) -> list[Mutant]:
    """Print who caught what; the bugs that nobody did."""
    table = Table(show_lines=True)
    for heading in ("bug", "caught by", "s"):
        table.add_column(heading, overflow="fold")  # a name that is cut off cannot be looked for
    missed = [mutant for mutant in mutants if not runs[mutant.name].caught]
    for mutant in mutants:
        run = runs[mutant.name]
        by = "\n".join(escape(test) for test in run.caught_by) if run.caught else "[red]nobody[/]"
        table.add_row(f"[bold]{mutant.name}[/]\n{escape(mutant.bug)}", by, f"{run.seconds:.1f}")
    out.print(table)
    for mutant in missed:
        out.print(f"\nMISSED {mutant.name}: {mutant.bug}\n", runs[mutant.name].output, markup=False)
    return missed


@click.command()
@click.argument("names", nargs=-1)
@click.option("--check", is_flag=True, help="Only check the catalogue against the code.")
def main(names: tuple[str, ...], check: bool) -> None:
    """Plant the bugs of mutants.toml (or those whose names contain one of NAMES) one by one."""
    started = time.monotonic()
    try:
        mutants = [one for one in load(CATALOGUE) if not names or any(n in one.name for n in names)]
    except CatalogueError as error:
        out.print(str(error), markup=False)
        sys.exit(2)
    if check:
        out.print(f"{len(mutants)} bugs fit the code")
        return
    with lanes() as made:
        if not check_without_bugs(made, mutants):
            out.print("the tests fail without any bug: nothing can be said about bugs")
            sys.exit(2)
        missed = report(mutants, hunt(made, mutants))
    seconds = time.monotonic() - started
    out.print(f"{len(mutants) - len(missed)} of {len(mutants)} bugs caught in {seconds:.0f} s")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
