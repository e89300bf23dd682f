"""What a message is made of, read from a call's parameters and checked as Telegram checks it."""

from __future__ import annotations

from typing import Any, Final

from rei_sandbox.telegram import entities, markup
from rei_sandbox.telegram.errors import bad_request
from rei_sandbox.telegram.files import FileStore
from rei_sandbox.telegram.model import CAPTION_UNITS_MAX, TEXT_UNITS_MAX, Chat, Json
from rei_sandbox.telegram.params import Params, Upload

SOURCE_LENGTH_MAX: Final = 32 * 1024
"""Of a text with its markup; nobody shall make the parser read megabytes."""
PREVIEW_SWITCHES: Final = (
    "is_disabled",
    "prefer_small_media",
    "prefer_large_media",
    "show_above_text",
)
MEDIA: Final = ("photo", "document")
"""The kinds of files the stand-in knows."""


def text(params: Params, *, too_long: str = "message is too long") -> Json:
    """`text` and `entities` of a message."""
    plain, found = _formatted(params, "text", "entities", too_long=too_long)
    if not plain:
        raise bad_request("message text is empty")
    if entities.units(plain) > TEXT_UNITS_MAX:
        raise bad_request(too_long)
    content: Json = {"text": plain}
    if found:
        content["entities"] = found
    preview = _preview(params)
    return {**content, "link_preview_options": preview} if preview else content


def caption(params: Params) -> Json:
    """`caption` and `caption_entities`; nothing of them when there is none."""
    too_long = "message caption is too long"
    plain, found = _formatted(params, "caption", "caption_entities", too_long=too_long)
    if entities.units(plain) > CAPTION_UNITS_MAX:
        raise bad_request(too_long)
    if not plain:
        return {}
    return {"caption": plain, **({"caption_entities": found} if found else {})}


async def media(files: FileStore, kind: str, source: Upload | str | None) -> Json:
    """`photo` or `document`: a new upload, or a file that is known by its file_id."""
    if source is None:
        raise bad_request(f"there is no {kind} in the request")
    if isinstance(source, Upload):
        if kind == "photo":
            return {"photo": await files.add_photo(source)}
        return {"document": files.add_document(source)}
    if source.startswith(("http://", "https://")):
        raise bad_request("failed to get HTTP URL content")  # the sandbox fetches nothing
    file = files.get(source)
    if file is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    if file.kind != kind:
        raise bad_request(f"can't use file of type {file.kind.title()} as {kind.title()}")
    return {"photo": files.photo(source)} if kind == "photo" else {"document": files.document(file)}


def item(params: Params, value: Any) -> tuple[str, Upload | str, Params]:
    """An InputMedia: its kind, its file, and the parameters of its caption."""
    if not isinstance(value, dict):
        raise bad_request("can't parse InputMedia: expected an Object")
    kind = value.get("type")
    if kind not in MEDIA:
        raise bad_request(f'can\'t parse InputMedia: type "{kind}" is unsupported')
    named = value.get("media")
    if not isinstance(named, str) or not named:
        raise bad_request("can't parse InputMedia: media not found")
    return str(kind), params.attached(named), Params(value, {})


def reply_markup(params: Params) -> Json | None:
    """The keyboard of a call, inline or not."""
    return markup.check(params.json("reply_markup"))


def options(params: Params, chat: Chat) -> Json:
    """What a message may carry beside its content."""
    extra: Json = {}
    if params.boolean("protect_content"):
        extra["has_protected_content"] = True
    answered = _answered(params, chat)
    if answered is not None:
        extra["reply_to_message"] = {
            name: value for name, value in answered.items() if name != "reply_to_message"
        }
    return extra


def _preview(params: Params) -> Json:
    """The switches of LinkPreviewOptions that are on."""
    given = params.json("link_preview_options")
    asked = Params(given if isinstance(given, dict) else {}, {})
    return {name: True for name in PREVIEW_SWITCHES if asked.boolean(name)}


def _answered(params: Params, chat: Chat) -> Json | None:
    """The message that this one replies to."""
    given = params.json("reply_parameters")
    reply = Params(given if isinstance(given, dict) else {}, {})
    message_id = reply.integer("message_id") or params.integer("reply_to_message_id")
    if message_id is None:
        return None
    found = chat.messages.get(message_id)
    lenient = reply.boolean("allow_sending_without_reply")
    if found is None and not lenient and not params.boolean("allow_sending_without_reply"):
        raise bad_request("message to be replied not found")
    return found


def _formatted(
    params: Params, name: str, entities_name: str, *, too_long: str
) -> tuple[str, list[entities.Entity]]:
    source = params.text(name)
    if len(source) > SOURCE_LENGTH_MAX:
        raise bad_request(too_long)
    return entities.parse(source, params.text("parse_mode"), params.objects(entities_name))
