"""The fenced blocks, headings and links of a Markdown page, as far as this project writes them.

A block that begins with the line `# file: NAME.py` is a complete program. A `text` block that
is the next fence after it shows what the program prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Program", "anchors", "blocks", "ids", "links", "programs", "prose"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"# file: ([\w-]+\.py)\n")
_LINK = re.compile(r"""\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$|\bsrc="([^"]+)\"""", re.MULTILINE)
_ID = re.compile(r'<a id="([^"]+)"')
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and the line on which it begins."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Program:
    """A block that can be run as it stands, and what the page says that it prints, if it does."""

    file: str
    text: str
    line: int
    printed: str | None


def blocks(page: Path) -> list[Block]:
    """Return all fenced blocks, in order."""
    text = page.read_text()
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
    ]


def programs(page: Path) -> list[Program]:
    """Return the blocks that are programs."""
    found = blocks(page)
    return [
        Program(name[1], block.text, block.line, after.text if after.language == "text" else None)
        for block, after in zip(found, [*found, Block("", "", 0)][1:], strict=True)
        if block.language == "python" and (name := _PROGRAM.match(block.text))
    ]


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def ids(page: Path) -> set[str]:
    """Return the ids that the page defines in HTML, such as those of the rows of a table."""
    return set(_ID.findall(prose(page)))


def links(page: Path) -> list[str]:
    """Return the targets of all links and images, including those in HTML."""
    return ["".join(found) for found in _LINK.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub and MkDocs both spell them."""
    plain = (re.sub(r"[^\w\- ]", "", heading).strip() for heading in _HEADING.findall(prose(page)))
    return {re.sub(r"[ -]+", "-", text.lower()) for text in plain}
