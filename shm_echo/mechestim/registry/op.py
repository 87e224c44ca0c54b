"""What the registry knows about one operation.

An :class:`Op` is data: a name, a category, a price and two sizes. It holds no array code and
imports no NumPy, so that the local library, the client, the server's allow-list, the type stubs and
the docs' table can all be made from the same entries.

A *rule* is a function with the call signature of the operation itself (``sort``'s takes ``a,
axis=-1, **_``). It is given the caller's own arguments and returns an ``int``. Operands are
whatever has a ``shape`` and a ``dtype``, or plain Python numbers and nested sequences;
:mod:`shm_echo.mechestim.costs.operands` reads them. A cost rule looks at shapes and at scalar
arguments, never at the values in an array. A rule that cannot make sense of its arguments raises:
the caller then lets NumPy refuse them in its own words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

Rule = Callable[..., int]


class Category(Enum):
    """How an operation is priced."""

    FREE = "free"  # never charged
    UNARY = "unary"  # one operand, priced by its output
    BINARY = "binary"  # two operands that broadcast, priced by its output
    REDUCTION = "reduction"  # priced by its input
    CUSTOM = "custom"  # has a price of its own
    UNSUPPORTED = "unsupported"  # raises UnsupportedFunctionError


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes:
        name: Dotted under ``mechestim``: ``"exp"``, ``"linalg.svd"``,
        ``"random.Generator.normal"``.
        category: How it is priced.
        formula: The price as the docs print it: ``"n*ceil(log2(n)) per slice"``; ``"0"`` when free.
        cost: The price in FLOPs, before weight and multiplier. ``None`` for free and unsupported
        ones.
        result_bytes: An upper bound of the memory that the result takes.
        scratch_bytes: An upper bound of what the operation takes beside its operands and its
        result.
        numpy: Dotted under ``numpy``: what computes it; ``""`` when nothing there does.
        charged_as: The name that its charges are booked under, when it is another spelling of that
        one.
        zero_ok: True when the documented price can be 0; every other counted call costs at least 1.
        callbacks: Names of the parameters that take a Python function.
        writes: Names of the parameters whose arrays it changes in place, beside ``out``.
        advice: For unsupported ones: why, and what to use instead.
        summary: One line for editors and the docs.
        source: Where the formula comes from, when it is a known result.
    """

    name: str
    category: Category
    formula: str = "0"
    cost: Rule | None = None
    result_bytes: Rule | None = None
    scratch_bytes: Rule | None = None
    numpy: str = ""
    charged_as: str = ""
    zero_ok: bool = False
    callbacks: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    advice: str = ""
    summary: str = ""
    source: str = ""

    @property
    def counted(self) -> bool:
        """True when a call of it is charged."""
        return self.cost is not None

    @property
    def book_name(self) -> str:
        """The name under which its FLOPs appear in a summary."""
        return self.charged_as or self.name
