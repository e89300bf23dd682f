"""Files that bots and users sent, with Telegram's picture processing.

A photo is recompressed to JPEG in several sizes, as the real service does; a document keeps its
bytes. The store is bounded by number and by bytes: the oldest files go first.
"""

from __future__ import annotations

import asyncio
import io
import mimetypes
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, ImageOps, UnidentifiedImageError

from rei_sandbox.telegram.errors import bad_request
from rei_sandbox.telegram.params import Upload

FILES_MAX: Final = 2000
FILES_BYTES_MAX: Final = 512 * 1024 * 1024
PHOTO_BYTES_MAX: Final = 10 * 1024 * 1024
PHOTO_SIDES_MAX: Final = 10_000
"""Width and height together."""
PHOTO_RATIO_MAX: Final = 20
DOWNLOAD_BYTES_MAX: Final = 20 * 1024 * 1024
PHOTO_SIDES: Final = (90, 320, 800, 1280, 2560)
"""The longest sides of the copies that Telegram keeps of a photo."""
PROCESSING_MAX: Final = 2
"""Photos in work at a time: one of 25 megapixels takes 200 MB."""
FILE_NAME_LENGTH_MAX: Final = 120
_JPEG_QUALITY: Final = 87


@dataclass(frozen=True)
class StoredFile:
    """A file under its file_id; `kind` is `photo` or `document`."""

    file_id: str
    unique_id: str
    kind: str
    path: str
    name: str
    mime_type: str
    data: bytes
    width: int = 0
    height: int = 0

    def info(self) -> dict[str, Any]:
        """The fields that File, PhotoSize and Document share."""
        return {
            "file_id": self.file_id,
            "file_unique_id": self.unique_id,
            "file_size": len(self.data),
        }


class FileStore:
    """The last `FILES_MAX` files, at most `FILES_BYTES_MAX` bytes of them."""

    def __init__(self, *, files_max: int = FILES_MAX, bytes_max: int = FILES_BYTES_MAX) -> None:
        self._files: OrderedDict[str, StoredFile] = OrderedDict()
        self._by_path: dict[str, str] = {}
        self._photos: dict[str, tuple[str, ...]] = {}
        self._files_max = files_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._number = 0
        self._processing = asyncio.Semaphore(PROCESSING_MAX)

    def __len__(self) -> int:
        return len(self._files)

    def get(self, file_id: str) -> StoredFile | None:
        """The file, unless it never was or is gone."""
        return self._files.get(file_id)

    def by_path(self, path: str) -> StoredFile | None:
        """The file that getFile gave this path for."""
        return self._files.get(self._by_path.get(path, ""))

    async def add_photo(self, upload: Upload) -> list[dict[str, Any]]:
        """PhotoSize objects, smallest first; each size is a file of its own."""
        async with self._processing:
            sizes = await asyncio.to_thread(photo_sizes, upload.data)
        files = [
            self._add("photo", "photo.jpg", "image/jpeg", data, width=width, height=height)
            for data, width, height in sizes
        ]
        group = tuple(file.file_id for file in files)
        self._photos.update(dict.fromkeys(group, group))
        return self.photo(group[-1])

    def photo(self, file_id: str) -> list[dict[str, Any]]:
        """The PhotoSize objects of a photo sent before, by the file_id of any of its sizes."""
        return [
            {**file.info(), "width": file.width, "height": file.height}
            for each in self._photos.get(file_id, ())
            if (file := self._files.get(each)) is not None
        ]

    def add_document(self, upload: Upload) -> dict[str, Any]:
        """A Document object; the bytes stay as they are."""
        if not upload.data:
            raise bad_request("file must be non-empty")
        name = _bare(upload.name)
        guessed = mimetypes.guess_type(name)[0] or upload.content_type
        return self.document(self._add("document", name, guessed, upload.data))

    @staticmethod
    def document(file: StoredFile) -> dict[str, Any]:
        """The Document object of a stored file."""
        return {**file.info(), "file_name": file.name, "mime_type": file.mime_type}

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()
        self._by_path.clear()
        self._photos.clear()
        self._bytes = 0

    def _add(
        self, kind: str, name: str, mime_type: str, data: bytes, *, width: int = 0, height: int = 0
    ) -> StoredFile:
        suffix = re.sub(r"[^A-Za-z0-9]", "", name.rpartition(".")[2]) if "." in name else ""
        path = f"{kind}s/file_{self._number}.{suffix or 'bin'}"
        self._number += 1
        prefix = "AgACAgIAAxkBAAI" if kind == "photo" else "BQACAgIAAxkBAAI"
        file = StoredFile(
            file_id=prefix + secrets.token_urlsafe(33),
            unique_id="AQAD" + secrets.token_urlsafe(9),
            kind=kind,
            path=path,
            name=name,
            mime_type=mime_type,
            data=data,
            width=width,
            height=height,
        )
        self._files[file.file_id] = file
        self._by_path[path] = file.file_id
        self._bytes += len(data)
        self._drop_oldest()
        return file

    def _drop_oldest(self) -> None:
        while len(self._files) > self._files_max or (
            self._bytes > self._bytes_max and len(self._files) > 1
        ):
            file_id, file = self._files.popitem(last=False)
            self._by_path.pop(file.path, None)
            self._photos.pop(file_id, None)
            self._bytes -= len(file.data)


def _bare(name: str) -> str:
    """A file name without folders, control characters or excess; its extension stays."""
    last = re.split(r"[/\\\\]", name)[-1]
    clean = "".join(character for character in last if character.isprintable()).strip()
    return clean[-FILE_NAME_LENGTH_MAX:] or "file"


def photo_sizes(data: bytes) -> list[tuple[bytes, int, int]]:
    """JPEG copies as (bytes, width, height), smallest first; CPU-bound, run it in a thread."""
    if not data:
        raise bad_request("file must be non-empty")
    if len(data) > PHOTO_BYTES_MAX:
        raise bad_request(
            f"file of size {len(data)} bytes is too big for a photo; "
            f"the maximum size is {PHOTO_BYTES_MAX} bytes"
        )
    try:
        opened = Image.open(io.BytesIO(data))  # reads no more than the header
        width, height = opened.size
        if (
            width + height > PHOTO_SIDES_MAX
            or max(width, height) > min(width, height) * PHOTO_RATIO_MAX
        ):
            raise bad_request("PHOTO_INVALID_DIMENSIONS")
        original = _flat(ImageOps.exif_transpose(opened))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise bad_request("PHOTO_INVALID_DIMENSIONS") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise bad_request("IMAGE_PROCESS_FAILED") from None
    longest = max(original.size)
    sides = [side for side in PHOTO_SIDES if side < longest]
    sides.append(min(longest, PHOTO_SIDES[-1]))
    return [_jpeg(original, side) for side in dict.fromkeys(sides)]


def _flat(image: Image.Image) -> Image.Image:
    """RGB on white: JPEG has no transparency."""
    if image.mode in {"RGBA", "LA", "PA", "P"}:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _jpeg(image: Image.Image, side: int) -> tuple[bytes, int, int]:
    copy = image.copy()
    copy.thumbnail((side, side))
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue(), copy.width, copy.height
