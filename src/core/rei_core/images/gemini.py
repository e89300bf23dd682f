"""Gemini's image models over HTTP, behind `ImageProvider`.

One call, one try: the worker repeats jobs, and only it knows whether that makes sense. A call is
bounded in time and in bytes, and its picture is unpacked in threads of our own, few enough that
a burst of 4K pictures does not fill the memory. Whether a call that timed out was billed, nobody
knows; there is no idempotency key. The key travels in a header and shows in no error.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx

from rei_core.errors import ConfigurationError, FailureClass, ImageProviderError
from rei_core.http import ACCEPT_ENCODING, checked_url, read_body, without_secret
from rei_core.images import gemini_answers
from rei_core.images.port import GeneratedImage, ImageRequest
from rei_core.logs import MASK

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""A 4K PNG in base64 takes about 30 MB; thoughts may hold drafts of it."""
REFUSAL_BYTES_MAX = 64 * 1024
PROBE_SECONDS_MAX = 15.0
CONNECT_SECONDS_MAX = 10.0
DECODERS_MAX = 2
POOLS = 32
"""httpx looks at every connection of a pool whenever a call begins or ends: with a thousand in one
pool the event loop stands still for seconds (docs/benchmarks.md). Calls take turns at the pools."""
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=30)
"""Of a pool. Together more than the 2,000 jobs that a worker may run at a time."""


class GeminiClient:
    """An `ImageProvider`. Raises `ConfigurationError` for a key or an address that cannot be."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        timeout_seconds: float = 180,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._api_key = _sound_key(api_key)
        self._models_url = f"{checked_url(base_url, setting='GEMINI_BASE_URL')}/v1beta/models"
        self._timeout_seconds = timeout_seconds
        tls = httpx.create_ssl_context()
        self._clients = [
            httpx.AsyncClient(
                headers={"x-goog-api-key": api_key, "accept-encoding": ACCEPT_ENCODING},
                timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS_MAX),
                limits=LIMITS,
                verify=tls,
                transport=transport,
            )
            for _ in range(POOLS)
        ]
        self._turns = itertools.cycle(self._clients)
        self._decoders = ThreadPoolExecutor(DECODERS_MAX, thread_name_prefix="gemini-decode")

    async def generate(self, request: ImageRequest) -> GeneratedImage:
        """Make one picture."""
        url = f"{self._url(request.model)}:generateContent"
        # Photos take a while to encode; without them a thread costs more than the work.
        content = (
            await asyncio.to_thread(request_body, request)
            if request.inputs
            else request_body(request)
        )
        body = await self._call("POST", url, content, seconds_max=self._timeout_seconds)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._decoders, gemini_answers.picture, body)
        except ImageProviderError as error:
            raise self._masked(error) from None

    async def probe(self, model: str) -> None:
        """Ask for the model's description, which costs nothing; raise as `generate` would."""
        seconds_max = min(self._timeout_seconds, PROBE_SECONDS_MAX)
        body = await self._call("GET", self._url(model), None, seconds_max=seconds_max)
        gemini_answers.model_name(body)

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def _url(self, model: str) -> str:
        return f"{self._models_url}/{quote(model, safe='')}"

    async def _call(
        self, method: str, url: str, content: bytes | None, *, seconds_max: float
    ) -> bytearray:
        """The body of an answer with HTTP 200; raises for every other one."""
        try:
            async with asyncio.timeout(seconds_max):
                return await self._exchange(method, url, content)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ImageProviderError(
                FailureClass.RETRY_LATER, "timeout", f"{type(error).__name__} in {seconds_max:g} s"
            ) from error
        except httpx.DecodingError as error:
            raise gemini_answers.bad_answer("its compression is broken") from error
        except (httpx.HTTPError, OSError) as error:
            detail = f"{type(error).__name__}: {error}"
            unavailable = ImageProviderError(FailureClass.RETRY_LATER, "unavailable", detail)
            raise self._masked(unavailable) from error

    async def _exchange(self, method: str, url: str, content: bytes | None) -> bytearray:
        headers = {"content-type": "application/json"} if content is not None else None
        client = next(self._turns)
        async with client.stream(method, url, content=content, headers=headers) as response:
            status = response.status_code
            if status == httpx.codes.OK:
                body, whole = await read_body(response, bytes_max=ANSWER_BYTES_MAX)
                if not whole:
                    raise gemini_answers.bad_answer("too large", http_status=status)
                return body
            body, _ = await read_body(response, bytes_max=REFUSAL_BYTES_MAX)
            wish = response.headers.get("retry-after", "")
        raise self._masked(gemini_answers.refusal(status, body, retry_after=wish))

    def _masked(self, error: ImageProviderError) -> ImageProviderError:
        """The same error; a server that repeats our key to us does not get it into our logs."""
        return ImageProviderError(
            error.failure,
            error.code,
            without_secret(error.detail, self._api_key, mask=MASK),
            retry_after_seconds=error.retry_after_seconds,
            http_status=error.http_status,
        )


def request_body(request: ImageRequest) -> bytes:
    """The JSON of `generateContent`; with photos it takes a while: call it in a thread."""
    parts: list[dict[str, Any]] = [{"text": request.prompt}]
    for image in request.inputs:
        data = base64.b64encode(image.data).decode("ascii")
        parts.append({"inlineData": {"mimeType": image.mime_type, "data": data}})
    shape = {"aspectRatio": request.aspect_ratio}
    if request.image_size != "1K":  # what every model draws by default; 2.5 knows no sizes
        shape["imageSize"] = request.image_size
    body = {
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": shape},
    }
    return json.dumps(body).encode("ascii")


def _sound_key(api_key: str) -> str:
    # httpx would refuse such a header later, in an error that shows it.
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigurationError(
            "GEMINI_API_KEY",
            "is empty or holds characters that no key has",
            "Copy the key again, without spaces or line breaks around it",
        )
    return api_key
