"""Telegram, YooKassa and Gemini for a release under test: the sandbox, in a namespace of its own."""

from __future__ import annotations

from typing import Any

from rei_sandbox.cluster.images import image_of

NAMESPACE = "rei-e2e-outside"
PORT = 8090
CREDENTIALS = {
    "BOT_TOKEN": "7000000001:sandbox-token",
    "YOOKASSA_SHOP_ID": "100500",
    "YOOKASSA_SECRET_KEY": "test_sandbox_secret_key",
    "GEMINI_API_KEY": "sandbox-gemini-key",
}
"""Those that the sandbox lets in, and that open nothing else."""


def objects(namespace: str = NAMESPACE, *, release: str, **settings: str) -> list[dict[str, Any]]:
    """The sandbox with these settings, which notifies the bot in the namespace `release`."""
    labels = {"app": "sandbox"}
    metadata = {"name": "sandbox", "namespace": namespace}
    settings = {
        "REI_SANDBOX_NOTIFICATION_URL": f"http://rei-bot.{release}.svc/webhook/yookassa",
        "REI_SANDBOX_GEMINI_SIDE_PIXELS_MAX": "96",
        "REI_SANDBOX_NOTIFICATION_SPEEDUP": "600",
        **settings,
    }
    container = {
        "name": "sandbox",
        "image": image_of("sandbox"),
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in settings.items()],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
