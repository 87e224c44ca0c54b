"""One entry of the registry: the facts of an operation.

An `Op` is data: a name, a category, a price and two sizes. It holds no array code and
imports no NumPy, so that the local library, the client, the server's allow-list, the type stubs and
the docs' table can all be made from the same entries.

A *rule* is a function with the call signature of the operation itself (`sort`'s takes `a,
axis=-1, **_`). It receives the caller's own arguments and returns an `int`. Operands are
objects with a `shape` and a `dtype`, or plain Python numbers and nested sequences;
`shm_echo.mechestim.costs.operands` reads them. A cost rule looks at shapes and at scalar
arguments, never at the values in an array. A rule raises for arguments that it cannot interpret:
the caller then passes them to NumPy, which raises the error that the user expects. The entries name
their rules through `shm_echo.mechestim.registry.rules`, which imports a rule when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import Final

from shm_echo.mechestim.registry.rules.lazy import resolved

Rule = Callable[..., int]


class Category(Enum):
    """The category that decides the price of an operation."""

    FREE = "free"  # never charged
    UNARY = "unary"  # one operand, priced by its output
    BINARY = "binary"  # two operands that broadcast, priced by its output
    REDUCTION = "reduction"  # priced by its input
    CUSTOM = "custom"  # has a price of its own
    UNSUPPORTED = "unsupported"  # raises UnsupportedFunctionError


class Op:
    """One operation; immutable.

    Attributes:
        name: Dotted under `mechestim`: `"exp"`, `"linalg.svd"`,
            `"random.Generator.normal"`.
        category: The category that decides its price.
        formula: The price as the docs print it: `"n*ceil(log2(n)) per slice"`; `"0"` when free.
        numpy: The NumPy function that computes it, dotted under `numpy`; `""` when there is none.
        charged_as: The name that its charges are booked under, when it is an alias of that one.
        zero_ok: True if the documented price can be 0; every other counted call costs at least 1.
        callbacks: Names of the parameters that take a Python function.
        writes: Names of the parameters whose arrays it changes in place, besides `out`.
        advice: For unsupported operations: the reason, and an alternative.
        summary: One line for editors and the docs.
        source: The publication that the formula comes from, when it is a known result.
    """

    def __init__(
        self,
        name: str,
        category: Category,
        formula: str = "0",
        cost: Rule | None = None,
        result_bytes: Rule | None = None,
        scratch_bytes: Rule | None = None,
        numpy: str = "",
        charged_as: str = "",
        zero_ok: bool = False,
        callbacks: tuple[str, ...] = (),
        writes: tuple[str, ...] = (),
        advice: str = "",
        summary: str = "",
        source: str = "",
    ) -> None:
        self.name: Final = name
        self.category: Final = category
        self.formula: Final = formula
        self.numpy: Final = numpy
        self.charged_as: Final = charged_as
        self.zero_ok: Final = zero_ok
        self.callbacks: Final = callbacks
        self.writes: Final = writes
        self.advice: Final = advice
        self.summary: Final = summary
        self.source: Final = source
        self._cost: Final = cost
        self._result_bytes: Final = result_bytes
        self._scratch_bytes: Final = scratch_bytes

    @cached_property
    def cost(self) -> Rule | None:
        """The price in FLOPs, before weight and multiplier; None for free and unsupported ones."""
        rule: Rule | None = resolved(self._cost)
        return rule

    @cached_property
    def result_bytes(self) -> Rule | None:
        """An upper bound of the memory that the result takes."""
        rule: Rule | None = resolved(self._result_bytes)
        return rule

    @cached_property
    def scratch_bytes(self) -> Rule | None:
        """An upper bound of the memory that it takes besides its operands and its result."""
        rule: Rule | None = resolved(self._scratch_bytes)
        return rule

    @property
    def counted(self) -> bool:
        """Return True if a call of it is charged."""
        return self._cost is not None

    @property
    def book_name(self) -> str:
        """The name under which its FLOPs appear in a summary."""
        return self.charged_as or self.name

    def priced_by(self, cost: Rule) -> Op:
        """Return the same operation with another price rule."""
        changed = Op.__new__(Op)
        vars(changed).update(vars(self), _cost=cost)
        vars(changed).pop("cost", None)
        return changed

    def __repr__(self) -> str:
        return f"<operation {self.name}>"
