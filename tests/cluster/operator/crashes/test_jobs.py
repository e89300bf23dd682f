"""What a Job runs, killed between every two things that it leaves behind, and begun again.

Taking a backup, restoring one beside the living database and in its place, deleting old ones. While
the process is dead, nothing may be wrong: no backup is called verified that is not, the ledger adds
up, and the living database is there, wholly the old one or wholly the new one. In the end all is as
if nobody had died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import pytest

from rei_core.failpoints import EXIT_CODE, WATCH
from rei_core.ledger.service import adjust
from rei_core.maintenance.backups import databases
from rei_core.maintenance.backups.failpoints import PLACES
from rei_core.maintenance.backups.listing import find_manifest, list_backups
from rei_core.maintenance.backups.storage import Storage
from rei_core.maintenance.backups.tools import database_of, named
from rei_core.maintenance.resources import Backup, BackupSchedule, Restore
from rei_core.payments import queries as payments
from rei_operator import job, manifests
from rei_operator.kinds import restore as restore_kind
from rei_operator.manifests import JobTemplate

from ....integration.backups.conftest import databases_like
from ....integration.operator.ends import alike
from .conftest import NewDatabase
from .contents import Contents, contents_of, ledger_problems, rows_in
from .kubelet import Ended, carry_out
from .processes import Nursery, Process, places_in
from .table import Row, Table, differences, require_equal
from .volumes import add_older, backups_in, storage_in, take

MOMENT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
TEMPLATE = JobTemplate(image="rei-operator", settings_secret="rei")
TOPUP = UUID(int=5)
SOURCE = "20261101t000000z-aaaaaaaa"
"""The backup that is restored, and copied into older ones."""
WATCH_SECONDS = 0.005
ROUNDS = 6
Json = dict[str, Any]


@dataclass(slots=True)
class World:
    """What a story is told in: a database and a volume of its own."""

    url: str
    folder: Path
    source: Path
    as_backed_up: Contents
    before: Contents = field(default_factory=dict)

    @property
    def name(self) -> str:
        return database_of(self.url)

    @property
    def storage(self) -> Storage:
        return storage_in(self.folder)

    @property
    def volume(self) -> Json:
        return {"volume": {"claimName": "backups", "path": str(self.folder)}}


class Story:
    """A Job, what has to hold while it is dead, and how it ends."""

    name: ClassVar[str]
    places: ClassVar[frozenset[str]]

    async def prepare(self, world: World) -> Json:
        """Make what is there before; the Job's manifest."""
        raise NotImplementedError

    def scratch(self, world: World) -> tuple[str, ...]:
        """The names of the databases that it makes on its way."""
        del world
        return ()

    async def wrong_while_dead(self, world: World, *, reached: set[str]) -> list[str]:
        """What is wrong right after a death; `reached` are the places that came before it."""
        problems = await ledger_problems(world.url)
        for one in await list_backups(world.storage):
            verified = one.verification is not None and one.verification.verified
            if verified and one.id != SOURCE and not self.may_be_verified(reached):
                problems.append(f"{one.id} is listed as verified, and was not")
            if verified and one.manifest is None:
                problems.append(f"{one.id} is listed as verified, and is not whole")
        return problems

    def may_be_verified(self, reached: set[str]) -> bool:
        return "verification-stored" in reached

    async def end(self, world: World) -> Json:
        """All that counts in the end."""
        raise NotImplementedError


class TakeBackup(Story):
    name = "Job: backup"
    places = frozenset(
        {"run-begun", "chunk-stored", "dumped", "manifest-stored", "scratch-created",
         "scratch-marked", "loaded", "examined", "scratch-dropped", "verification-stored",
         "run-ended"}
    )  # fmt: skip

    def resource(self, world: World) -> Backup:
        spec = {"storage": world.volume, "verification": "Restore"}
        return Backup.of({"kind": "Backup", "metadata": _metadata("one"), "spec": spec})

    async def prepare(self, world: World) -> Json:
        return manifests.backup_job(self.resource(world), TEMPLATE)

    def scratch(self, world: World) -> tuple[str, ...]:
        backup_id = job.backup_id_of(self.resource(world))
        return (databases.scratch_name(databases.VERIFY_PREFIX, backup_id),)

    async def end(self, world: World) -> Json:
        return {
            "rows": await rows_in(world.url),
            "backups": await backups_in(world.storage),
            "databases": await databases_like(world.url, self.scratch(world)[0]),
        }


