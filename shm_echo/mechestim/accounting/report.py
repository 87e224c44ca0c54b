"""The books as text: one context, all contexts of the process, bars, and the banner of a context.

Pure functions from plain values (the results of `summary_dict` and `budget_summary_dict`) to
strings, so that the local library and the client print the same text. Columns are as wide as their
longest entry; minimum widths align the columns of small budgets from one summary to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shm_echo import __version__

__all__ = [
    "TITLE",
    "banner",
    "bars_text",
    "flops_text",
    "label_text",
    "percent",
    "session_text",
    "summary_text",
]

TITLE = "mechestim FLOP Budget Summary"
UNNAMED = "(unnamed)"  # contexts without a namespace
SESSION_RULE = 50

_TOTAL_WIDTH = 15
_NAME_WIDTH = 16
_FLOPS_WIDTH = 12
_BAR_WIDTH = 30

Operations = Mapping[str, Mapping[str, int]]


def banner(flop_budget: int, backend: str = "") -> str:
    """Return the line that a context prints on entry.

    It reads `mechestim 0.1.0 | budget: 1.00e+09 FLOPs`, with the backend in brackets if named.
    """
    where = f" ({backend})" if backend else ""
    return f"mechestim {__version__}{where} | budget: {flop_budget:.2e} FLOPs"


def summary_text(books: Mapping[str, Any]) -> str:
    """Return the summary of one context: totals, then by operation, and by namespace.

    Args:
        books: The result of `summary_dict(by_namespace=True)`; `by_namespace` may be missing.
    """
    namespace = books.get("namespace")
    title = TITLE if namespace is None else f"{TITLE} [{namespace}]"
    used = books["flops_used"]
    lines = [title, "=" * len(title), *_totals(books)]
    if books["operations"]:
        lines += ["", "  By operation:", *_operations(books["operations"], used, indent=4)]
    groups = books.get("by_namespace") or {}
    if any(label != namespace for label in groups):
        rows = [
            (label_text(label), group["flops_used"], _calls(group["operations"]))
            for label, group in groups.items()
        ]
        rows.sort(key=lambda row: (-row[1], row[0]))
        lines += ["", "  By namespace:", *_rows(rows, used, indent=4)]
    return "\n".join(lines)


def session_text(books: Mapping[str, Any]) -> str:
    """Return the summary of the process: totals, then each namespace, then all operations together.

    Args:
        books: The result of `budget_summary_dict(by_namespace=True)`.
    """
    lines = [TITLE, "=" * SESSION_RULE, *_totals(books)]
    for label, group in books.get("by_namespace", {}).items():
        used = group["flops_used"]
        lines += [
            "",
            f"  [{label_text(label)}]",
            *_aligned([("Budget:", group["flop_budget"], ""), ("Used:", used, "")], indent=4),
        ]
        if group["operations"]:
            lines += ["    Operations:", *_operations(group["operations"], used, indent=6)]
    if books["operations"]:
        operations = _operations(books["operations"], books["flops_used"], indent=4)
        lines += ["", "  All operations (session total):", *operations]
    return "\n".join(lines)


def bars_text(books: Mapping[str, Any], elapsed_s: float) -> str:
    """Return one line for each namespace: a bar of the used FLOPs, and the dearest operation."""
    rows = []
    for label, group in books.get("by_namespace", {}).items():
        budget, used = group["flop_budget"], group["flops_used"]
        share = percent(used, budget)
        full = min(_BAR_WIDTH, int(share * _BAR_WIDTH / 100))
        rows.append(
            (
                label_text(label),
                f"[{'#' * full:.<{_BAR_WIDTH}}] {share:5.1f}%",
                f"{flops_text(used)} of {flops_text(budget)} FLOPs",
                next(iter(group["operations"]), ""),
            )
        )
    names, amounts = (max((len(row[i]) for row in rows), default=0) for i in (0, 2))
    lines = [
        f"{name:<{names}} {bar}  {amount:>{amounts}}  {dearest}".rstrip()
        for name, bar, amount, dearest in rows
    ]
    total = f"{flops_text(books['flops_used'])} FLOPs in {elapsed_s:.1f} s"
    return "\n".join([*lines, total])


def label_text(label: str | None) -> str:
    """Return the text that a namespace is shown as."""
    return UNNAMED if label is None else label


def flops_text(flops: int) -> str:
    """Return FLOPs for a narrow column: with separators, or from 1e15 on as `1.00e+15`."""
    return f"{flops:,}" if flops < 10**15 else f"{flops:.2e}"


def percent(part: int, whole: int) -> float:
    """Return `part` of `whole` in per cent; 0 if `whole` is 0."""
    return 100.0 * part / whole if whole else 0.0


def _totals(books: Mapping[str, Any]) -> list[str]:
    budget, used, remaining = books["flop_budget"], books["flops_used"], books["flops_remaining"]
    rows = [
        ("Total budget:", budget, ""),
        ("Used:", used, f"  ({percent(used, budget):.1f}%)"),
        ("Remaining:", remaining, f"  ({percent(remaining, budget):.1f}%)"),
    ]
    return _aligned(rows, indent=2)


def _aligned(rows: Iterable[tuple[str, int, str]], indent: int) -> list[str]:
    cells = [(label, f"{value:,}", note) for label, value, note in rows]
    width = max(_TOTAL_WIDTH, *(len(value) for _, value, _ in cells))
    return [f"{'':{indent}}{label:<14}{value:>{width}}{note}" for label, value, note in cells]


def _operations(operations: Operations, used: int, indent: int) -> list[str]:
    rows = [(name, entry["flop_cost"], entry["calls"]) for name, entry in operations.items()]
    rows.sort(key=lambda row: (-row[1], row[0]))
    return _rows(rows, used, indent)


def _rows(rows: list[tuple[str, int, int]], used: int, indent: int) -> list[str]:
    """Return aligned lines of the form `name  FLOPs  ( share%)  [calls]`."""
    names = max(_NAME_WIDTH, *(len(name) for name, _, _ in rows))
    values = max(_FLOPS_WIDTH, *(len(f"{flops:,}") for _, flops, _ in rows))
    return [
        f"{'':{indent}}{name:<{names}} {flops:>{values},}  ({percent(flops, used):5.1f}%)"
        f"  [{calls:,} {'call' if calls == 1 else 'calls'}]"
        for name, flops, calls in rows
    ]


def _calls(operations: Operations) -> int:
    return sum(entry["calls"] for entry in operations.values())
