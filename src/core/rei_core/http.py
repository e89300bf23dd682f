"""What the clients of foreign HTTP services have in common: bounded reading, and no trust in types."""

from __future__ import annotations

import json
from typing import Any

import httpx

from rei_core.errors import ConfigurationError

Json = dict[str, Any]


def checked_url(base_url: str, *, setting: str) -> str:
    """The address without a slash at its end; raises `ConfigurationError` for what is none."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            setting, "is no address", "It looks like https://host or https://host/path"
        )
    return base_url.rstrip("/")


async def read_body(response: httpx.Response, *, bytes_max: int) -> tuple[bytes, bool]:
    """(the body of a streamed answer, up to `bytes_max`; whether that is all of it)"""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > bytes_max:
            return bytes(body[:bytes_max]), False
    return bytes(body), True


def object_of(body: bytes) -> Json | None:
    """The JSON object in a body; None if there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def dict_of(value: Any) -> Json:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """The value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def without_secret(text: str, secret: str, *, mask: str) -> str:
    """The text with the secret masked, also where the text's end has cut it."""
    masked = text.replace(secret, mask) if secret else text
    for length in range(len(secret) - 1, 3, -1):
        if masked.endswith(secret[:length]):
            return masked[:-length] + mask
    return masked
