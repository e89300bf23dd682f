"""Looks for secrets in whatever was written anywhere, in every form they are likely to take.

A search for the bare text alone would miss an `Authorization: Basic` header, a URL in an error and a
`bytea` column. Base64 depends on what stands before the secret, so all three alignments are sought.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

EXCERPT_BYTES = 60


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that was found; the excerpt is what stands before it, never the secret."""

    source: str
    secret: str
    form: str
    before: str


def leaks(sources: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[Leak]:
    """Every secret in every source, by its names; an empty list is what is wanted."""
    needles = [
        (name, form, sought)
        for name, secret in secrets.items()
        for form, sought in forms(secret).items()
    ]
    found = []
    for source, content in sources.items():
        for name, form, sought in needles:
            place = content.find(sought)
            if place >= 0:
                before = content[max(0, place - EXCERPT_BYTES) : place]
                found.append(Leak(source, name, form, before.decode(errors="replace")))
    return found


def forms(secret: str) -> dict[str, bytes]:
    """How a secret looks in plain text, a URL, JSON, hex, and base64 at each alignment."""
    raw = secret.encode()
    found = {
        "plain": raw,
        "quoted": quote(secret, safe="").encode(),
        "quoted as a form": quote_plus(secret).encode(),
        "JSON": json.dumps(secret)[1:-1].encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
    }
    for shift in range(3):
        inner = _base64_inner(raw, shift)
        found[f"base64 after {shift}"] = inner
        found[f"URL-safe base64 after {shift}"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def _base64_inner(raw: bytes, shift: int) -> bytes:
    """The letters that are the same whatever stands before (`shift` bytes, modulo 3) and behind."""
    encoded = base64.b64encode(bytes(shift) + raw)
    return encoded[math.ceil(8 * shift / 6) : 8 * (shift + len(raw)) // 6]
