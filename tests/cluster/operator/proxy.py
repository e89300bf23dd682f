"""A way to the API server that writes down what is asked, and that can be cut.

For rights: what the operator really asks for, and what it was answered. For outages: as long as the
way is cut every connection is refused, as when an API server is away. The token goes through it as
it is, so RBAC judges as ever.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from rei_sandbox.cluster.kubeconfig import write
from rei_sandbox.services import free_port

BODY_BYTES_MAX = 16 * 1024 * 1024
HOP_BY_HOP = ("host", "connection", "transfer-encoding", "content-length", "accept-encoding")
RESOURCE = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as RBAC sees it. `namespace` is empty if it is about the whole cluster."""

    verb: str
    group: str
    resource: str
    """With its subresource, as in backups/status."""
    namespace: str
    name: str


class ApiProxy:
    """Forwards to the API server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path) -> None:
        document = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster: dict[str, Any] = document["clusters"][0]["cluster"]
        self._document = document
        self._target = URL(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._port = free_port()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.asked: set[Asked] = set()
        self.written: list[Asked] = []
        """What was changed, each time that it was."""
        self.denied: set[Asked] = set()
        """What was answered 401 or 403."""

    def write_kubeconfig(self, path: Path) -> None:
        """The same kubeconfig, by this way."""
        document = json.loads(json.dumps(self._document))
        document["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        write(path, document)

    async def open(self) -> None:
        """Let requests through."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._forward)
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()

    async def cut(self) -> None:
        """End all connections, and refuse new ones until `open`."""
        if self._runner is not None and self._session is not None:
            await self._runner.cleanup()
            await self._session.close()
        self._runner = self._session = None

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        url = self._target.join(URL(request.raw_path, encoded=True))
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
        }
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read() or None
        ) as answer:
            self._remember(request, answer.status)
            kind = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            response = web.StreamResponse(status=answer.status, headers=kind)
            await response.prepare(request)
            # Whoever watches may go, and so may the API server: that ends this one, not the proxy.
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async for piece in answer.content.iter_any():
                    await response.write(piece)
            return response

    def _remember(self, request: web.Request, status: int) -> None:
        found = asked(request.method, request.path, watches="watch" in request.query)
        if found is None:
            return
        self.asked.add(found)
        if status < 300 and found.verb in VERBS.values():
            self.written.append(found)
        if status in (401, 403):
            self.denied.add(found)


def asked(method: str, path: str, *, watches: bool) -> Asked | None:
    """What a request is about; None if it is about no resource (what there is, the version)."""
    match = RESOURCE.fullmatch(path)
    if match is None:
        return None
    part = match.groupdict(default="")
    verb = VERBS.get(method) or ("get" if part["name"] else "watch" if watches else "list")
    resource = "/".join(filter(None, (part["resource"], part["subresource"])))
    return Asked(verb, part["group"], resource, part["namespace"], part["name"])


@asynccontextmanager
async def between(kubeconfig: Path) -> AsyncIterator[ApiProxy]:
    """A proxy for the length of the block."""
    proxy = ApiProxy(kubeconfig)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.cut()
