"""The operator killed between every two side effects of every kind, and begun again.

A real process on a real API server, with the rights of its own ServiceAccount; the Jobs that it
makes are real ones too. Each death has a namespace and a database of its own, and the end is
compared with that of an operator that nobody killed.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from rei_core.failpoints import EXIT_CODE, WATCH
from rei_core.maintenance.resources import KINDS
from rei_operator.failpoints import FAILPOINTS

from ..proxy import Asked, between
from ..stage import Json
from .kinds import STORIES, Story, end_of
from .lives import Lives
from .processes import places_in
from .table import Row, Table, differences, require_equal
from .theatre import Theatre

TELLINGS_MAX = 3
"""How often an operator comes by a place may depend on when it happens to look: one that has lived is
told of again. It has to die in the end."""
WRITES_OF_THE_CLUSTER = ("create", "delete", "scale", "event", "status")
"""Places after something that the API server is asked for."""


def test_every_kind_has_a_story() -> None:
    assert sorted(story.kind for story in STORIES) == sorted(KINDS)


@pytest.mark.timeout(900)
async def test_killed_anywhere_the_operator_ends_as_if_nothing_had_happened(
    theatre: Theatre, table: Table
) -> None:
    async with asyncio.TaskGroup() as group:
        told = [group.create_task(_all_deaths(story, theatre, table)) for story in STORIES]
    require_equal([row for task in told for row in task.result()])


async def _all_deaths(story: Story, theatre: Theatre, table: Table) -> list[Row]:
    calm, places = await _undisturbed(story, theatre)

    async def die(number: int, place: str) -> Row:
        for _ in range(TELLINGS_MAX):
            row = replace(await _one_death(story, theatre, place, calm=calm), number=number)
            if row.code != 0:
                break
        table.add(row)
        return row

    return await asyncio.gather(*(die(*numbered) for numbered in enumerate(places)))


async def _undisturbed(story: Story, theatre: Theatre) -> tuple[Json, list[str]]:
    """The end of one in which nobody dies, and the places that its operator passes."""
    async with theatre.stage() as stage, between(stage.kubeconfig) as proxy:
        await story.prepare(stage)
        kubeconfig = stage.folder / "by-way-of-the-proxy"
        proxy.write_kubeconfig(kubeconfig)
        watched = replace(stage, kubeconfig=kubeconfig)
        lives = Lives(theatre.processes, watched, fatal=WATCH)
        await lives.through(story.tell(stage))
        assert lives.codes == [0], stage.log.read_text()
        await story.right(stage)
        passed = [place.partition("#")[0] for place in places_in(stage.log)]
        _require_a_place_after_each(proxy.written, passed)
        assert {one for one in passed if _is_of(story, one)} == {
            one for one in FAILPOINTS if _is_of(story, one)
        }
        places = [place for place in places_in(stage.log) if _is_of(story, place)]
        return await end_of(stage, asks_again=story.asks_again), places


def _is_of(story: Story, place: str) -> bool:
    return place.startswith(f"{story.kind}:")


def _require_a_place_after_each(written: list[Asked], passed: list[str]) -> None:
    """Whatever the operator writes on the API server, a failpoint comes after it."""
    places = [place for place in passed if place.partition(":")[2] in WRITES_OF_THE_CLUSTER]
    # The Backup of a schedule is made by its run.
    places += [place for place in passed if place == "BackupSchedule:run-worked"]
    assert len(written) == len(places), (written, places)


async def _one_death(story: Story, theatre: Theatre, place: str, *, calm: Json) -> Row:
    async with theatre.stage() as stage:
        await story.prepare(stage)
        began = time.monotonic()
        lives = Lives(theatre.processes, stage, fatal=place)
        try:
            await lives.through(story.tell(stage))
            problems = differences(calm, await end_of(stage, asks_again=story.asks_again))
        except (AssertionError, TimeoutError) as never:  # the others still have to be tried
            problems = (repr(never),)
        seconds = time.monotonic() - began
    if lives.codes != [EXIT_CODE, 0]:
        problems = (*problems, f"the operators ended with {lives.codes}")
    first = lives.codes[0] if lives.codes else None
    what, place = f"Operator: {story.kind}", place.partition(":")[2]
    return Row(what, place, first, len(lives.codes), seconds, problems)
