"""A real Alertmanager that tells the stand-in for Telegram what fires, as a real one tells people.

It is the machine's own, or the one that `tools/setup prometheus` has unpacked.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Final, Self

import httpx

from rei_core.errors import ReiError
from rei_sandbox.cluster.servers import Server
from rei_sandbox.prometheus import UNPACKED
from rei_sandbox.services import free_port

START_SECONDS_MAX: Final = 60.0
ASK_SECONDS_MAX: Final = 10.0
NAMES: Final = ("prometheus-alertmanager", "alertmanager")
"""Debian's name, and everybody else's."""
TEMPLATES: Final = Path("/usr/share/prometheus/alertmanager")
"""Debian's does not start without them."""
TEXT: Final = "{{ .Status }}: {{ .CommonLabels.alertname }}"


class NoAlertmanager(ReiError):
    """The machine has none."""


def obtain() -> Path:
    """The program; raises `NoAlertmanager`."""
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    unpacked = UNPACKED / NAMES[0]
    if unpacked.exists() and TEMPLATES.is_dir():
        return unpacked
    raise NoAlertmanager("no Alertmanager here: `tools/setup prometheus` gets one")


class Alertmanager:
    """A server with its data under `folder`; each alert goes to `chat_id` by itself, at once."""

    def __init__(
        self, folder: Path, program: Path, *, telegram_url: str, token: str, chat_id: int
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._program = program
        self._config = _config(telegram_url=telegram_url, token=token, chat_id=chat_id)
        self._server = Server("alertmanager", folder=folder)
        self.url = f"http://127.0.0.1:{free_port()}"

    def start(self) -> Self:
        """Ready when this returns."""
        path = self._folder / "alertmanager.yml"
        path.write_text(json.dumps(self._config), encoding="utf-8")  # JSON is YAML
        self._server.start([
            str(self._program),
            f"--config.file={path}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ])  # fmt: skip
        self._server.wait_ready(self._is_ready, until=time.monotonic() + START_SECONDS_MAX)
        return self

    def stop(self) -> None:
        self._server.kill()

    async def active(self) -> set[str]:
        """The names of the alerts that fire now, as Alertmanager has heard of them."""
        async with httpx.AsyncClient(timeout=ASK_SECONDS_MAX, trust_env=False) as client:
            answer = await client.get(f"{self.url}/api/v2/alerts", params={"active": "true"})
        answer.raise_for_status()
        return {alert["labels"]["alertname"] for alert in answer.json()}

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=1, trust_env=False).is_success
        except httpx.HTTPError:
            return False


def _config(*, telegram_url: str, token: str, chat_id: int) -> dict[str, Any]:
    telegram = {
        "api_url": telegram_url,
        "bot_token": token,
        "chat_id": chat_id,
        "parse_mode": "HTML",
        "message": TEXT,
    }
    return {
        "route": {
            "receiver": "on-call",
            "group_by": ["alertname"],
            "group_wait": "0s",
            "group_interval": "1s",
        },
        "receivers": [{"name": "on-call", "telegram_configs": [telegram]}],
    }
