"""The API server, over kubernetes.aio: few verbs, JSON in and out, every call bounded in time.

    ClusterError              the API server did not do what it was asked to
    ├── ObjectGone                there is no such object (any more)
    ├── ObjectChanged             somebody else has written it since it was read: read it again
    └── ClusterDenied             RBAC, or admission, says no; trying again is of no use for now

The models of kubernetes.aio are not used: they are slow to build, drop what a newer server adds,
and know nothing of our kinds.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any, Protocol

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.config.config_exception import ConfigException

from rei_core.errors import ConfigurationError, ReiError
from rei_core.logs import masked_text
from rei_core.maintenance.resources import GROUP, KINDS, VERSION

Json = dict[str, Any]

CALL_SECONDS_MAX = 30.0
PAGE = 500
PAGES_MAX = 1000
SAID_CHARS_MAX = 300
MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML too
FIELD_MANAGER = "rei-release"

_PATHS = {
    **{kind: (f"/apis/{GROUP}/{VERSION}", cls.names.plural) for kind, cls in KINDS.items()},
    "Job": ("/apis/batch/v1", "jobs"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Event": ("/api/v1", "events"),
    "Pod": ("/api/v1", "pods"),
    "ConfigMap": ("/api/v1", "configmaps"),
}


class ClusterError(ReiError):
    """The API server did not do what it was asked to."""

    def __init__(self, operation: str, said: str, *, http_status: int | None = None) -> None:
        self.operation = operation
        self.said = said
        self.http_status = http_status
        super().__init__(f"the API server: {operation}: {said}")


class ObjectGone(ClusterError):
    """There is no such object."""


class ObjectChanged(ClusterError):
    """The object was written since it was read, or exists already."""


class ClusterDenied(ClusterError):
    """Not allowed."""


class Cluster(Protocol):
    """What the operator asks of an API server."""

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        """An object; raises `ObjectGone`."""
        ...

    async def every(self, kind: str, namespace: str | None) -> list[Json]:
        """All objects of a kind, all of them or an error."""
        ...

    async def labelled(self, kind: str, namespace: str, selector: str) -> list[Json]:
        """The metadata, and no more, of the objects that a label selector fits; perhaps not of this
        very moment."""
        ...

    async def create(self, manifest: Json) -> Json:
        """Make an object; raises `ObjectChanged` if there is one of its name."""
        ...

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and what it owns; one that is not there is no error."""
        ...

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Json, *, subresource: str = ""
    ) -> Json:
        """Change an object by a merge patch; raises `ObjectGone`, `ObjectChanged`."""
        ...


class KubernetesCluster:
    """A `Cluster` on kubernetes.aio."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    async def aclose(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        return await self._call("GET", _path(kind, namespace, name))

    async def every(self, kind: str, namespace: str | None) -> list[Json]:
        return [one async for one in self._pages(kind, namespace)]

    async def labelled(self, kind: str, namespace: str, selector: str) -> list[Json]:
        # Version 0: out of the API server's memory, in one answer; etcd is not asked.
        query = [("labelSelector", selector), ("resourceVersion", "0")]
        page = await self._call("GET", _path(kind, namespace), query=query, accept=METADATA_ONLY)
        return list(page.get("items") or ())

    async def create(self, manifest: Json) -> Json:
        path = _path(manifest["kind"], manifest["metadata"]["namespace"])
        return await self._call("POST", path, body=manifest)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            await self._call("DELETE", _path(kind, namespace, name), body=options)
        except ObjectGone:
            return

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Json, *, subresource: str = ""
    ) -> Json:
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._call("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def apply(self, manifest: Json) -> Json:
        """Make the object, or make it so again, by a server-side apply: what it does not name is
        left alone, and what somebody else has set otherwise is set back."""
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata["namespace"], metadata["name"])
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._call("PATCH", path, body=manifest, query=query, content_type=APPLY_PATCH)

    async def _pages(self, kind: str, namespace: str | None) -> AsyncIterator[Json]:
        query = [("limit", str(PAGE))]
        for _ in range(PAGES_MAX):
            page = await self._call("GET", _path(kind, namespace), query=query)
            api_version = page.get("apiVersion")
            for one in page.get("items") or ():
                yield {"kind": kind, "apiVersion": api_version, **one}
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query = [("limit", str(PAGE)), ("continue", token)]
        raise ClusterError(f"list {kind}", f"more than {PAGES_MAX * PAGE} objects")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        operation = f"{method} {path}"
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                request = await self._api.param_serialize(
                    method,
                    path,
                    query_params=query,
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await self._api.call_api(*request, _request_timeout=CALL_SECONDS_MAX)
                data = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, client.ApiException, OSError, TimeoutError) as error:
            # From None: requests and their headers hold the token.
            raise ClusterError(operation, type(error).__name__) from None
        return _answer(operation, int(response.status), data)


def _answer(operation: str, status: int, data: bytes) -> Json:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if 200 <= status < 300 and isinstance(answer, dict):
        return answer
    said = answer.get("message", "") if isinstance(answer, dict) else ""
    text = masked_text(str(said))[:SAID_CHARS_MAX] or f"HTTP {status}"
    kind = {404: ObjectGone, 409: ObjectChanged, 403: ClusterDenied, 401: ClusterDenied}
    raise kind.get(status, ClusterError)(operation, text, http_status=status)


def _path(kind: str, namespace: str | None, name: str = "") -> str:
    group, plural = _PATHS[kind]
    path = f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"
    return f"{path}/{name}" if name else path


async def connect() -> KubernetesCluster:
    """The cluster that the pod runs in, else the one of the kubeconfig; raises
    `ConfigurationError`."""
    configuration = client.Configuration()
    try:
        await _load(configuration)
    except (ConfigException, OSError) as error:
        raise ConfigurationError(
            "KUBECONFIG",
            f"no cluster is known ({type(error).__name__})",
            "Run this in a pod, or set KUBECONFIG",
        ) from None
    return KubernetesCluster(client.ApiClient(configuration))


async def _load(configuration: client.Configuration) -> None:
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration
        )