class RestoreBeside(Story):
    name = "Job: restore beside"
    places = frozenset({"database-created", "database-marked", "loaded", "examined"})

    def resource(self, world: World) -> Restore:
        return _restore(world, targetDatabase=f"{world.name}_copy")

    async def prepare(self, world: World) -> Json:
        await _something_happens_after_the_backup(world)
        return manifests.restore_job(self.resource(world), TEMPLATE)

    def scratch(self, world: World) -> tuple[str, ...]:
        return (f"{world.name}_copy",)

    async def wrong_while_dead(self, world: World, *, reached: set[str]) -> list[str]:
        problems = await super().wrong_while_dead(world, reached=reached)
        if await contents_of(world.url) != world.before:
            problems.append("the living database is another one")
        return problems

    async def end(self, world: World) -> Json:
        copy = named(world.url, f"{world.name}_copy")
        return {
            "living": await contents_of(world.url) == world.before,
            "copy": await contents_of(copy) == world.as_backed_up,
            "mark": await _mark(world, f"{world.name}_copy"),
            "backups": await backups_in(world.storage),
        }


class RestoreInPlace(Story):
    name = "Job: restore in place"
    places = frozenset(
        {"chunk-stored", "dumped", "manifest-stored", "scratch-created", "scratch-marked",
         "loaded", "examined", "numbering-carried", "renamed-aside", "renamed-in", "marked",
         "swapped", "scratch-dropped", "payments-carried", "database-marked"}
    )  # fmt: skip

    def resource(self, world: World) -> Restore:
        return _restore(world, inPlace={"confirmDatabase": world.name})

    async def prepare(self, world: World) -> Json:
        await _something_happens_after_the_backup(world)
        return manifests.restore_job(self.resource(world), TEMPLATE)

    def scratch(self, world: World) -> tuple[str, ...]:
        del world
        return (databases.scratch_name(databases.RESTORE_PREFIX, SOURCE),)

    async def wrong_while_dead(self, world: World, *, reached: set[str]) -> list[str]:
        problems = await super().wrong_while_dead(world, reached=reached)
        # At random, and inside of the transaction, either may be there.
        sure = bool(reached) and ("swapped" in reached or "renamed-aside" not in reached)
        living = await contents_of(world.url)
        old, new = living == world.before, _kept_by_all(living) == _kept_by_all(world.as_backed_up)
        if not (old or new) or (sure and new != ("swapped" in reached)):
            problems.append("the living database is not wholly the old or the new one")
        return problems

    async def end(self, world: World) -> Json:
        living = await contents_of(world.url)
        kept = await databases_like(world.url, f"{world.name}\\_before\\_%")
        mark = await _mark(world, world.name)
        safety = None
        if mark is not None and mark.safety_backup_id is not None:
            safety = await find_manifest(world.storage, mark.safety_backup_id)
        return {
            "living": _kept_by_all(living) == _kept_by_all(world.as_backed_up),
            "numbers on": living["sequences"] == world.before["sequences"],
            "payments": (await rows_in(world.url))["payments"],
            "ledger": await ledger_problems(world.url),
            "kept": [await contents_of(named(world.url, name)) == world.before for name in kept],
            "mark": None if mark is None else (mark.operation, mark.state, mark.kept_as in kept),
            # A death before the swap costs a safety backup more; the one that the mark names counts.
            "safety": None if safety is None else safety.database.transfers_count,
        }


class Prune(Story):
    name = "Job: prune"
    places = frozenset(
        {"run-begun", "intent-stored", "object-deleted", "backup-deleted", "run-ended"}
    )

    async def prepare(self, world: World) -> Json:
        for number, verified in ((1, True), (2, False)):
            await add_older(
                world.folder, f"2026010{number}t000000z-bbbbbbbb", like=SOURCE, verified=verified
            )
        spec = {
            "schedule": "0 3 * * *",
            "storage": world.volume,
            "retention": {"maxAgeDays": 30, "minVerified": 1},
        }
        document = {"kind": "BackupSchedule", "metadata": _metadata("nightly"), "spec": spec}
        return manifests.prune_job(BackupSchedule.of(document), TEMPLATE, moment=MOMENT)

    def may_be_verified(self, reached: set[str]) -> bool:
        return True  # those that are there were, before

    async def end(self, world: World) -> Json:
        return {
            "rows": await rows_in(world.url),
            "backups": await backups_in(world.storage),
            "files": sorted(
                str(path.relative_to(world.folder)) for path in world.folder.rglob("*")
            ),
        }


