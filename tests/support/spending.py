"""Charges without arrays: what the library does around every operation."""

from __future__ import annotations

from shm_echo.mechestim.accounting.active_account import current_view
from shm_echo.mechestim.accounting.context import BudgetContext
from shm_echo.mechestim.accounting.summaries import budget_summary_dict
from shm_echo.mechestim.backend_choice import backend_name

__all__ = ["quiet", "spend", "used", "used_by"]


def spend(flops: int, name: str = "work") -> int:
    """Charge ``flops`` to the budget of this thread or task, and return what was charged."""
    frame = current_view()
    if backend_name() == "remote":
        before = frame.account.used
        frame.account.deduct(frame.namespace, name, flops, ())
        return int(frame.account.used - before)
    promised = frame.reserve(name, flops)
    frame.commit(name, promised)
    return promised


def quiet(flop_budget: float = 10**6, namespace: str | None = None, **more: float) -> BudgetContext:
    """A context without a banner."""
    return BudgetContext(flop_budget, quiet=True, namespace=namespace, **more)


def used(context: BudgetContext) -> dict[str, int]:
    """What each operation was charged, by its name."""
    return {name: row["flop_cost"] for name, row in context.summary_dict()["operations"].items()}


def used_by(namespace: str | None) -> int:
    """What a namespace was charged, in the books of the session."""
    books = budget_summary_dict(by_namespace=True)["by_namespace"]
    return int(books.get(namespace, {"flops_used": 0})["flops_used"])
