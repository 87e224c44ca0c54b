"""Makes docs/reference/operations.md from the registry: every operation with its price."""

from __future__ import annotations

from pathlib import Path

from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category, Op

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "operations.md"

_SECTIONS = (
    ("mechestim", ""),
    ("Writing into arrays", "ndarray."),
    ("mechestim.linalg", "linalg."),
    ("mechestim.fft", "fft."),
    ("mechestim.random", "random."),
    ("random.Generator", "random.Generator."),
    ("random.RandomState", "random.RandomState."),
    ("mechestim.stats", "stats."),
)
# The script of the page puts its search field into the empty element.
_HEAD = """# Operations

Every operation of mechestim, with its price and the name that its charges are booked under. In the
prices, `numel` is a number of elements and `n` the length of the axis that is worked on; logarithms
have a floor of 1. [Prices](prices.md) has the rules. An alias is booked under the name in brackets.
Each name is a link to its own row, such as [`linalg.svd`](#linalg.svd).

<div id="operation-search"></div>
"""


def page() -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    for title, prefix in _SECTIONS:
        ops = [op for name, op in sorted(OPS.items()) if _belongs(name, prefix)]
        rows = [op for op in ops if op.category is not Category.UNSUPPORTED]
        parts.append(f"\n## {title}\n\n")
        parts.append("| Operation | Price in FLOPs | Description |\n|---|---|---|\n")
        parts.extend(_row(op) for op in rows)
    left_out = [op for _, op in sorted(OPS.items()) if op.category is Category.UNSUPPORTED]
    parts.append(f"\n## Left out\n\nThese {len(left_out)} raise `UnsupportedFunctionError`.\n\n")
    parts.append("| Function | Reason and alternative |\n|---|---|\n")
    parts.extend(f"| {_anchored(op.name)} | {_cell(op.advice)} |\n" for op in left_out)
    parts.append(_sources())
    parts.append("\nThis page is made from the registry by `tools/mechestim_op_table.py`.\n")
    return "".join(parts)


def files() -> dict[Path, str]:
    """Return the page by its path."""
    return {PAGE: page()}


def _belongs(name: str, prefix: str) -> bool:
    if not name.startswith(prefix):
        return False
    rest = name[len(prefix) :]
    return "." not in rest or (prefix == "stats." and rest.count(".") == 1)


def _row(op: Op) -> str:
    name = _anchored(op.name)
    if op.charged_as and op.charged_as != op.name:
        name += f" (`{op.charged_as}`)"
    formula = "0" if op.category is Category.FREE and not op.counted else op.formula
    if op.callbacks and not op.counted:
        formula = "the price of the callback"
    return f"| {name} | {_cell(formula)} | {_cell(op.summary)} |\n"


def _sources() -> str:
    """Return the table of the publications behind the prices, each with its operations."""
    by_source: dict[str, list[str]] = {}
    for name, op in sorted(OPS.items()):
        if op.source:
            by_source.setdefault(op.source, []).append(f"`{name}`")
    rows = "".join(
        f"| {_cell(source)} | {', '.join(names)} |\n" for source, names in sorted(by_source.items())
    )
    return f"\n## Sources of the prices\n\n| Source | Operations |\n|---|---|\n{rows}"


def _anchored(name: str) -> str:
    """Return the name as a link to its own anchor."""
    return f'<a id="{name}" href="#{name}">`{name}`</a>'


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
