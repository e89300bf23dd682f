"""The API server in JSON, as its admin: what a test looks at, and what it plays for others.

Not the operator's own client: a defect in that must not be found on both sides of a comparison.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from rei_core.maintenance.resources import GROUP, KINDS, VERSION

Json = dict[str, Any]

CALL_SECONDS_MAX = 30.0
MERGE_PATCH = "application/merge-patch+json"
_PATHS = {
    **{kind: (f"/apis/{GROUP}/{VERSION}", cls.names.plural) for kind, cls in KINDS.items()},
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Event": ("/api/v1", "events"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Pod": ("/api/v1", "pods"),
    "ReplicaSet": ("/apis/apps/v1", "replicasets"),
    "Secret": ("/api/v1", "secrets"),
}


class ApiRefused(Exception):
    """The API server said no, or (status 0) nothing that makes sense."""

    def __init__(self, call: str, status: int, said: str) -> None:
        self.status = status
        super().__init__(f"{call}: {status}: {said}")


class Api:
    """Objects of one namespace."""

    def __init__(self, opened: client.ApiClient, *, namespace: str) -> None:
        self._client = opened
        self._namespace = namespace

    async def get(self, kind: str, name: str) -> Json | None:
        """An object, None if there is none."""
        try:
            return await self._call("GET", self._path(kind, name))
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise

    async def every(self, kind: str, *, labels: str = "") -> list[Json]:
        """All objects of a kind that have these labels."""
        query = [("labelSelector", labels)] if labels else None
        answer = await self._call("GET", self._path(kind), query=query)
        items: list[Json] = answer["items"]
        return items

    async def create(self, kind: str, manifest: Json) -> Json:
        """Make an object; raises `ApiRefused`."""
        return await self._call("POST", self._path(kind), body=manifest)

    async def patch(self, kind: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        """Change an object by a merge patch; raises `ApiRefused`."""
        path = self._path(kind, name) + (f"/{subresource}" if subresource else "")
        return await self._call("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object; what it owns goes later. One that is not there is no error."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            await self._call("DELETE", self._path(kind, name), body=options)
        except ApiRefused as refused:
            if refused.status != 404:
                raise

    def _path(self, kind: str, name: str = "") -> str:
        group, plural = _PATHS[kind]
        path = f"{group}/namespaces/{self._namespace}/{plural}"
        return f"{path}/{name}" if name else path

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = await self._client.param_serialize(
            method,
            path,
            query_params=query,
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._client.call_api(*request, _request_timeout=CALL_SECONDS_MAX)
            answer: Json = json.loads(await response.read())  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ApiRefused(f"{method} {path}", 0, type(error).__name__) from error
        if int(response.status) >= 300:
            raise ApiRefused(f"{method} {path}", int(response.status), answer.get("message", ""))
        return answer


@asynccontextmanager
async def opened(kubeconfig: Path, *, namespace: str) -> AsyncIterator[Api]:
    """The API server of a kubeconfig, as whom that names."""
    path = str(kubeconfig)
    admin = await config.new_client_from_config(config_file=path)  # type: ignore[no-untyped-call]
    try:
        yield Api(admin, namespace=namespace)
    finally:
        await admin.close()
