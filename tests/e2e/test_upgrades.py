"""An upgrade while customers are being served: it loses nothing, stops where it must, and can go back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rei_sandbox.cluster.helm import HelmRefused
from rei_sandbox.cluster.images import NEXT, Images
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.cluster.node import Node

from .crowd import crowd
from .release import Release

PARTS = ("bot", "worker", "operator")
NEXT_RELEASE = tuple(f"--set={part}.image.repository=rei-next-{part}" for part in PARTS)
PICTURE_SECONDS = 12.0
"""Long beside all that a worker that is told to go might do without waiting for its jobs."""
WITHOUT_BACKUP = "--set=upgrade.backup.enabled=false"
COLUMN = """
SELECT count(*) FROM information_schema.columns
WHERE table_name = 'jobs' AND column_name = $1
"""


@pytest.fixture(scope="module", autouse=True)
def next_release(request: pytest.FixtureRequest, cluster: Cluster) -> None:
    """A node of our own gets its images; a given cluster has to have them."""
    if cluster.ours:
        node: Node = request.getfixturevalue("node")
        store: Images = request.getfixturevalue("store")
        store.build(*PARTS, *NEXT)
        node.load(*NEXT)


async def test_an_upgrade_backs_up_migrates_and_rolls_while_customers_are_served(
    release: Release, say: Callable[[str], None]
) -> None:
    async with crowd(release, say) as customers:
        await customers.wait_for_pictures(seconds=PICTURE_SECONDS)
        await customers.busy(jobs=6)
        await release.upgrade(*NEXT_RELEASE)
        await customers.busy(jobs=6)
    assert customers.report.held, customers.report.violations
    assert customers.retried == 0, "a running job was killed by the upgrade"
    assert await _images(release) == {part: f"rei-next-{part}" for part in PARTS}
    assert await _has_column(release, "of_the_next_release")
    backups = (await release.kubectl.json("get", "backups"))["items"]
    (made,) = (each for each in backups if "-upgrade-" in each["metadata"]["name"])
    assert made["status"]["verified"] == "Restore"


async def test_a_migration_that_fails_leaves_the_old_pods_alone(
    release: Release, say: Callable[[str], None]
) -> None:
    before = await _uids(release)
    async with crowd(release, say) as customers:
        with pytest.raises(HelmRefused, match="migrate"):
            await release.upgrade(
                *NEXT_RELEASE, "--set=operator.image.repository=rei-bad-operator", WITHOUT_BACKUP
            )
        await customers.busy(jobs=6)
    assert customers.report.held, customers.report.violations
    assert await _uids(release) == before
    assert not await _has_column(release, "half"), "half of the migration is there"


async def test_pods_that_do_not_start_replace_nobody_and_helm_goes_back(
    release: Release, say: Callable[[str], None]
) -> None:
    before = await _uids(release)
    async with crowd(release, say) as customers:
        with pytest.raises(HelmRefused):
            # An image that has no `rei` in it.
            await release.upgrade(
                "--set=bot.image.repository=rei-redis",
                "--timeout=45s",
                "--rollback-on-failure",
                WITHOUT_BACKUP,
            )
        assert (await _uids(release))["bot"] == before["bot"], "the old bots have gone"
        await customers.busy(jobs=6)
    assert customers.report.held, customers.report.violations
    await release.ready()  # helm waits for its way back no longer than for its way there
    assert await _images(release) == {part: f"rei-next-{part}" for part in PARTS}


async def test_a_rollback_to_the_release_before_runs_on_the_newer_schema(
    release: Release, say: Callable[[str], None]
) -> None:
    async with crowd(release, say) as customers:
        await customers.wait_for_pictures(seconds=PICTURE_SECONDS)
        await customers.busy(jobs=6)
        await release("rollback", "rei", "1", "--wait")
        await customers.busy(jobs=6)
    assert customers.report.held, customers.report.violations
    assert customers.retried == 0, "a running job was killed by the rollback"
    assert await _images(release) == {part: f"rei-{part}" for part in PARTS}
    assert await _has_column(release, "of_the_next_release")


async def _images(release: Release) -> dict[str, str]:
    """Part → the image's name, of all its pods."""
    found = {}
    for part in PARTS:
        (name,) = {
            pod["spec"]["containers"][0]["image"].removeprefix("localhost/").partition(":")[0]
            for pod in await release.pods(part)
        }
        found[part] = name
    return found


async def _uids(release: Release) -> dict[str, set[str]]:
    """Part → the uids of its pods that are ready."""
    return {
        part: {
            pod["metadata"]["uid"]
            for pod in await release.pods(part)
            if pod["status"].get("containerStatuses", [{}])[0].get("ready")
        }
        for part in PARTS
    }


async def _has_column(release: Release, name: str) -> bool:
    async with release.database() as pool:
        return bool(await pool.fetchval(COLUMN, name))
