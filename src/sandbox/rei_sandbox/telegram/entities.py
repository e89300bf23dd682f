"""Formatted text: HTML as Telegram understands it, turned into plain text and entities.

Offsets and lengths count UTF-16 code units, as the Bot API does. What Telegram cannot parse is
refused with its own words, so a forgotten `html.escape` shows here and not in production.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any, Final

from rei_sandbox.telegram.errors import bad_request

_KINDS: Final = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline",
    "ins": "underline", "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough",
    "code": "code", "pre": "pre", "a": "text_link", "blockquote": "blockquote",
    "tg-spoiler": "spoiler", "span": "spoiler", "tg-emoji": "custom_emoji",
}  # fmt: skip
_TAG: Final = re.compile(
    r"<(?P<close>/?)(?P<name>[a-zA-Z][a-zA-Z0-9-]*)(?P<attributes>(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>"
)
_ATTRIBUTE: Final = re.compile(r"([\w-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+)))?")
_CHARACTER: Final = re.compile(r"&(?:lt|gt|amp|quot|#\d+|#x[0-9a-fA-F]+);")
_FOUND: Final = re.compile(
    r"(?P<url>https?://[^\s<>\"]+[^\s<>\".,;:!?)])"
    r"|(?<![\w/])(?P<bot_command>/[A-Za-z0-9_]{1,32}(?:@\w+)?)(?![\w/])"
    r"|(?<![\w@])(?P<mention>@[A-Za-z]\w{3,31})"
)

ENTITIES_MAX: Final = 100
"""Telegram drops the rest."""
ENTITY_VALUE_LENGTH_MAX: Final = 2048
_FIELDS: Final = ("type", "offset", "length", "url", "language", "custom_emoji_id")
_CLOSED: Final = {"code", "pre", "text_link", "text_mention", "custom_emoji"}
"""Kinds within which nothing more is found."""

Entity = dict[str, Any]


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def parse(
    text: str, parse_mode: str, given: list[Entity] | None = None
) -> tuple[str, list[Entity]]:
    """Plain text and its entities; given entities are read only without a `parse_mode`.

    Links, commands and mentions are found by themselves. Markdown is refused although the real
    service knows it: nobody shall believe that it was tried out here.
    """
    mode = parse_mode.lower()
    if mode in {"markdown", "markdownv2"}:
        raise bad_request("can't parse entities: the sandbox reads no Markdown, only HTML")
    if mode not in {"", "html"}:
        raise bad_request("unsupported parse_mode")
    plain, entities = parse_html(text) if mode else (text, _given(text, given or []))
    plain, entities = _strip(plain, entities)
    entities += _found(plain, entities)
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return plain, entities[:ENTITIES_MAX]


def _given(text: str, given: list[Entity]) -> list[Entity]:
    """Entities that came as such, checked against the text."""
    end = units(text)
    for entity in given[:ENTITIES_MAX]:
        for name in ("offset", "length"):
            value = entity.get(name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise bad_request(
                    f'can\'t parse MessageEntity: Field "{name}" must be of type Number'
                )
        if not isinstance(entity.get("type"), str):
            raise bad_request("can't parse MessageEntity: Can't find field \"type\"")
        if entity["offset"] < 0 or entity["offset"] + entity["length"] > end:
            raise bad_request(
                f"entity beginning at UTF-16 offset {entity['offset']} ends after the end "
                f"of the text at UTF-16 offset {end}"
            )
    return [
        {name: _short(entity[name]) for name in _FIELDS if name in entity}
        for entity in given[:ENTITIES_MAX]
        if entity["length"] > 0
    ]


def _short(value: Any) -> Any:
    return value if isinstance(value, int) else str(value)[:ENTITY_VALUE_LENGTH_MAX]


@dataclass
class _Open:
    name: str
    offset: int
    attributes: dict[str, str]
    extra: Entity = field(default_factory=dict)


def parse_html(source: str) -> tuple[str, list[Entity]]:
    """Parse Telegram's HTML; raises `can't parse entities` with its reason."""
    parts: list[str] = []
    entities: list[Entity] = []
    stack: list[_Open] = []
    position = offset = 0
    while position < len(source):
        if source[position] == "<":
            match = _TAG.match(source, position)
            if match is None:
                raise _cannot_parse(source, position, 'Unsupported start tag ""')
            if match["close"]:
                _close(source, match, stack, offset, entities)
            else:
                stack.append(_open(source, match, offset))
            position = match.end()
            continue
        character = _CHARACTER.match(source, position)
        piece = html.unescape(character[0]) if character else source[position]
        position = character.end() if character else position + 1
        parts.append(piece)
        offset += units(piece)
    if stack:
        raise bad_request(
            "can't parse entities: Can't find end tag corresponding to start tag "
            f'"{stack[-1].name}"'
        )
    return "".join(parts), entities


def _open(source: str, match: re.Match[str], offset: int) -> _Open:
    name = match["name"].lower()
    attributes = {
        found[1].lower(): html.unescape(found[2] or found[3] or found[4] or "")
        for found in _ATTRIBUTE.finditer(match["attributes"])
    }
    if name not in _KINDS or (name == "span" and attributes.get("class") != "tg-spoiler"):
        raise _cannot_parse(source, match.start(), f'Unsupported start tag "{name}"')
    return _Open(name, offset, attributes)


def _close(
    source: str, match: re.Match[str], stack: list[_Open], offset: int, entities: list[Entity]
) -> None:
    name = match["name"].lower()
    if not stack:
        raise _cannot_parse(source, match.start(), "Unexpected end tag")
    tag = stack.pop()
    if tag.name != name:
        at = len(source[: match.start()].encode())
        raise bad_request(
            f"can't parse entities: Unmatched end tag at byte offset {at}, "
            f'expected "</{tag.name}>", found "</{name}>"'
        )
    language = tag.attributes.get("class", "").removeprefix("language-")
    if name == "code" and language and stack and stack[-1].name == "pre":
        stack[-1].extra["language"] = language  # one entity for <pre><code class="language-…">
        return
    entity = _entity(tag, length=offset - tag.offset)
    if entity is not None:
        entities.append(entity)


def _entity(tag: _Open, *, length: int) -> Entity | None:
    if length == 0:
        return None
    entity: Entity = {"type": _KINDS[tag.name], "offset": tag.offset, "length": length, **tag.extra}
    if tag.name == "a":
        if not tag.attributes.get("href"):
            return None
        entity["url"] = tag.attributes["href"]
    if tag.name == "tg-emoji":
        entity["custom_emoji_id"] = tag.attributes.get("emoji-id", "")
    if tag.name == "blockquote" and "expandable" in tag.attributes:
        entity["type"] = "expandable_blockquote"
    return entity


def _cannot_parse(source: str, position: int, problem: str) -> Exception:
    offset_bytes = len(source[:position].encode())
    return bad_request(f"can't parse entities: {problem} at byte offset {offset_bytes}")


def _strip(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Telegram drops white space around a message and moves the entities along."""
    plain = text.strip()
    lead = units(text[: len(text) - len(text.lstrip())])
    end = units(plain)
    kept = []
    for entity in entities:
        start = max(0, entity["offset"] - lead)
        stop = min(end, entity["offset"] + entity["length"] - lead)
        if stop > start:
            kept.append({**entity, "offset": start, "length": stop - start})
    return plain, kept


def _found(text: str, entities: list[Entity]) -> list[Entity]:
    taken = [
        (entity["offset"], entity["offset"] + entity["length"])
        for entity in entities
        if entity["type"] in _CLOSED
    ]
    found: list[Entity] = []
    offset = position = 0
    for match in _FOUND.finditer(text):
        offset += units(text[position : match.start()])
        position, length = match.start(), units(match[0])
        if not any(start < offset + length and offset < stop for start, stop in taken):
            found.append({"type": match.lastgroup, "offset": offset, "length": length})
    return found
