"""Charges without arrays, as the library makes them around every operation."""

from __future__ import annotations

from shm_echo.mechestim.accounting.active_account import current_view
from shm_echo.mechestim.accounting.context import BudgetContext
from shm_echo.mechestim.accounting.summaries import budget_summary_dict
from shm_echo.mechestim.backend_choice import backend_name

__all__ = ["quiet", "spend", "used", "used_by"]


def spend(flops: int, name: str = "work") -> int:
    """Charge `flops` to the budget of this thread or task. Return the charged FLOPs."""
    view = current_view()
    if backend_name() == "remote":
        before = view.account.used
        view.account.deduct(view.namespace, name, flops, ())
        return int(view.account.used - before)
    reserved = view.reserve(name, flops)
    view.commit(name, reserved)
    return reserved


def quiet(flop_budget: float = 10**6, namespace: str | None = None, **more: float) -> BudgetContext:
    """Return a context that prints no banner."""
    return BudgetContext(flop_budget, quiet=True, namespace=namespace, **more)


def used(context: BudgetContext) -> dict[str, int]:
    """Return the charged FLOPs by operation."""
    return {name: row["flop_cost"] for name, row in context.summary_dict()["operations"].items()}


def used_by(namespace: str | None) -> int:
    """Return the FLOPs charged to a namespace, from the books of the process."""
    books = budget_summary_dict(by_namespace=True)["by_namespace"]
    return int(books.get(namespace, {"flops_used": 0})["flops_used"])
