"""A real Prometheus that scrapes what it is told to, every second: what the queries of scaling and of
alerts are tested on.

It is the machine's own, or the one that `tools/setup prometheus` has unpacked. Nothing of it
outlives `stop`, but its data in the given folder.
"""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx

from rei_core.errors import ReiError
from rei_sandbox.cluster.go_programs import CHECKOUT
from rei_sandbox.cluster.servers import Server
from rei_sandbox.services import free_port

START_SECONDS_MAX: Final = 60.0
ASK_SECONDS_MAX: Final = 10.0
UNPACKED: Final = CHECKOUT / ".cache" / "prometheus" / "usr" / "bin"


class NoPrometheus(ReiError):
    """The machine has none."""


class QueryRefused(ReiError):
    """Prometheus could not make sense of a query."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Prometheus, and its tool that checks metrics and rules."""

    prometheus: Path
    promtool: Path


def obtain() -> Programs:
    """The programs; raises `NoPrometheus`."""
    found = {
        name: shutil.which(name) or shutil.which(name, path=UNPACKED)
        for name in ("prometheus", "promtool")
    }
    paths = {name: Path(path) for name, path in found.items() if path}
    if len(paths) < len(found):
        raise NoPrometheus("no Prometheus here: `tools/setup prometheus` gets one")
    return Programs(**paths)


class Prometheus:
    """A server with its data under `folder`; `targets` are addresses such as 127.0.0.1:8082."""

    def __init__(
        self,
        folder: Path,
        programs: Programs,
        *,
        targets: Sequence[str],
        labels: Mapping[str, str],
        rules: Path | None = None,
        alertmanager: str = "",
    ) -> None:
        """`rules` are evaluated every second, and what fires is told to the `alertmanager`'s address."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._program = programs.prometheus
        self._targets = targets
        self._labels = labels
        self._rules = rules
        self._alertmanager = alertmanager
        self._server = Server("prometheus", folder=folder)
        self.url = f"http://127.0.0.1:{free_port()}"

    def start(self) -> Self:
        """Ready when this returns; whether it has scraped anything yet is another matter."""
        scraped = {"targets": list(self._targets), "labels": dict(self._labels)}
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"
            },
            "scrape_configs": [{"job_name": "rei", "static_configs": [scraped]}],
        }  # fmt: skip
        if self._rules:
            config["rule_files"] = [str(self._rules)]
        if self._alertmanager:
            told = {"targets": [self._alertmanager.removeprefix("http://")]}
            config["alerting"] = {"alertmanagers": [{"static_configs": [told]}]}
        path = self._folder / "prometheus.yml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        self._server.start([
            str(self._program),
            f"--config.file={path}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--rules.alert.resend-delay=2s",  # what an Alertmanager has missed it hears again soon
            "--log.level=warn",
        ])  # fmt: skip
        self._server.wait_ready(self._is_ready, until=time.monotonic() + START_SECONDS_MAX)
        return self

    def stop(self) -> None:
        self._server.kill()

    async def ask(self, query: str) -> list[float]:
        """The value of each series that a query gives now; raises `QueryRefused`."""
        async with httpx.AsyncClient(timeout=ASK_SECONDS_MAX, trust_env=False) as client:
            response = await client.get(f"{self.url}/api/v1/query", params={"query": query})
        answer = response.json()
        if answer["status"] != "success":
            raise QueryRefused(f"{query}: {answer['error']}")
        return [float(one["value"][1]) for one in answer["data"]["result"]]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:  # noqa: S310 - ours
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
