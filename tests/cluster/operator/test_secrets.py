"""Nothing secret is to be seen by whoever may read resources, Events, Jobs, pods and logs.

Every Secret holds a text that is nowhere else. Things go wrong on purpose (a storage and a shop that
refuse, a database that is not there, an identity that does not fit): errors like to quote.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pyrage
from aiohttp import web

from rei_core.maintenance.resources import KINDS
from rei_sandbox.services import free_port

from ...acceptance.secrets_search import leaks
from .stage import DATABASE_PASSWORD, RARELY, SETTINGS_SECRET, SHOP_KEY, Stage
from .stories import a_payment_nobody_told_us_of, pods_ended, run_now

Serve = Callable[[web.Application], Awaitable[str]]

BOT_TOKEN = "1234567890:token-of-the-bot-that-nobody-may-see"
STORAGE_ID = "id-of-the-storage-account"
STORAGE_KEY = "key-of-the-storage-that-is-secret"
OTHER_PASSWORD = "password-of-the-other-database"
VOLUME = {"volume": {"claimName": "sealed"}}


async def refusing(serve: Serve) -> str:
    """An S3 that lets nobody in, and says back what it was told."""

    async def refuse(request: web.Request) -> web.Response:
        said = "<Error><Code>AccessDenied</Code><Message>{}</Message></Error>"
        return web.Response(status=403, text=said.format(dict(request.headers)))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    return await serve(app)


async def secret(stage: Stage, name: str, **values: str) -> None:
    await stage.api.create("Secret", {"metadata": {"name": name}, "stringData": values})


async def everything_to_be_seen(stage: Stage) -> dict[str, bytes]:
    """All that the API server shows but the Secrets, and all that was logged."""
    seen: dict[str, Any] = {}
    for kind in (*KINDS, "Event", "Job", "Pod"):
        for raw in await stage.api.every(kind):
            seen[f"{kind} {raw['metadata']['name']}"] = json.dumps(raw, ensure_ascii=False)
    logs = {f"log of {name}": text for name, text in stage.kubelet.logs().items()}
    logs["log of the operator"] = stage.log.read_text(encoding="utf-8")
    return {name: text.encode() for name, text in (seen | logs).items()}


async def test_nothing_secret_is_shown_when_all_goes_wrong(stage: Stage, serve: Serve) -> None:
    identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    await secret(stage, "identity", identity=str(other))
    await secret(
        stage, "storage", **{"access-key-id": STORAGE_ID, "secret-access-key": STORAGE_KEY}
    )
    await stage.api.patch("Secret", SETTINGS_SECRET, {"stringData": {"BOT_TOKEN": BOT_TOKEN}})
    s3 = {
        "bucket": "rei-backups",
        "endpoint": await refusing(serve),
        "pathStyle": True,
        "secretRef": {"name": "storage"},
    }
    sealed = {
        "recipients": [str(identity.to_public())],
        "identitySecretRef": {"name": "identity"},
    }
    await a_payment_nobody_told_us_of(stage, 1)
    async with stage.operator(BOT_TOKEN=BOT_TOKEN, REI_LOG_LEVEL="DEBUG") as operator:
        await operator.ready()
        await stage.apply("Backup", "refused", {"storage": {"s3": s3}})
        await stage.apply("Backup", "sealed", {"storage": VOLUME, "encryption": sealed})
        await stage.apply("PaymentReconciliation", "shop", RARELY)
        await run_now(stage, "PaymentReconciliation", "shop")
        await stage.condition("Backup", "sealed", "Succeeded", "False", "BackupFailed")
        await pods_ended(stage, "backup-refused")

        gone = f"postgresql://rei:{OTHER_PASSWORD}@127.0.0.1:{free_port()}/rei"
        await stage.api.patch("Secret", SETTINGS_SECRET, {"stringData": {"REI_DATABASE_URL": gone}})
        await stage.apply("Backup", "homeless", {"storage": VOLUME})
        await pods_ended(stage, "backup-homeless")
        assert await operator.stop() == 0
    # The shop does not know this key: it refuses, and it is asked by name and key all the same.
    async with stage.operator(YOOKASSA_SECRET_KEY=f"not-{SHOP_KEY}") as operator:
        await operator.ready()
        raw = await run_now(stage, "PaymentReconciliation", "shop")
        assert raw["status"]["lastResult"]["failed"] > 0
        metrics = await operator.metrics()

    token = json.loads(stage.kubeconfig.read_text())["users"][0]["user"]["token"]
    secrets = {
        "the database's password": DATABASE_PASSWORD,
        "the other database's password": OTHER_PASSWORD,
        "the shop's key": SHOP_KEY,
        "the bot's token": BOT_TOKEN,
        "the storage's key": STORAGE_KEY,
        "the identity": str(other),
        "the operator's token": token,
    }
    seen = await everything_to_be_seen(stage) | {"metrics": metrics.encode()}
    assert leaks(seen, secrets) == []
    # It was looked for where it could be: the same texts are found where they belong.
    held = json.dumps([one["data"] for one in await stage.api.every("Secret")]).encode()
    found = {leak.secret for leak in leaks({"Secrets": held}, secrets)}
    assert found >= {"the shop's key", "the bot's token", "the storage's key", "the identity"}