def _kept_by_all(contents: Contents) -> Contents:
    """Without what is carried over from the database that is put aside."""
    return {name: it for name, it in contents.items() if name not in ("payments", "sequences")}


STORIES = (TakeBackup(), RestoreBeside(), RestoreInPlace(), Prune())


def test_every_place_belongs_to_a_story() -> None:
    assert frozenset().union(*(story.places for story in STORIES)) == PLACES


@dataclass(slots=True)
class Lane:
    """What the stories of a test share."""

    processes: Nursery
    new_database: NewDatabase
    folder: Path
    source: Path
    as_backed_up: Contents
    numbers: int = 0

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        """A new one."""
        self.numbers += 1
        volume = self.folder / f"volume-{self.numbers}"
        await asyncio.to_thread(shutil.copytree, self.source, volume)
        async with self.new_database() as url:
            yield World(url, volume, self.source, self.as_backed_up)
        await asyncio.to_thread(shutil.rmtree, volume)


@pytest.fixture
async def lane(processes: Nursery, new_database: NewDatabase, tmp_path: Path) -> Lane:
    """With a backup that can be restored."""
    source = tmp_path / "source"
    source.mkdir()
    async with new_database() as url:
        await take(source, SOURCE, database_url=url)
        as_backed_up = await contents_of(url)
    return Lane(processes, new_database, tmp_path, source, as_backed_up)


@pytest.mark.timeout(600)
async def test_killed_anywhere_a_job_ends_as_if_nothing_had_happened(
    lane: Lane, table: Table
) -> None:
    rows = await asyncio.gather(*(_all_deaths(story, lane, table) for story in STORIES))
    require_equal([row for of_one in rows for row in of_one])


async def _all_deaths(story: Story, lane: Lane, table: Table) -> list[Row]:
    async with lane.world() as world:
        manifest = await story.prepare(world)
        world.before = await contents_of(world.url)
        log = lane.folder / f"{story.name}.watched.log"
        ended = await _carry_out(story, lane, world, manifest, log=log, fatal=WATCH)
        assert (ended.first, ended.tries) == (0, 1), log.read_text()
        places = places_in(log)
        assert {place.partition("#")[0] for place in places} == story.places
        calm = await story.end(world)
    _require_sense(calm)
    rows = []
    for number, place in enumerate(places):
        reached = {one.partition("#")[0] for one in places[: number + 1]}
        rows.append(await _one_death(story, lane, place, calm=calm, reached=reached))
        table.add(rows[-1])
    return rows


def _require_sense(calm: Json) -> None:
    """What is compared with must itself be right: nothing in it says no."""
    for name in ("living", "copy", "numbers on"):
        assert calm.get(name, True) is True, calm
    assert all(calm.get("kept", [])), calm
    assert not calm.get("databases"), calm


async def _one_death(story: Story, lane: Lane, place: str, *, calm: Json, reached: set[str]) -> Row:
    async with lane.world() as world:
        manifest = await story.prepare(world)
        world.before = await contents_of(world.url)
        problems: list[str] = []

        async def dead() -> None:
            problems.extend(await story.wrong_while_dead(world, reached=reached))

        began = time.monotonic()
        async with _witness(world, problems):
            ended = await _carry_out(
                story,
                lane,
                world,
                manifest,
                log=lane.folder / f"{story.name}.{place}.log",
                fatal=place,
                dead=dead,
            )
        seconds = time.monotonic() - began
        problems += _of_the_processes(ended)
        problems += differences(calm, await story.end(world))
    return Row(story.name, place, ended.first, ended.tries, seconds, tuple(problems))


async def _carry_out(
    story: Story, lane: Lane, world: World, manifest: Json, **options: Any
) -> Ended:
    return await carry_out(
        lane.processes,
        manifest,
        database_url=world.url,
        scratch=story.scratch(world),
        **options,
    )


