"""Writes the README's badges, docs/assets/badges/*.svg, from pyproject.toml.

The text of a badge is as wide as its viewer's font makes it, so each badge states the
width that its text is fitted into.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "assets" / "badges"

# White text on both colours has a contrast above 5 to 1.
LABEL_COLOUR, VALUE_COLOUR = "#4d5d65", "#0b6b74"
PADDING_PX = 7
# Widths in DejaVu Sans at 11 px, rounded; letters that are not listed are 6.7 px wide.
CHARACTER_PX = {
    **dict.fromkeys("ijl", 3.1),
    **dict.fromkeys(" .,:-", 3.8),
    **dict.fromkeys("frt", 4.2),
    **dict.fromkeys("mwMW", 10.2),
}

BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{title}">
<title>{title}</title>
<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{split}" height="20" fill="{label_colour}"/>
<rect x="{split}" width="{rest}" height="20" fill="{value_colour}"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{label_x}" y="14" textLength="{label_px}">{label}</text>
<text x="{value_x}" y="14" textLength="{value_px}">{value}</text>
</g>
</svg>
"""


def width(text: str) -> int:
    """Pixels that a text is fitted into."""
    return round(sum(CHARACTER_PX.get(character, 6.7) for character in text))


def badge(label: str, value: str) -> str:
    """The SVG text of one badge."""
    label_px, value_px = width(label), width(value)
    split, rest = label_px + 2 * PADDING_PX, value_px + 2 * PADDING_PX
    return BADGE.format(
        title=escape(f"{label}: {value}", {'"': "&quot;"}),
        width=split + rest,
        split=split,
        rest=rest,
        label=escape(label),
        value=escape(value),
        label_px=label_px,
        value_px=value_px,
        label_x=split / 2,
        value_x=split + rest / 2,
        label_colour=LABEL_COLOUR,
        value_colour=VALUE_COLOUR,
    )


def values(pyproject: dict[str, Any]) -> dict[str, str]:
    """The value of each badge, by its label."""
    project = pyproject["project"]
    versions = [
        (int(found[1]), int(found[2]))
        for classifier in project["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (\d+)\.(\d+)", classifier))
    ]
    (first, last) = (".".join(map(str, version)) for version in (min(versions), max(versions)))
    typed = "Typing :: Typed" in project["classifiers"]
    strict = pyproject["tool"]["mypy"].get("strict", False)
    return {
        "version": project["version"],
        "python": f"{first} to {last}",
        "licence": project["license"],
        "typed": "mypy --strict" if typed and strict else "yes" if typed else "no",
    }


def files() -> dict[Path, str]:
    """The text of each badge, by its path."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {
        FOLDER / f"{label}.svg": badge(label, value) for label, value in values(pyproject).items()
    }
