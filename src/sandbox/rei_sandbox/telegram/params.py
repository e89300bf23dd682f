"""Parameters of a Bot API call, however the client encoded them.

JSON, urlencoded, query string and multipart all end up in one `Params`. Multipart is read as a
stream against a limit of our own, because the application's `client_max_size` is meant for JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from rei_sandbox.telegram.errors import BotApiError, bad_request

UPLOAD_BYTES_MAX: Final = 50 * 1024 * 1024
"""All parts of a request together; the real limit is for one file."""
PARTS_MAX: Final = 100
_CHUNK_BYTES: Final = 256 * 1024
_JSON_NAMES: Final = {"reply_markup": "reply keyboard markup"}
"""What Telegram calls a parameter when it cannot read it."""
_INTEGER: Final = re.compile(r"\s*[+-]?\d{1,19}\s*")


@dataclass(frozen=True)
class Upload:
    """One file of a multipart body."""

    field: str
    name: str
    content_type: str
    data: bytes


class Params:
    """Named parameters with the Bot API's loose types: numbers and objects may be strings."""

    def __init__(self, values: Mapping[str, Any], uploads: Mapping[str, Upload]) -> None:
        self.values = values
        self.uploads = uploads

    def text(self, name: str, default: str = "") -> str:
        """The text; numbers and objects as they would stand in a form."""
        value = self.values.get(name)
        if value is None:
            return default
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def integer(self, name: str) -> int | None:
        """The number, or None when it was not given."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not _INTEGER.fullmatch(str(value)):  # neither "1.5" nor "True" is one
            raise bad_request(f'parameter "{name}" must be an Integer')
        return int(value)

    def chat_id(self) -> int:
        """Whom the call is about; what is no number names no chat that we have."""
        value = self.text("chat_id")
        if not value:
            raise bad_request("chat_id is empty")
        if not _INTEGER.fullmatch(value):
            raise bad_request("chat not found")
        return int(value)

    def boolean(self, name: str) -> bool:
        """False unless it clearly says yes."""
        return str(self.values.get(name, "")).lower() in {"true", "1", "yes"}

    def json(self, name: str) -> Any:
        """The decoded value, or None when it was not given.

        In a form it is text; in a JSON body it may be either.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            return value
        try:
            return _decoded(value)
        except (ValueError, RecursionError):
            raise bad_request(f"can't parse {_JSON_NAMES.get(name, name)} JSON object") from None

    def objects(self, name: str) -> list[dict[str, Any]] | None:
        """A list of objects, or None when it was not given."""
        value = self.json(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise bad_request(f"can't parse {_JSON_NAMES.get(name, name)}: expected an Array")
        return value

    def file(self, name: str) -> Upload | str | None:
        """An uploaded file, directly or by `attach://`; or a file_id or address as text."""
        if name in self.uploads:
            return self.uploads[name]
        value = self.text(name)
        return self.attached(value) if value else None

    def attached(self, value: str) -> Upload | str:
        """Follow an `attach://` reference; other texts stay as they are."""
        if not value.startswith("attach://"):
            return value
        upload = self.uploads.get(value.removeprefix("attach://"))
        if upload is None:
            raise bad_request("file attachment not found")
        return upload


async def read_params(request: web.Request) -> Params:
    """Read any of the encodings; 413 when the body is too large."""
    values: dict[str, Any] = dict(request.query)
    uploads: dict[str, Upload] = {}
    if request.content_type == "application/json":
        values |= await read_json_object(request)
    elif request.content_type.startswith("multipart/"):
        fields, files = await read_multipart(await _multipart(request))
        values |= fields
        uploads = {upload.field: upload for upload in files}
    elif request.content_type == "application/x-www-form-urlencoded":
        values |= await _form(request)
    return Params(values, uploads)


async def read_upload(request: web.Request) -> tuple[dict[str, str], list[Upload]]:
    """Fields and files of a request that has to be multipart."""
    if not request.content_type.startswith("multipart/"):
        raise bad_request("multipart/form-data is wanted")
    return await read_multipart(await _multipart(request))


async def read_multipart(reader: MultipartReader) -> tuple[dict[str, str], list[Upload]]:
    """Fields and files of a multipart body, within `UPLOAD_BYTES_MAX`."""
    fields: dict[str, str] = {}
    uploads: list[Upload] = []
    bytes_left = UPLOAD_BYTES_MAX
    try:
        async for part in reader:
            if not isinstance(part, BodyPartReader) or len(fields) + len(uploads) >= PARTS_MAX:
                raise bad_request("can't parse multipart body")
            data = await _read_part(part, bytes_max=bytes_left)
            bytes_left -= len(data)
            if part.filename is None:
                fields[part.name or ""] = data.decode(errors="replace")
            else:
                kind = part.headers.get("Content-Type", "application/octet-stream")
                uploads.append(Upload(part.name or "", part.filename, kind, data))
    except (ValueError, AssertionError, BadHttpMessage):  # aiohttp's ways of saying: malformed
        raise bad_request("can't parse multipart body") from None
    return fields, uploads


async def _multipart(request: web.Request) -> MultipartReader:
    try:
        return await request.multipart()
    except (ValueError, AssertionError):
        raise bad_request("can't parse multipart body") from None


async def _read_part(part: BodyPartReader, *, bytes_max: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        data += chunk
        if len(data) > bytes_max:
            raise BotApiError(413, "Request Entity Too Large")
    return bytes(data)


async def _form(request: web.Request) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in (await request.post()).items()}
    except ValueError:
        raise bad_request("strings must be encoded in UTF-8") from None


async def read_json_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty one is an empty object."""
    body = await request.read()
    try:
        value = _decoded((body or b"{}").decode())
    except (ValueError, RecursionError):
        raise bad_request("can't parse JSON encoded request") from None
    if not isinstance(value, dict):
        raise bad_request("can't parse JSON encoded request")
    return value


def _decoded(text: str) -> Any:
    """JSON; raises `ValueError` for what is none, and refuses half a surrogate pair."""
    value = json.loads(text)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    return value