def _of_the_processes(ended: Ended) -> list[str]:
    problems = []
    if ended.first != EXIT_CODE:
        problems.append(f"the first try ended with {ended.first}, it should have died")
    if ended.last != 0:
        log = "\n".join(ended.log.read_text().splitlines()[-5:])
        problems.append(f"the last try ended with {ended.last}: {log}")
    return problems


@asynccontextmanager
async def _witness(world: World, problems: list[str]) -> AsyncIterator[None]:
    """Somebody who looks all the time whether there is a database of the living one's name."""
    connection = await asyncpg.connect(named(world.url, "postgres"))

    async def watch() -> None:
        while True:
            if not await databases.exists(connection, world.name):
                problems.append("there was a moment without a database of this name")
            await asyncio.sleep(WATCH_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield
        assert not watching.done(), watching.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await connection.close()


# --- from outside, at a moment that nobody chose ------------------------------------------------


@pytest.mark.timeout(600)
async def test_killed_from_outside_at_any_moment_a_restore_in_place_ends_the_same(
    lane: Lane, table: Table
) -> None:
    story = RestoreInPlace()
    async with lane.world() as world:
        manifest = await story.prepare(world)
        world.before = await contents_of(world.url)
        began = time.monotonic()
        ended = await _carry_out(story, lane, world, manifest, log=lane.folder / "calm.log")
        seconds = time.monotonic() - began
        assert ended.tries == 1
        calm = await story.end(world)
    _require_sense(calm)
    seed = int(os.environ.get("REI_CRASH_SEED", "1"))
    chance = random.Random(seed)
    rows = []
    for number in range(ROUNDS):
        at = chance.uniform(0.05, seconds)
        rows.append(await _killed_at(story, lane, at, calm=calm))
        row = replace(rows[-1], what=f"{story.name}, at random (seed {seed})")
        rows[-1] = replace(row, place=f"round {number + 1}: {at:.2f} s")
        table.add(rows[-1])
    require_equal(rows)


async def _killed_at(story: Story, lane: Lane, at: float, *, calm: Json) -> Row:
    async with lane.world() as world:
        manifest = await story.prepare(world)
        world.before = await contents_of(world.url)
        problems: list[str] = []

        async def kill(process: Process) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(at):
                    await asyncio.shield(process.ended)
            await process.kill()

        async def dead() -> None:
            problems.extend(await story.wrong_while_dead(world, reached=set()))

        began = time.monotonic()
        async with _witness(world, problems):
            log = lane.folder / f"random-{lane.numbers}.log"
            ended = await _carry_out(story, lane, world, manifest, log=log, kill=kill, dead=dead)
        seconds = time.monotonic() - began
        if ended.last != 0:
            problems.append(f"the last try ended with {ended.last}: {log.read_text()[-1500:]}")
        problems += differences(calm, await story.end(world))
    code = None if ended.first == 0 else ended.first
    return Row("", "", code, ended.tries, seconds, tuple(problems))


# --- what stories are made of -------------------------------------------------------------------


def _metadata(name: str) -> Json:
    return {
        "name": name,
        "namespace": "rei",
        "uid": "u",
        "creationTimestamp": "2026-11-24T03:00:00Z",
    }


def _restore(world: World, **spec: Any) -> Restore:
    # The mark that it leaves names it, on a server that all stories share.
    metadata = _metadata(world.name.replace("_", "-"))
    stored = {"storage": world.volume, "id": SOURCE}
    return Restore.of({"kind": "Restore", "metadata": metadata, "spec": {"stored": stored, **spec}})


async def _something_happens_after_the_backup(world: World) -> None:
    """A gift, and a top-up that is begun: nobody but this database knows of it."""
    connection = await asyncpg.connect(world.url)
    try:
        async with connection.transaction():
            await adjust(
                connection, user_id=1, change_kopecks=100, operation_id="later", reason="later"
            )
            await payments.open_payment(
                connection, TOPUP, user_id=1, amount_kopecks=5000, request_key="later", chat_id=1
            )
    finally:
        await connection.close()


async def _mark(world: World, name: str) -> databases.Mark | None:
    connection = await asyncpg.connect(named(world.url, "postgres"))
    try:
        mark = await databases.mark_of(connection, name)
    finally:
        await connection.close()
    if mark is None:
        return None
    # The operation is named like the world's database, which is another one each time.
    assert mark.operation == restore_kind.operation_of(_restore(world, targetDatabase="any"))
    return replace(mark, operation=alike("rei.back", database=world.name))
