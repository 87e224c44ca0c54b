"""The public functions on the books of the whole process: print, return and reset them.

The books hold every closed context, and the default budget. `shm_echo.mechestim.accounting.live`
shows open contexts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shm_echo.mechestim.accounting import active_account, process_books
from shm_echo.mechestim.accounting.live import rich_terminal
from shm_echo.mechestim.accounting.report import session_text

__all__ = ["budget_reset", "budget_summary", "budget_summary_dict", "print_books"]


def budget_summary() -> None:
    """Print the used FLOPs of the process: as tables in a terminal with rich, otherwise as text."""
    print_books(budget_summary_dict(by_namespace=True))


def budget_summary_dict(by_namespace: bool = False) -> dict[str, Any]:
    """Return the totals of the process: flop_budget, flops_used, flops_remaining, operations.

    Args:
        by_namespace: Add `by_namespace`, with `flop_budget`, `flops_used` and `operations`
            of each label. `"(default)"` is the default budget, None the contexts without a label.
    """
    return process_books.snapshot(active_account.existing_default(), by_namespace=by_namespace)


def budget_reset() -> None:
    """Forget the closed contexts and the charges of the default budget."""
    process_books.reset()
    default = active_account.existing_default()
    if default is not None:
        default.reset()


def print_books(books: Mapping[str, Any]) -> None:
    """Print books on stdout; the client prints those of its server with this function."""
    if rich_terminal():
        from rich.console import Console

        from shm_echo.mechestim.accounting.rich_tables import session_tables

        Console().print(session_tables(books))
    else:
        print(session_text(books))
