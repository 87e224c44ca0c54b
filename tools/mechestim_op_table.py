"""Writes docs/reference/operations.md: every operation with its price, from the registry.

    python tools/mechestim_op_table.py

A test holds the page against what this makes.
"""

from __future__ import annotations

from pathlib import Path

from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category, Op

PAGE = Path(__file__).resolve().parents[1] / "docs" / "mechestim" / "operations.md"

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
_HEAD = """# Operations

Made from the registry by `tools/mechestim_op_table.py`. `numel` is a number of elements, `n` the
length of the axis that is worked on; logarithms have a floor of 1. [Prices](prices.md) has the
rules. An alias is booked under the name in brackets.
"""


def page() -> str:
    """The text of the page."""
    parts = [_HEAD]
    for title, prefix in _SECTIONS:
        ops = [op for name, op in sorted(OPS.items()) if _belongs(name, prefix)]
        rows = [op for op in ops if op.category is not Category.UNSUPPORTED]
        parts.append(f"\n## {title}\n\n| Operation | FLOPs | |\n|---|---|---|\n")
        parts.extend(_row(op, prefix) for op in rows)
    left_out = [op for _, op in sorted(OPS.items()) if op.category is Category.UNSUPPORTED]
    parts.append(f"\n## Left out\n\nThese {len(left_out)} raise `UnsupportedFunctionError`.\n\n")
    parts.append("| Function | Why, and what to use instead |\n|---|---|\n")
    parts.extend(f"| `{op.name}` | {_cell(op.advice)} |\n" for op in left_out)
    return "".join(parts)


def _belongs(name: str, prefix: str) -> bool:
    if not name.startswith(prefix):
        return False
    rest = name[len(prefix) :]
    return "." not in rest or (prefix == "stats." and rest.count(".") == 1)


def _row(op: Op, prefix: str) -> str:
    name = f"`{op.name[len(prefix) :]}`"
    if op.charged_as and op.charged_as != op.name:
        name += f" (`{op.charged_as}`)"
    formula = "0" if op.category is Category.FREE and not op.counted else op.formula
    if op.callbacks and not op.counted:
        formula = "what the callback costs"
    return f"| {name} | {_cell(formula)} | {_cell(op.summary)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE}: {len(OPS)} operations")
