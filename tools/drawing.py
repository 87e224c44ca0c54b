"""Boxes and arrows as an SVG document that follows a light or a dark page.

A drawing is plain text: positions in units of the view box, and words. By itself it has the colours
that `prefers-color-scheme` asks for; inline in a page of the site, those of the page's scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import hypot

__all__ = ["Arrow", "Box", "Drawing", "Label"]

Point = tuple[float, float]

_LIGHT = {
    "page": "#ffffff", "ink": "#1d2b32", "soft": "#4d5d65", "box": "#f4f8f9", "edge": "#9fb0b8",
    "one": "#0b6b74", "one-box": "#e0f2f2", "two": "#8a5200", "two-box": "#fdf0da",
}  # fmt: skip
_DARK = {
    "page": "#181f24", "ink": "#e6edf0", "soft": "#b3c2c9", "box": "#222d34", "edge": "#566a74",
    "one": "#66d2c9", "one-box": "#153a3d", "two": "#f0b862", "two-box": "#3c2f17",
}  # fmt: skip
_STYLE = """\
.drawing text {{ font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
.drawing .title {{ font-size: 16px; font-weight: 600; fill: var(--d-ink); }}
.drawing .line {{ font-size: 14px; fill: var(--d-soft); }}
.drawing rect.frame {{ fill: none; stroke: var(--d-edge); stroke-dasharray: 6 5; }}
.drawing rect.plain {{ fill: var(--d-box); stroke: var(--d-edge); }}
.drawing rect.one {{ fill: var(--d-one-box); stroke: var(--d-one); }}
.drawing rect.two {{ fill: var(--d-two-box); stroke: var(--d-two); }}
.drawing .arrow {{ fill: none; stroke-width: 1.8; stroke: var(--d-soft); }}
.drawing .arrow.one {{ stroke: var(--d-one); }}
.drawing .arrow.two {{ stroke: var(--d-two); stroke-dasharray: 7 4; }}
.drawing text.one {{ fill: var(--d-one); }}
.drawing text.two {{ fill: var(--d-two); }}
.drawing .tip {{ fill: var(--d-soft); }}
.drawing .tip.one {{ fill: var(--d-one); }}
.drawing .tip.two {{ fill: var(--d-two); }}
.drawing, [data-md-color-scheme="default"] .drawing {{ {light} }}
@media (prefers-color-scheme: dark) {{ .drawing {{ {dark} }} }}
[data-md-color-scheme="slate"] .drawing {{ {dark} }}
[data-md-color-scheme] .drawing .page {{ fill: none; }}
.drawing .page {{ fill: var(--d-page); }}
"""
_KINDS = ("plain", "one", "two")
_CORNER = 10.0  # radius of an arrow's bends
_TIP = 9.0  # length of an arrow's tip: the line ends that much earlier


@dataclass(frozen=True)
class Box:
    """A rounded rectangle around a title and lines, centred; `kind` is its colour.

    Kind `frame` is a dashed outline whose title stands at its lower edge.
    """

    x: float
    y: float
    width: float
    height: float
    title: str
    lines: Sequence[str] = ()
    kind: str = "plain"

    @property
    def centre(self) -> Point:
        """The point in the middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Label:
    """Words beside an arrow, or a heading. `anchor` is SVG's: start, middle or end."""

    x: float
    y: float
    text: str
    kind: str = "plain"
    anchor: str = "start"
    heading: bool = False


@dataclass(frozen=True)
class Arrow:
    """A line through points, with a tip at its end, and at its start too if `both`."""

    points: Sequence[Point]
    kind: str = "plain"
    both: bool = False


@dataclass
class Drawing:
    """A picture with a name for its ids, a title and a description for those who do not see it."""

    name: str
    title: str
    description: str
    width: int
    height: int
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def svg(self) -> str:
        """The document."""
        ids = f"{self.name}-title", f"{self.name}-description"
        style = _STYLE.format(light=_variables(_LIGHT), dark=_variables(_DARK))
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" '
            f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" aria-labelledby="{ids[0]} {ids[1]}">\n',
            f'<title id="{ids[0]}">{escape(self.title)}</title>\n',
            f'<desc id="{ids[1]}">{escape(self.description)}</desc>\n',
            f"<style>\n{style}</style>\n",
            f'<rect width="{self.width}" height="{self.height}" class="page"/>\n',
            *map(_box, self.boxes),
            *map(_arrow, self.arrows),
            *map(_label, self.labels),
            "</svg>\n",
        ]
        return "".join(parts)


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--d-{name}: {value};" for name, value in colours.items())


def _box(box: Box) -> str:
    middle, line_height = box.x + box.width / 2, 20.0
    if box.kind == "frame":
        first = box.y + box.height - 14
    else:
        # The baselines of title and lines together lie around the middle of the box.
        first = box.y + box.height / 2 - line_height * len(box.lines) / 2 + 5.5
    text = [
        f'<text x="{middle:g}" y="{first + i * line_height:g}" text-anchor="middle" '
        f'class="{"title" if i == 0 else "line"}">{escape(line)}</text>\n'
        for i, line in enumerate((box.title, *box.lines))
        if line
    ]
    rect = (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="10" class="{box.kind}"/>\n'
    )
    return rect + "".join(text)


def _arrow(arrow: Arrow) -> str:
    points = list(arrow.points)
    tips = [_tip(points[-2], points[-1], arrow.kind)]
    if arrow.both:
        tips.append(_tip(points[1], points[0], arrow.kind))
        points[0] = _towards(points[0], points[1], _TIP)
    points[-1] = _towards(points[-1], points[-2], _TIP)
    path = [f"M{_at(points[0])}"]
    for before, bend, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(_CORNER, _length(before, bend) / 2, _length(bend, after) / 2)
        start, end = _towards(bend, before, radius), _towards(bend, after, radius)
        path.append(f"L{_at(start)} Q{_at(bend)} {_at(end)}")
    path.append(f"L{_at(points[-1])}")
    return f'<path d="{" ".join(path)}" class="arrow {arrow.kind}"/>\n' + "".join(tips)


def _tip(before: Point, end: Point, kind: str) -> str:
    """A triangle whose point is `end`."""
    x, y = _towards(end, before, _TIP + 1)
    length = _length(before, end)
    across = (end[1] - before[1]) / length * 5, (before[0] - end[0]) / length * 5
    corners = [end, (x + across[0], y + across[1]), (x - across[0], y - across[1])]
    return f'<polygon points="{" ".join(map(_at, corners))}" class="tip {kind}"/>\n'


def _label(label: Label) -> str:
    size = "title" if label.heading else "line"
    return (
        f'<text x="{label.x:g}" y="{label.y:g}" text-anchor="{label.anchor}" '
        f'class="{size} {label.kind}">{escape(label.text)}</text>\n'
    )


def _length(a: Point, b: Point) -> float:
    return hypot(b[0] - a[0], b[1] - a[1])


def _towards(a: Point, b: Point, distance: float) -> Point:
    """The point at `distance` from `a` on the way to `b`."""
    part = distance / _length(a, b)
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part


def _at(point: Point) -> str:
    return f"{point[0]:.4g},{point[1]:.4g}"
