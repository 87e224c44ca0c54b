"""The books as tables and bars for a terminal that has rich (the extra `live`).

Turns plain values (the result of `budget_summary_dict`) into objects that rich prints. Names come
from users, so they are always `Text`: rich prints a namespace `[red]` instead of reading it as
markup. Only imported where rich is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shm_echo.mechestim.accounting.report import TITLE, flops_text, label_text, percent

__all__ = ["bars", "session_tables"]

_BAR_WIDTH = 30


def session_tables(books: Mapping[str, Any]) -> RenderableType:
    """Return the summary of the process: a table of namespaces, then the operations of each."""
    namespaces = _table(TITLE, "Namespace", "Budget", "Used", "Remaining")
    details: list[RenderableType] = []
    groups: Mapping[str | None, Mapping[str, Any]] = books.get("by_namespace", {})
    for label, group in groups.items():
        budget, used = group["flop_budget"], group["flops_used"]
        namespaces.add_row(
            Text(label_text(label)),
            flops_text(budget),
            f"{flops_text(used)} ({percent(used, budget):.1f}%)",
            flops_text(budget - used),
        )
        if group["operations"]:
            title = f"{label_text(label)} \N{EM DASH} by operation"
            details.append(_operations(title, group["operations"], used))
    if len(groups) > 1 and books["operations"]:
        details.append(_operations("All operations", books["operations"], books["flops_used"]))
    if len(groups) != 1:
        namespaces.add_section()
        namespaces.add_row(
            "Total",
            flops_text(books["flop_budget"]),
            flops_text(books["flops_used"]),
            flops_text(books["flops_remaining"]),
        )
    return Group(namespaces, *details)


def bars(books: Mapping[str, Any], elapsed_s: float) -> RenderableType:
    """Return one line for each namespace: a bar of the used FLOPs, and the dearest operation."""
    grid = Table.grid(padding=(0, 1))
    for column in range(5):
        grid.add_column(justify="right" if column in (2, 3) else "left", no_wrap=True)
    for label, group in books.get("by_namespace", {}).items():
        budget, used = group["flop_budget"], group["flops_used"]
        dearest = next(iter(group["operations"]), "")
        grid.add_row(
            Text(label_text(label), style="bold"),
            # As a share: the bar computes with floats, which are not exact for large budgets.
            ProgressBar(total=100.0, completed=percent(used, budget), width=_BAR_WIDTH),
            f"{percent(used, budget):.1f}%",
            f"{flops_text(used)} of {flops_text(budget)} FLOPs",
            Text(dearest, style="dim"),
        )
    total = f"{flops_text(books['flops_used'])} FLOPs in {elapsed_s:.1f} s"
    return Group(grid, Text(total, style="dim"))


def _operations(title: str, operations: Mapping[str, Mapping[str, int]], used: int) -> Table:
    table = _table(title, "Operation", "FLOPs", "Share", "Calls")
    for name, entry in operations.items():
        flops = entry["flop_cost"]
        table.add_row(
            Text(name), flops_text(flops), f"{percent(flops, used):.1f}%", f"{entry['calls']:,}"
        )
    return table


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
