"""`tools/audit` against an advisory service on loopback that speaks OSV: what it knows is the test's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

ROOT = Path(__file__).parents[3]
ADVISORY = "GHSA-aaaa-bbbb-cccc"
RUN_SECONDS_MAX = 100.0


@dataclass
class Advisories:
    """The service; `known` tells the advisory of a package, and `breaks` how it fails."""

    url: str = ""
    known: dict[str, str] = field(default_factory=dict)
    breaks: str = ""
    asked: set[str] = field(default_factory=set)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        match self.breaks:
            case "hangs":
                await self.gone.wait()
            case "is down":
                return web.Response(status=503)
            case "is behind a proxy that refuses":
                return web.Response(status=403)
            case "talks nonsense":
                return web.Response(text="<html>")
        if request.method == "GET":
            return web.json_response(self._advisory(request.path.rpartition("/")[2]))
        packages = [query["package"]["name"] for query in (await request.json())["queries"]]
        self.asked |= set(packages)
        return web.json_response({"results": [self._of(name) for name in packages]})

    def _of(self, package: str) -> dict[str, Any]:
        if package not in self.known:
            return {}
        return {"vulns": [{"id": self.known[package], "modified": "2026-01-01T00:00:00Z"}]}

    def _advisory(self, advisory: str) -> dict[str, Any]:
        [package] = [name for name, known in self.known.items() if known == advisory]
        events = [{"introduced": "0"}, {"fixed": "999"}]
        return {
            "id": advisory,
            "modified": "2026-01-01T00:00:00Z",
            "published": "2026-01-01T00:00:00Z",
            "summary": "a planted one",
            "affected": [
                {
                    "package": {"ecosystem": "PyPI", "name": package},
                    "ranges": [{"type": "ECOSYSTEM", "events": events}],
                }
            ],
        }


@pytest.fixture
async def service(
    serve: Callable[[web.Application], Awaitable[str]],
) -> AsyncIterator[Advisories]:
    advisories = Advisories()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", advisories.answer)
    advisories.url = await serve(app)
    yield advisories
    advisories.gone.set()


async def audit(url: str, **settings: str) -> tuple[int, str]:
    """The exit code, and all that was said."""
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "tools/audit"),
        "--service-url",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_PROXY": "127.0.0.1", **settings},
    )
    try:
        async with asyncio.timeout(RUN_SECONDS_MAX):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_every_locked_package_is_asked_about_and_none_is_known_to_be_bad(
    service: Advisories,
) -> None:
    status, said = await audit(service.url)
    assert status == 0, said
    assert "no known vulnerabilities" in said
    assert {"aiogram", "asyncpg", "yookassa", "pydantic", "pytest"} <= service.asked


async def test_a_known_vulnerability_fails_and_is_named(service: Advisories) -> None:
    service.known["yookassa"] = ADVISORY
    status, said = await audit(service.url)
    assert status == 1, said
    assert ADVISORY in said
    assert "yookassa" in said


async def test_one_that_was_looked_into_is_passed_over_and_no_other(
    service: Advisories, tmp_path: Path
) -> None:
    ignored = tmp_path / "ignored"
    ignored.write_text(f"# why\n\n{ADVISORY}  2026-11-24  we never parse any\n")
    service.known["yookassa"] = ADVISORY
    status, said = await audit(service.url, AUDIT_IGNORED=str(ignored))
    assert status == 0, said
    service.known["aiohttp"] = "GHSA-dddd-eeee-ffff"
    status, said = await audit(service.url, AUDIT_IGNORED=str(ignored))
    assert status == 1, said
    assert "aiohttp" in said
    assert ADVISORY not in said


@pytest.mark.parametrize("line", [ADVISORY, f"{ADVISORY} later why", f"{ADVISORY} 2026-11-24"])
async def test_nothing_is_passed_over_without_a_date_and_a_reason(
    service: Advisories, tmp_path: Path, line: str
) -> None:
    ignored = tmp_path / "ignored"
    ignored.write_text(f"{line}\n")
    status, said = await audit(service.url, AUDIT_IGNORED=str(ignored))
    assert status == 2, said
    assert ADVISORY in said
    assert service.asked == set()


@pytest.mark.parametrize("breaks", ["hangs", "is down", "is behind a proxy that refuses"])
async def test_without_the_service_it_says_so_on_one_line_and_claims_nothing(
    service: Advisories, breaks: str
) -> None:
    service.breaks = breaks
    status, said = await audit(service.url, AUDIT_SECONDS_MAX="5" if breaks == "hangs" else "90")
    assert status == 0, said
    [line] = said.splitlines()
    assert line.startswith("audit: NOT AUDITED")


async def test_with_nobody_there_it_says_so_too() -> None:
    status, said = await audit("http://127.0.0.1:9")
    assert status == 0, said
    assert said.startswith("audit: NOT AUDITED")


async def test_an_answer_that_is_none_is_a_failure(service: Advisories) -> None:
    """It might be hiding something: only silence is passed over."""
    service.breaks = "talks nonsense"
    status, said = await audit(service.url)
    assert status not in {0, 1}, said
