"""Two operators by mistake, an API server that is away, a namespace that is deleted under one."""

from __future__ import annotations

import asyncio

from .proxy import between
from .stage import RARELY, Stage
from .stories import latest_moment, run_now, runs, until_known, until_told_of

VOLUME = {"volume": {"claimName": "rei-backups"}}


async def test_two_operators_at_once_do_everything_once(stage: Stage) -> None:
    await stage.customer(1, kopecks=1000)
    async with stage.operator() as one, stage.operator() as other:
        await asyncio.gather(one.ready(), other.ready())
        await stage.apply("LedgerAudit", "often", {"periodSeconds": 10})
        for number in range(10):
            spec = {
                "userID": 1, "amountKopecks": 7, "reason": "sorry", "operationID": f"t-{number}",
            }  # fmt: skip
            await stage.apply("BalanceAdjustment", f"ticket-{number}", spec)
        await stage.apply("UserBan", "fraud", {"userID": 1, "reason": "fraud"})
        await stage.apply("Backup", "both", {"storage": VOLUME, "verification": "Checksum"})
        for number in range(10):
            await stage.condition("BalanceAdjustment", f"ticket-{number}", "Succeeded", "True")
        await stage.condition("UserBan", "fraud", "Ready", "True", "Banned")
        await stage.condition("Backup", "both", "Succeeded", "True", "BackupVerified")

        async def two_moments() -> bool:
            return len(await runs(stage, "LedgerAudit", "often")) >= 2

        await stage.until(two_moments, "LedgerAudit", "often", what="two runs")
        assert (await one.stop(), await other.stop()) == (0, 0)

    assert await stage.balance(1) == 1070
    assert stage.kubelet.exit_codes == {"backup-both": [0]}
    assert set(await runs(stage, "LedgerAudit", "often")) == {"succeeded"}
    for number in range(10):
        assert await stage.events("BalanceAdjustment", f"ticket-{number}") == ["BalanceAdjusted"]
    assert await stage.events("Backup", "both") == ["BackupVerified"]
    assert await stage.events("UserBan", "fraud") == ["UserBanned"]
    await stage.books_are_right()


async def test_who_cannot_watch_yet_is_healthy_and_not_ready(stage: Stage) -> None:
    """A restart would not bring the API server back, and whoever waits for the rollout is told."""
    kubeconfig = stage.folder / "by-way-of-the-proxy"
    async with between(stage.kubeconfig) as proxy:
        proxy.write_kubeconfig(kubeconfig)
        await proxy.cut()
        async with stage.operator(KUBECONFIG=str(kubeconfig)) as operator:
            while (health := await operator.get("/healthz")) is None:  # noqa: ASYNC110 - it starts
                await asyncio.sleep(0.1)
            readiness = await operator.get("/readyz")
            assert readiness is not None
            assert (health.text, readiness.text) == ("ok", "not watching")
            assert (health.status_code, readiness.status_code) == (200, 503)
            await proxy.open()
            await operator.ready()
            assert await operator.stop() == 0


async def test_an_api_server_that_is_away_is_waited_for(stage: Stage) -> None:
    kubeconfig = stage.folder / "by-way-of-the-proxy"
    await stage.customer(1)
    async with between(stage.kubeconfig) as proxy:
        proxy.write_kubeconfig(kubeconfig)
        changes = {"KUBECONFIG": str(kubeconfig), "REI_RESYNC_SECONDS": "5"}
        async with stage.operator(**changes) as operator:
            await operator.ready()
            await stage.apply("UserBan", "fraud", {"userID": 1, "reason": "fraud"})
            await stage.condition("UserBan", "fraud", "Ready", "True", "Banned")
            await stage.apply("LedgerAudit", "often", {"periodSeconds": 10})
            await until_known(stage, "LedgerAudit", "often")

            await proxy.cut()
            before = len(await runs(stage, "LedgerAudit", "often"))
            # Meanwhile: what was known is done all the same, what changes is seen afterwards.
            await stage.delete("UserBan", "fraud")
            await stage.apply("LedgerAudit", "new", RARELY)

            async def it_runs() -> bool:
                return len(await runs(stage, "LedgerAudit", "often")) > before

            await stage.until(it_runs, "LedgerAudit", "often", what="a run without API server")
            moment = await latest_moment(stage, "LedgerAudit", "often")
            assert (await stage.status("LedgerAudit", "new")) == {}
            assert await stage.pool.fetchval("SELECT count(*) FROM user_bans") == 1
            await proxy.open()

            await stage.condition("LedgerAudit", "new", "Ready", "Unknown", "NoRunYet")
            await until_told_of(stage, "LedgerAudit", "often", moment)

            async def lifted() -> bool:
                return bool(await stage.pool.fetchval("SELECT count(*) = 0 FROM user_bans"))

            await stage.until(lifted, "UserBan", "fraud", what="the missed deletion is found")
            await run_now(stage, "LedgerAudit", "new")
            assert operator.runs
            assert await operator.stop() == 0


async def test_a_namespace_that_is_deleted_under_the_operator_ends(stage: Stage) -> None:
    await stage.customer(1, kopecks=10)
    async with stage.operator() as operator:
        await operator.ready()
        await stage.apply("UserBan", "fraud", {"userID": 1, "reason": "fraud"})
        await stage.condition("UserBan", "fraud", "Ready", "True", "Banned")
        await stage.apply("BackupSchedule", "nightly", RARELY | {"storage": VOLUME})
        await stage.apply("StuckJobPolicy", "stuck", {"periodSeconds": 10})
        stage.kubelet.hold()
        await stage.apply("Backup", "waits", {"storage": VOLUME})

        async def its_pod_waits() -> bool:
            return bool(await stage.api.every("Pod"))

        await stage.until(its_pod_waits, "Backup", "waits", what="its Job has made a pod")
        await stage.delete_namespace()
        # Whether its watches have ended it or not: it does not hang.
        assert await operator.stop() in (0, 1)
