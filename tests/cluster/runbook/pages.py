"""The runbook's pages as tests see them: titles, headings, links, and the blocks to paste.

A block's info string says how it is carried out: `bash` as it is; `bash pod` needs a pod, which
there is none of here (see `programs`); `promql` is asked of a Prometheus; `text` shows what comes
of a command, and is not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook"
LANGUAGES = ("en", "ru")
PROCEDURES = "procedures"
RUN = ("bash", "bash pod", "promql")
SHOWN = "text"

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


@dataclass(frozen=True)
class Block:
    """What a person pastes."""

    info: str
    text: str
    line: int


@dataclass(frozen=True)
class Page:
    """A page of the runbook in one language."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        return self.text.splitlines()[0].removeprefix("# ")

    @property
    def first_line(self) -> str:
        """The first line under the title."""
        return self.text.splitlines()[2]

    @property
    def headings(self) -> tuple[str, ...]:
        return tuple(_HEADING.findall(_FENCE.sub("", self.text)))

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(
            Block(found["info"], found["text"], self.text[: found.start()].count("\n") + 1)
            for found in _FENCE.finditer(self.text)
        )

    @property
    def links(self) -> tuple[Path, ...]:
        """The files that it links to."""
        targets = (target for target, _ in _LINK.findall(_FENCE.sub("", self.text)))
        return tuple(
            (self.path.parent / target).resolve() for target in targets if "://" not in target
        )

    def __str__(self) -> str:
        return str(self.path.relative_to(RUNBOOK))


def pages(language: str) -> list[Page]:
    """All pages of a language but the index."""
    found = sorted((RUNBOOK / language).rglob("*.md"))
    return [Page(path) for path in found if path.name != "README.md"]


def procedures(language: str) -> dict[str, Page]:
    """The procedures' pages, by their slugs."""
    folder = RUNBOOK / language / PROCEDURES
    return {path.stem: Page(path) for path in sorted(folder.glob("*.md"))}


def alerts(language: str) -> dict[str, Page]:
    """The alerts' pages, by the alerts' names."""
    folder = RUNBOOK / language
    return {path.stem: Page(path) for path in sorted(folder.glob("*.md")) if path.stem != "README"}
