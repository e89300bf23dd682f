"""Is this a picture? What a provider made is decoded once, wholly, so that nobody pays for bytes that
no one can open. Of what a customer sent the header is read: the provider decodes it.

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
INPUT_MIME_TYPES = MIME_TYPES | {"MPO": "image/jpeg"}
"""Phones put more than one picture into a JPEG (MPO); the first is what everybody shows."""
INPUT_PIXELS_MAX = 80_000_000
"""Of a customer's photo; phones make them of 50 million."""


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
            _refuse_bomb(*image.size, pixels_max=PIXELS_MAX)
            image.load()
            return Picture(MIME_TYPES[str(image.format)], *image.size)
    except NotAPicture:
        raise
    except Exception as error:  # Pillow lets through whatever its decoders stumble over
        raise _undecodable(data, error) from error


def recognise(data: bytes) -> str:
    """The MIME type of a customer's photo by its header, whatever anybody called it.

    Raises `NotAPicture`. No pixel is unpacked, but a header may be long: call it in a thread.
    """
    try:
        with Image.open(io.BytesIO(data), formats=tuple(MIME_TYPES)) as image:
            _refuse_bomb(*image.size, pixels_max=INPUT_PIXELS_MAX)
            return INPUT_MIME_TYPES[str(image.format)]
    except NotAPicture:
        raise
    except Exception as error:
        raise _undecodable(data, error) from error


def _undecodable(data: bytes, error: Exception) -> NotAPicture:
    return NotAPicture(f"{len(data)} bytes that do not decode: {type(error).__name__}")


def _refuse_bomb(width: int, height: int, *, pixels_max: int) -> None:
    if width * height > pixels_max:
        raise NotAPicture(f"{width}×{height} is more than {pixels_max} pixels")
