"""The books of the whole process, to look at: printed, as plain values, and forgotten.

What counts is every context that has been left, and the default budget. Contexts that are open are
seen in `shm_echo.mechestim.accounting.live`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shm_echo.mechestim.accounting import active_account, process_books
from shm_echo.mechestim.accounting.live import rich_terminal
from shm_echo.mechestim.accounting.report import session_text

__all__ = ["budget_reset", "budget_summary", "budget_summary_dict", "print_books"]


def budget_summary() -> None:
    """Print what the session has used: as tables in a terminal that has rich, else as text."""
    print_books(budget_summary_dict(by_namespace=True))


def budget_summary_dict(by_namespace: bool = False) -> dict[str, Any]:
    """Return the totals of the session: flop_budget, flops_used, flops_remaining, operations.

    Args:
        by_namespace: Add `by_namespace`, with `flop_budget`, `flops_used` and `operations`
            of each label. `"(default)"` is the default budget, None are contexts without a label.
    """
    return process_books.snapshot(active_account.existing_default(), by_namespace=by_namespace)


def budget_reset() -> None:
    """Forget the contexts that have been left, and what the default budget has used."""
    process_books.reset()
    default = active_account.existing_default()
    if default is not None:
        default.reset()


def print_books(books: Mapping[str, Any]) -> None:
    """Print the books of a session on stdout; the client prints those of its server with it."""
    if rich_terminal():
        from rich.console import Console

        from shm_echo.mechestim.accounting.rich_tables import session_tables

        Console().print(session_tables(books))
    else:
        print(session_text(books))
