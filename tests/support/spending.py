"""Charges without arrays: what the library does around every operation."""

from __future__ import annotations

from shm_echo.mechestim.accounting.context import BudgetContext
from shm_echo.mechestim.accounting.current import current_frame

__all__ = ["quiet", "spend", "used"]


def spend(flops: int, name: str = "work") -> int:
    """Charge ``flops`` to the budget of this thread or task, and return what was charged."""
    frame = current_frame()
    promised = frame.reserve(name, flops)
    frame.commit(name, promised)
    return promised


def quiet(flop_budget: float = 10**6, namespace: str | None = None, **more: float) -> BudgetContext:
    """A context without a banner."""
    return BudgetContext(flop_budget, quiet=True, namespace=namespace, **more)


def used(context: BudgetContext) -> dict[str, int]:
    """What each operation was charged, by its name."""
    return {name: row["flop_cost"] for name, row in context.summary_dict()["operations"].items()}
