"""Formatted text: what Telegram makes of HTML, with aiogram's own writer as the second opinion."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pytest
from aiogram.types import MessageEntity
from aiogram.utils.text_decorations import html_decoration
from hypothesis import given
from hypothesis import strategies as st

from rei_sandbox.telegram import entities
from rei_sandbox.telegram.entities import Entity
from rei_sandbox.telegram.errors import BotApiError

TAGS = {"b": "bold", "i": "italic", "u": "underline", "s": "strikethrough", "code": "code"}
LETTERS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="/@:"), min_size=1
)
"""No white space, which Telegram trims, and nothing that makes a link."""


@dataclass(frozen=True)
class Tag:
    """A tag around some nodes."""

    name: str
    inside: tuple[Node, ...]


Node = str | Tag
NODES: st.SearchStrategy[Node] = st.recursive(
    LETTERS,
    lambda inner: st.builds(
        Tag, st.sampled_from(sorted(TAGS)), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=12,
)


def written(node: Node) -> str:
    if isinstance(node, str):
        return html.escape(node)
    return f"<{node.name}>{''.join(map(written, node.inside))}</{node.name}>"


def plain(node: Node) -> str:
    return node if isinstance(node, str) else "".join(map(plain, node.inside))


def marked(node: Node) -> list[tuple[str, str]]:
    """(kind, text) of every tag."""
    if isinstance(node, str):
        return []
    inner = [each for child in node.inside for each in marked(child)]
    return [(TAGS[node.name], plain(node)), *inner]


def cut(text: str, entity: Entity) -> str:
    """The part that the entity covers, counted in UTF-16 code units."""
    start, stop = entity["offset"], entity["offset"] + entity["length"]
    return text.encode("utf-16-le")[2 * start : 2 * stop].decode("utf-16-le")


@given(st.lists(NODES, min_size=1, max_size=4))
def test_every_tag_becomes_an_entity_over_its_text(nodes: list[Node]) -> None:
    text, found = entities.parse("".join(map(written, nodes)), "HTML")
    assert text == "".join(map(plain, nodes))
    expected = [each for node in nodes for each in marked(node)]
    assert sorted((e["type"], cut(text, e)) for e in found) == sorted(expected)


@given(st.lists(NODES, min_size=1, max_size=4))
def test_what_aiogram_writes_of_the_entities_reads_the_same(nodes: list[Node]) -> None:
    text, found = entities.parse("".join(map(written, nodes)), "HTML")
    again = html_decoration.unparse(text, [MessageEntity(**entity) for entity in found])
    reread_text, reread = entities.parse(again, "HTML")
    assert reread_text == text
    assert {(e["type"], i) for e in reread for i in covered(e)} == {
        (e["type"], i) for e in found for i in covered(e)
    }


def covered(entity: Entity) -> range:
    return range(entity["offset"], entity["offset"] + entity["length"])


@given(st.text(st.characters(codec="utf-8")))
def test_escaped_text_comes_out_as_it_was_but_for_the_white_space_around(text: str) -> None:
    out, found = entities.parse(html.escape(text), "HTML")
    assert out == text.strip()
    assert {entity["type"] for entity in found} <= {"url", "bot_command", "mention"}


@given(st.text(st.sampled_from("<>/&;abi=\"' \n#😀"), max_size=40))
def test_any_text_is_read_or_refused_in_telegrams_words(source: str) -> None:
    problem, text, found = "", "", list[Entity]()
    try:
        text, found = entities.parse(source, "HTML")
    except BotApiError as refused:
        problem = refused.description
    assert problem == "" or problem.startswith("Bad Request: can't parse entities: ")
    assert all(0 <= e["offset"] < e["offset"] + e["length"] for e in found)
    assert all(e["offset"] + e["length"] <= entities.units(text) for e in found)


@given(st.text(max_size=5), st.sampled_from(["bold", "italic"]))
def test_white_space_around_a_message_moves_its_entities(lead: str, kind: str) -> None:
    lead = lead.encode(errors="ignore").decode()
    source = f" \n{lead}x "
    given_entity = {"type": kind, "offset": entities.units(f" \n{lead}"), "length": 2}
    text, found = entities.parse(source, "", [given_entity])
    [entity] = [each for each in found if each["type"] == kind]
    assert cut(text, entity) == "x"


@pytest.mark.parametrize(
    ("source", "text", "entity"),
    [
        ('<a href="https://a.ru/?q=1&amp;r=2">there</a>', "there",
         {"type": "text_link", "offset": 0, "length": 5, "url": "https://a.ru/?q=1&r=2"}),
        ('<a href="a>b">x</a>', "x", {"type": "text_link", "offset": 0, "length": 1, "url": "a>b"}),
        ('<pre><code class="language-python">x = 1</code></pre>', "x = 1",
         {"type": "pre", "offset": 0, "length": 5, "language": "python"}),
        ('😀<span class="tg-spoiler">s</span>', "😀s", {"type": "spoiler", "offset": 2, "length": 1}),
        ("<blockquote expandable>q</blockquote>", "q",
         {"type": "expandable_blockquote", "offset": 0, "length": 1}),
        ('<tg-emoji emoji-id="5">👍</tg-emoji>', "👍",
         {"type": "custom_emoji", "offset": 0, "length": 2, "custom_emoji_id": "5"}),
    ],
)  # fmt: skip
def test_tags_with_attributes(source: str, text: str, entity: Entity) -> None:
    assert entities.parse(source, "html") == (text, [entity])


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("1 < 2", 'Unsupported start tag "" at byte offset 2'),
        ("я<div>x</div>", 'Unsupported start tag "div" at byte offset 2'),
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("<span>x</span>", 'Unsupported start tag "span" at byte offset 0'),
    ],
)
def test_what_cannot_be_parsed_is_refused_in_telegrams_words(source: str, problem: str) -> None:
    with pytest.raises(BotApiError) as refused:
        entities.parse(source, "HTML")
    assert refused.value.description == f"Bad Request: can't parse entities: {problem}"
    assert refused.value.error_code == 400


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("/start@rei_bot now", [("bot_command", "/start@rei_bot")]),
        ("see https://a.ru/b?c=1, please", [("url", "https://a.ru/b?c=1")]),
        ("😀 @anya_1 wrote", [("mention", "@anya_1")]),
        ("and/or, a@b.ru", []),
        ("😀/a 😀 /b", [("bot_command", "/a"), ("bot_command", "/b")]),
    ],
)
def test_commands_links_and_mentions_are_found(text: str, kinds: list[tuple[str, str]]) -> None:
    out, found = entities.parse(text, "")
    assert [(entity["type"], cut(out, entity)) for entity in found] == kinds


def test_given_entities_keep_what_telegram_keeps() -> None:
    entity = {"type": "text_link", "offset": 0, "length": 1, "url": "https://a.ru/", "junk": "x"}
    _, found = entities.parse("a", "", [entity] * 200)
    assert found == [{key: entity[key] for key in ("type", "offset", "length", "url")}] * 100


def test_links_are_found_in_bold_text_but_not_in_code() -> None:
    _, found = entities.parse("<b>/a</b> <code>/b</code>", "HTML")
    assert [(e["type"], e["offset"]) for e in found] == [
        ("bold", 0), ("bot_command", 0), ("code", 3),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["Markdown", "MarkdownV2"])
def test_markdown_is_refused_and_said_to_be_ours_to_refuse(mode: str) -> None:
    with pytest.raises(BotApiError, match="reads no Markdown"):
        entities.parse("x", mode)


def test_an_unknown_parse_mode_is_refused() -> None:
    with pytest.raises(BotApiError, match="unsupported parse_mode"):
        entities.parse("x", "BBCode")


@pytest.mark.parametrize(
    ("entity", "problem"),
    [
        ({"type": "bold", "offset": 0, "length": 3}, "ends after the end of the text"),
        ({"type": "bold", "offset": -1, "length": 1}, "entity beginning at UTF-16 offset -1"),
        ({"type": "bold", "offset": "0", "length": 1}, 'Field "offset" must be of type Number'),
        ({"offset": 0, "length": 1}, 'Can\'t find field "type"'),
    ],
)
def test_given_entities_must_fit_the_text(entity: Entity, problem: str) -> None:
    with pytest.raises(BotApiError, match=problem):
        entities.parse("😀", "", [entity])
