"""One `helm install`, and what it promises: pods Ready, a purchase, books that hold, maintenance."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rei_sandbox.cluster.helm import HelmRefused

from .crowd import crowd
from .release import Release

DEFAULTS = (
    "ledgeraudits,backupschedules,paymentreconciliations,jobretentionpolicies,stuckjobpolicies"
)


async def test_all_pods_are_ready_and_have_never_been_restarted(release: Release) -> None:
    await release.ready()
    for part, number in {"bot": 2, "worker": 2, "operator": 1, "postgres": 1, "redis": 1}.items():
        pods = await release.pods(part)
        assert len(pods) == number, part
        for pod in pods:
            (status,) = pod["status"]["containerStatuses"]
            assert status["ready"], part
            assert status["restartCount"] == 0, part


async def test_helm_test_buys_pictures(release: Release) -> None:
    said = await release("test", "rei", "--logs")
    assert "Every step held, to the kopeck" in said


async def test_the_default_maintenance_is_there(release: Release) -> None:
    listed = await release.kubectl.json("get", DEFAULTS)
    assert {each["metadata"]["name"] for each in listed["items"]} == {
        "rei-books", "rei-daily", "rei-payments", "rei-retention", "rei-stuck-jobs",
    }  # fmt: skip


async def test_customers_are_served_to_the_kopeck(
    release: Release, say: Callable[[str], None]
) -> None:
    async with crowd(release, say) as customers:
        await customers.busy(jobs=20)
    assert customers.report.held, customers.report.violations
    assert customers.report.jobs["completed"] >= 10


async def test_a_backup_is_made_and_proved_in_pods(release: Release) -> None:
    """By the operator's own Jobs; verified by a real restore."""
    await release.kubectl(
        "annotate",
        "--overwrite",
        "backupschedule",
        "rei-daily",
        "rei.bot/requested-at=2026-11-28T12:00:00Z",
    )
    condition = "--for=jsonpath={.status.lastVerifiedTime}"
    await release.kubectl("wait", condition, "backupschedule/rei-daily", "--timeout=110s")


async def test_preflight_stops_an_upgrade_that_could_not_work(release: Release) -> None:
    """Its Job says what is wrong and how to mend it, and nothing of the release has been touched."""
    with pytest.raises(HelmRefused, match="preflight") as refused:
        await release.upgrade("--set=settings.REI_TELEGRAM_API_URL=http://nobody.invalid:8090")
    assert "getMe failed" in refused.value.said, "who runs helm has to look for the reason"
    logs = await release.kubectl("logs", "job/rei-preflight", "--tail=-1")
    assert "FAIL" in logs
    assert "getMe failed" in logs
    await release.ready()
