"""A backup and its verification, against PostgreSQL's own tools."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rei_bench import history
from rei_bench.children import program
from rei_bench.figures import Bound
from rei_bench.pgbench import tool
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.stage import BenchError, Stage

THEIRS = "pg_dump -Fc, pg_restore"
OURS = "Rei's backup"
ALLOWED = "allowed"
ALLOWED_MEGABYTES = 200.0
WORD_SECONDS_MAX = 1800.0


@dataclass(slots=True)
class _Taken:
    """What a contender's last dump was, for the verification that follows in the same round."""

    seconds: float = 0.0
    megabytes: list[float] = field(default_factory=list)


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    jobs = scale.pick(quick=20_000, full=1_100_000)
    folder = stage.folder / "backups"
    with stage.database() as database:
        history.fill(stage, database, jobs=jobs)
        size = stage.number("SELECT pg_database_size(current_database())", database=database)
        shop = _Shop(stage, database, folder, megabytes=size / 1e6)
        yield [
            Case(
                name=f"dump of {size / 1e9:.1f} GB",
                contenders=(Contender(THEIRS, shop.pg_dump), Contender(OURS, shop.back_up)),
                wanted=(Wanted(OURS, THEIRS, Bound(0.9)),),
            ),
            Case(
                name=f"dump and restore on trial of {size / 1e9:.1f} GB",
                contenders=(Contender(THEIRS, shop.pg_restore), Contender(OURS, shop.verify)),
                wanted=(Wanted(OURS, THEIRS, Bound(0.9)),),
            ),
            Case(
                name="most memory of our process, dump and restore",
                contenders=(
                    Contender(ALLOWED, lambda: Sample(ALLOWED_MEGABYTES)),
                    Contender(OURS, shop.memory),
                ),
                wanted=(Wanted(OURS, ALLOWED, Bound(1.0, at_most=True)),),
                unit="MB",
            ),
        ]
        shutil.rmtree(folder, ignore_errors=True)


class _Shop:
    """The database, and a folder on its own disk for what is made of it."""

    def __init__(self, stage: Stage, database: str, folder: Path, *, megabytes: float) -> None:
        self._stage = stage
        self._database = database
        self._folder = folder
        self._megabytes = megabytes
        self._theirs, self._ours = _Taken(), _Taken()
        folder.mkdir()

    def pg_dump(self) -> Sample:
        file = self._folder / "theirs"
        file.unlink(missing_ok=True)
        url = self._stage.url(self._database)
        self._theirs.seconds = _run("pg_dump", "--format=custom", f"--file={file}", url)
        return self._sample(self._theirs.seconds, stored=[file])

    def back_up(self) -> Sample:
        shutil.rmtree(self._folder / "ours", ignore_errors=True)
        self._ours = _Taken()
        self._ours.seconds = self._rei(
            "backup", "--to", str(self._folder), "--id", "ours", "--verify", "none"
        )
        return self._sample(self._ours.seconds, stored=(self._folder / "ours").iterdir())

    def pg_restore(self) -> Sample:
        with self._stage.database("template0") as scratch:
            url = self._stage.url(scratch)
            words = ("--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={url}")
            seconds = _run("pg_restore", *words, str(self._folder / "theirs"))
        return self._sample(self._theirs.seconds + seconds, restore_seconds=seconds)

    def verify(self) -> Sample:
        seconds = self._rei(
            "backups", "verify", "ours", "--from", str(self._folder), "--mode", "restore"
        )
        return self._sample(self._ours.seconds + seconds, restore_seconds=seconds)

    def memory(self) -> Sample:
        return Sample(max(self._ours.megabytes))

    def _rei(self, *words: str) -> float:
        """The seconds of `rei WORDS`, from the start of its process to its end."""
        words = (*words, "--postgres-bin", str(tool("pg_dump").parent))
        began = time.perf_counter()
        with program(
            self._stage, "command", database_url=self._stage.url(self._database), words=words
        ) as child:
            done = child.told("done", within_seconds=WORD_SECONDS_MAX)
            seconds = time.perf_counter() - began
        self._ours.megabytes.append(done["peak_megabytes"])
        return seconds

    def _sample(
        self, seconds: float, *, stored: Iterable[Path] = (), restore_seconds: float | None = None
    ) -> Sample:
        notes = {"seconds": seconds}
        if size := sum(file.stat().st_size for file in stored):
            notes["stored_megabytes"] = size / 1e6
        if restore_seconds is not None:
            notes["seconds_of_the_restore"] = restore_seconds
        return Sample(self._megabytes / seconds, notes)


def _run(name: str, *words: str) -> float:
    began = time.perf_counter()
    done = subprocess.run([str(tool(name)), *words], check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise BenchError(f"{name}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return seconds


ROW = Row(
    key="backup",
    title="A backup, and proof that it can be restored",
    unit="MB/s",
    better="more",
    text=(
        "The database that the row on retention removes from, whole: its size is what PostgreSQL says, "
        "indexes included, and MB/s are of that size. Everything is written to the disk that the "
        "database lies on, and synced. `pg_dump -Fc` is with its own defaults (gzip, one process); "
        "Rei's is `rei backup --verify none`, which also counts rows and sums the ledger in the same "
        "snapshot. The second case is the dump and its proof: pg_restore into an empty database, in one "
        "process, against `rei backups verify --mode restore`, which restores in one transaction, "
        "compares every checksum, every count and sum with the manifest, and audits the ledger. The "
        "times are those of whole processes. The memory is the kernel's high-water mark of Rei's own "
        "process; pg_dump and pg_restore beside it are PostgreSQL's."
    ),
    cases=cases,
)
