"""A small S3 on loopback: objects, listings and the errors that a lost bucket makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import md5
from xml.sax.saxutils import escape

from aiohttp import web

from rei_core.maintenance.backups.storage import StorageLocation

KEY, SECRET, BUCKET = "AKIDTEST", "s3-secret-never-shown", "rei-backups"
DATE = "2026-11-24T12:00:00.000Z"


@dataclass
class SmallS3:
    """What the service holds. `failing` is an HTTP status that every request is answered with."""

    url: str = ""
    buckets: dict[str, dict[str, bytes]] = field(default_factory=lambda: {BUCKET: {}})
    failing: int | None = None
    asked: int = 0

    @property
    def objects(self) -> dict[str, bytes]:
        return self.buckets[BUCKET]

    def location(self, *, secret: str = SECRET, key: str = KEY) -> StorageLocation:
        options = {
            "endpoint": self.url,
            "region": "us-east-1",
            "access_key_id": key,
            "secret_access_key": secret,
        }
        return StorageLocation(f"s3://{BUCKET}/rei", options, retry_seconds=0.5)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.failing is not None:
            return web.Response(status=self.failing)
        if f"Credential={KEY}/" not in request.headers.get("Authorization", ""):
            return _error(403, "InvalidAccessKeyId", "The key does not exist in our records.")
        bucket, _, path = request.match_info["path"].partition("/")
        if bucket not in self.buckets:
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        return await _done(self.buckets[bucket], path, request)


async def _done(objects: dict[str, bytes], path: str, request: web.Request) -> web.Response:
    """What was asked for, done to a bucket that is there."""
    if request.method == "PUT":
        objects[path] = await request.read()
        return web.Response(headers={"ETag": _tag(objects[path])})
    if request.method == "DELETE":
        objects.pop(path, None)
        return web.Response(status=204)
    if not path:
        return _listing(objects, request)
    if path not in objects:
        return _error(404, "NoSuchKey", "The specified key does not exist.")
    headers = {"ETag": _tag(objects[path]), "Last-Modified": "Tue, 24 Nov 2026 12:00:00 GMT"}
    return web.Response(body=objects[path], headers=headers)


def _listing(objects: dict[str, bytes], request: web.Request) -> web.Response:
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    entries, folders = [], set()
    for path in sorted(objects):
        if not path.startswith(prefix):
            continue
        rest = path.removeprefix(prefix)
        if delimiter and delimiter in rest:
            folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            continue
        entries.append(
            f"<Contents><Key>{escape(path)}</Key><LastModified>{DATE}</LastModified>"
            f"<ETag>{escape(_tag(objects[path]))}</ETag><Size>{len(objects[path])}</Size></Contents>"
        )
    entries += [f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders]
    body = (
        f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(entries)}</ListBucketResult>"
    )
    return web.Response(text=body, content_type="application/xml")


def _error(status: int, code: str, message: str) -> web.Response:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


def _tag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


@asynccontextmanager
async def small_s3() -> AsyncIterator[SmallS3]:
    service = SmallS3()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
