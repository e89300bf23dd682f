"""Each pod killed while customers are being served: nobody loses a kopeck."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from rei_sandbox.cluster.errors import KubectlRefused

from .crowd import crowd
from .release import Release

# tini passes signals on and ends with its only child: the process that counts.
KILL = """
import os, pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
    pid, parent = int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])
    if parent == 1 and pid != os.getpid():
        os.kill(pid, 9)
"""


@pytest.mark.parametrize("part", ["bot", "worker", "operator"])
async def test_kill_9_of_a_process_costs_nobody_anything(
    release: Release, say: Callable[[str], None], part: str
) -> None:
    async with crowd(release, say) as customers:
        await customers.busy(jobs=4)
        pod = (await release.pods(part))[0]
        name = pod["metadata"]["name"]
        with contextlib.suppress(KubectlRefused):  # who kills may go with the container
            await release.kubectl("exec", name, "-c", part, "--", "python", "-c", KILL)
        await customers.busy(jobs=4)
        killed_once = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
        await release.kubectl("wait", killed_once, f"pod/{name}", "--timeout=110s")
        await release.ready()
    assert customers.report.held, customers.report.violations
    (after,) = (
        each
        for each in await release.pods(part)
        if each["metadata"]["uid"] == pod["metadata"]["uid"]
    )
    assert after["status"]["containerStatuses"][0]["restartCount"] == 1, "it was not killed"


async def test_no_second_postgres_begins_on_a_volume_while_one_writes(release: Release) -> None:
    """Deleted by force, a pod has a successor before its own processes have ended."""
    lock = "/var/lib/postgresql/one-at-a-time.lock"
    words = ("exec", "statefulset/rei-postgres", "--", "flock", "-n", lock, "true")
    with pytest.raises(KubectlRefused) as refused:
        await release.kubectl(*words)
    assert refused.value.exit_status == 1, refused.value.said


@pytest.mark.parametrize("part", ["worker", "redis", "postgres"])
async def test_a_pod_that_is_gone_at_once_costs_nobody_anything(
    release: Release, say: Callable[[str], None], part: str
) -> None:
    async with crowd(release, say) as customers:
        await customers.busy(jobs=4)
        pod = (await release.pods(part))[0]["metadata"]["name"]
        await release.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
        await customers.busy(jobs=4)
        await release.ready()
    assert customers.report.held, customers.report.violations
