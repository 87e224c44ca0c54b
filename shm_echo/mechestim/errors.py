"""The exceptions and warnings of mechestim, with their texts in one place.

NumPy-free: the client raises the same classes. Each exception can be rebuilt from its fields, so
that it can be pickled and travel from a server to a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_DOCS = "docs/reference/mechestim-errors.md"


class MechEstimError(Exception):
    """Base class of the errors that mechestim raises itself."""


class MechEstimWarning(UserWarning):
    """Base class of mechestim's warnings, and the warning about NaN or Inf in a result."""


class BudgetExhaustedError(MechEstimError):
    """An operation costs more than remains of its budget. It has not run, and nothing was charged.

    Attributes:
        op_name: The operation, as it appears in the summary.
        flop_cost: Its price in FLOPs, with weight and multiplier applied.
        flops_remaining: The FLOPs that remain.
        of_the_server: True if the server's limit for this user is exhausted, not the budget of a
            context.

    Example:
        >>> import mechestim as me
        >>> with me.BudgetContext(10, quiet=True):
        ...     try:
        ...         me.exp(me.ones(100))
        ...     except me.BudgetExhaustedError as error:
        ...         print(error.op_name, error.flop_cost, error.flops_remaining)
        exp 100 10
    """

    def __init__(
        self, op_name: str, *, flop_cost: int, flops_remaining: int, of_the_server: bool = False
    ) -> None:
        self.op_name = op_name
        self.flop_cost = flop_cost
        self.flops_remaining = flops_remaining
        self.of_the_server = of_the_server
        if of_the_server:
            left = "of the server's ceiling remain"
            way_out = "No BudgetContext raises the ceiling: make the operation smaller"
        else:
            more = f"{flop_cost - flops_remaining:,}"
            left = "of the budget remain"
            way_out = f"Open the BudgetContext with a larger flop_budget (at least {more} more), "
            way_out += "or make the operation smaller"
        super().__init__(
            f"{op_name} would cost {flop_cost:,} FLOPs, but only {flops_remaining:,} {left}. "
            f"Nothing was run. {way_out}. See {_DOCS}#budgetexhaustederror"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("flop_cost", "flops_remaining", "of_the_server")
        fields = {name: getattr(self, name) for name in names}
        return _rebuild, (type(self), (self.op_name,), fields)


class TimeExhaustedError(MechEstimError):
    """The wall-time limit of the budget has passed. The operation has not run, and was not charged.

    Attributes:
        op_name: The operation that did not run.
        elapsed_s: Seconds spent inside the context, over all its entries.
        limit_s: Its `wall_time_limit_s`.
    """

    def __init__(self, op_name: str, *, elapsed_s: float, limit_s: float) -> None:
        self.op_name = op_name
        self.elapsed_s = elapsed_s
        self.limit_s = limit_s
        super().__init__(
            f"{op_name} was not run: {elapsed_s:.3f} s have passed and the BudgetContext allows "
            f"{limit_s:g} s (wall_time_limit_s). See {_DOCS}#timeexhaustederror"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {"elapsed_s": self.elapsed_s, "limit_s": self.limit_s}
        return _rebuild, (type(self), (self.op_name,), fields)


class NoBudgetContextError(MechEstimError):
    """An operation was called without a budget.

    No operation raises it today: outside of contexts, the default budget pays. The name exists for
    programs that catch it.
    """

    def __init__(self) -> None:
        super().__init__(
            "No BudgetContext is active. Wrap the code in `with mechestim.BudgetContext(...):`. "
            f"See {_DOCS}#nobudgetcontexterror"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), (), {})


class UnsupportedFunctionError(MechEstimError, AttributeError):
    """A NumPy function that mechestim leaves out on purpose, or that the installed NumPy lacks.

    It is an `AttributeError` too, so that `hasattr` and `getattr` with a default work.

    Attributes:
        op_name: The function.
        reason: The reason, and an alternative.
    """

    def __init__(self, op_name: str, reason: str) -> None:
        self.op_name = op_name
        self.reason = reason
        super().__init__(f"mechestim does not support {op_name!r}: {reason}")
        self.name = op_name

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), (self.op_name, self.reason), {})


class SymmetryError(MechEstimError):
    """Data was declared symmetric, but is not.

    Attributes:
        axes: The axes that were declared.
        max_deviation: The largest absolute difference between two elements that should be equal.
        atol, rtol: The tolerance of the check.
    """

    def __init__(
        self, axes: Sequence[int], max_deviation: float, atol: float = 1e-6, rtol: float = 1e-5
    ) -> None:
        self.axes = tuple(axes)
        self.max_deviation = max_deviation
        self.atol = atol
        self.rtol = rtol
        super().__init__(
            f"the tensor is not symmetric along axes {self.axes}: the largest deviation is "
            f"{max_deviation:g} (tolerance: atol={atol:g}, rtol={rtol:g}). "
            f"See {_DOCS}#symmetryerror"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), (self.axes, self.max_deviation, self.atol, self.rtol), {})


class SymmetryLossWarning(MechEstimWarning):
    """An operation returned a plain array where its operand was symmetric."""

    def __init__(self, axes: Sequence[int] | None = None, reason: str = "") -> None:
        self.axes = None if axes is None else tuple(axes)
        self.reason = reason
        where = "" if axes is None else f" along axes {self.axes}"
        super().__init__(
            f"symmetry{where} was lost: {reason}. Declare it again with as_symmetric(), or silence "
            "this with mechestim.configure(symmetry_warnings=False)."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), (self.axes, self.reason), {})


class QuotaExceededError(MechEstimError):
    """A session needs more than its server grants. Nothing has run, nothing is charged.

    Attributes:
        limit: The name of the limit, as the server's options spell it.
        allowed: The value of the limit.
        wanted: The value that the operation needs.
    """

    def __init__(self, limit: str, *, allowed: int, wanted: int) -> None:
        self.limit = limit
        self.allowed = allowed
        self.wanted = wanted
        super().__init__(
            f"the server allows {limit} = {allowed:,}, and {wanted:,} would be needed. Nothing was "
            f"run. Free arrays that are no longer used, or make the operation smaller. "
            f"See {_DOCS}#quotaexceedederror"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {"allowed": self.allowed, "wanted": self.wanted}
        return _rebuild, (type(self), (self.limit,), fields)


class MechEstimServerError(MechEstimError):
    """The server failed through no fault of the program, or the session has ended.

    The log of the server has the details, which the server does not send to clients.
    """


NO_OBJECTS = (
    "arrays of Python objects cannot live on a server: give numbers, text or dates, or a dtype "
    "that they can be converted to"
)


class NotSendableError(TypeError):
    """A value has no form in a message between a client and its server."""


def _rebuild(cls: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    """Return an exception from its class and its fields; pickles refer to this function."""
    return cls(*args, **fields)
