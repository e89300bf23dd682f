"""Is this a picture? Decoded once, wholly, so that nobody pays for bytes that no one can open.

A file of a few kilobytes can claim to be a hundred thousand pixels wide: its size is read from the
header first, and refused before a pixel is unpacked.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

MIME_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
PIXELS_MAX = 25_000_000
"""A 4K picture of 21:9 has 17 million; unpacked, this many take 100 MB."""


class NotAPicture(ValueError):
    """The bytes are no whole picture of a kind and size that we know."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the bytes themselves say, whatever their sender said of them."""

    mime_type: str
    width: int
    height: int


def inspect(data: bytes) -> Picture:
    """Decode a picture; raises `NotAPicture`. Takes up to a second: call it in a thread."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(MIME_TYPES)) as image:
            _refuse_bomb(*image.size)
            image.load()
            return Picture(MIME_TYPES[str(image.format)], *image.size)
    except NotAPicture:
        raise
    except Exception as error:  # Pillow lets through whatever its decoders stumble over
        problem = f"{len(data)} bytes that do not decode: {type(error).__name__}"
        raise NotAPicture(problem) from error


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > PIXELS_MAX:
        raise NotAPicture(f"{width}×{height} is more than {PIXELS_MAX} pixels")
