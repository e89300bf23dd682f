"""What recurs, on a real API server: applied, asked to run, edited, suspended, deleted, applied again."""

from __future__ import annotations

import pytest

from rei_core.maintenance.resources import KINDS, REQUESTED_AT

from .process import OperatorProcess
from .stage import RARELY, Stage
from .stories import STORIES, Story, run_now, runs

pytestmark = pytest.mark.asyncio(loop_scope="module")

CUSTOMERS = {story.kind: 100 + number for number, story in enumerate(STORIES)}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.kind)
async def test_from_apply_to_what_was_done_and_to_the_same_manifest_again(
    shared: Stage, operator: OperatorProcess, story: Story
) -> None:
    kind, user_id = story.kind, CUSTOMERS[story.kind]
    await shared.apply(kind, "one", story.spec)
    waiting = await shared.condition(kind, "one", "Ready", "Unknown", "NoRunYet")
    assert waiting["status"]["nextRunTime"]

    await story.before(shared, user_id)
    done = await run_now(shared, kind, "one")
    assert done["status"]["lastResult"]["changed"] == story.changed
    assert done["status"]["lastResult"]["failed"] == 0
    await shared.condition(kind, "one", "Ready", "True", "RunSucceeded")
    await story.after(shared, user_id)
    for reason in story.events:
        await shared.event(kind, "one", reason)
    shown = await shared.columns(kind, "one")
    assert shown["READY"] == "True"
    assert shown["NEXT RUN"] == done["status"]["nextRunTime"]
    assert shown.items() >= story.columns.items()
    assert f'rei_maintenance_runs_total{{kind="{kind}",result="succeeded"}} 1.0' in (
        await operator.metrics()
    )

    await shared.delete(kind, "one")
    told = await shared.events(kind, "one")
    await shared.apply(kind, "one", story.spec)
    again = await shared.condition(kind, "one", "Ready", "True", "RunSucceeded")
    assert again["status"]["lastRunTime"] == done["status"]["lastRunTime"]
    assert again["metadata"]["uid"] != done["metadata"]["uid"]
    assert await runs(shared, kind, "one") == ["succeeded"]
    assert set(await shared.events(kind, "one")) == set(told)
    await shared.books_are_right()


@pytest.mark.usefixtures("operator")
async def test_an_edited_spec_counts_and_a_suspended_one_runs_when_asked(shared: Stage) -> None:
    await shared.apply("LedgerAudit", "edited", RARELY)
    first = await shared.condition("LedgerAudit", "edited", "Ready", "Unknown", "NoRunYet")

    await shared.apply("LedgerAudit", "edited", {"schedule": "0 0 1 1 *"})
    second = await shared.condition("LedgerAudit", "edited", "Ready", "Unknown", "NoRunYet")
    assert second["metadata"]["generation"] == 2
    assert second["status"]["nextRunTime"] != first["status"]["nextRunTime"]
    assert second["status"]["nextRunTime"].endswith("-01-01T00:00:00Z")

    await shared.apply("LedgerAudit", "edited", RARELY | {"suspend": True})
    third = await shared.condition("LedgerAudit", "edited", "Ready", "True", "Suspended")
    assert "nextRunTime" not in third["status"]
    assert await runs(shared, "LedgerAudit", "edited") == []

    await run_now(shared, "LedgerAudit", "edited")
    await shared.condition("LedgerAudit", "edited", "Consistent", "True", "InvariantsHold")
    assert await runs(shared, "LedgerAudit", "edited") == ["succeeded"]


@pytest.mark.usefixtures("operator")
async def test_a_request_that_is_no_time_is_told_and_nothing_runs(shared: Stage) -> None:
    await shared.apply("LedgerAudit", "nonsense", RARELY, annotations={REQUESTED_AT: "now"})
    await shared.event("LedgerAudit", "nonsense", "BadRequest")
    await shared.condition("LedgerAudit", "nonsense", "Ready", "Unknown", "NoRunYet")
    assert await runs(shared, "LedgerAudit", "nonsense") == []


@pytest.mark.usefixtures("operator")
async def test_a_short_period_runs_by_itself_once_for_each_moment(shared: Stage) -> None:
    await shared.apply("LedgerAudit", "often", {"periodSeconds": 10})

    async def look() -> bool:
        return len(await runs(shared, "LedgerAudit", "often")) >= 2

    await shared.until(look, "LedgerAudit", "often", what="two runs")
    await shared.delete("LedgerAudit", "often")
    rows = await shared.pool.fetch(
        "SELECT scheduled_for, started_at FROM maintenance_runs WHERE name = 'often' ORDER BY id"
    )
    moments = [row["scheduled_for"] for row in rows]
    assert all(moment.timestamp() % 10 == 0 for moment in moments)
    assert len(set(moments)) == len(moments)
    assert all(row["scheduled_for"] <= row["started_at"] for row in rows)


@pytest.mark.usefixtures("operator")
async def test_what_the_api_server_cannot_judge_is_told_by_the_operator(shared: Stage) -> None:
    await shared.apply("LedgerAudit", "february", {"schedule": "0 0 30 2 *"})

    async def look() -> str:
        conditions = (await shared.status("LedgerAudit", "february")).get("conditions", ())
        return next((one["message"] for one in conditions if one["reason"] == "InvalidSpec"), "")

    said = await shared.until(look, "LedgerAudit", "february", what="it is told")
    assert said.startswith("spec.schedule: is no cron expression")
    await shared.apply("LedgerAudit", "february", RARELY)
    await shared.condition("LedgerAudit", "february", "Ready", "Unknown", "NoRunYet")


@pytest.mark.usefixtures("operator")
async def test_nothing_of_ours_is_written_into_objects_but_their_status(shared: Stage) -> None:
    await shared.apply("StuckJobPolicy", "clean", RARELY)
    await shared.condition("StuckJobPolicy", "clean", "Ready", "Unknown", "NoRunYet")
    for kind in KINDS:
        for raw in await shared.api.every(kind):
            assert "finalizers" not in raw["metadata"]
            assert set(raw["metadata"].get("annotations", {})) <= {REQUESTED_AT}
