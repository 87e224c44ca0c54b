"""Builders of registry entries, one for each category of operations."""

from __future__ import annotations

from shm_echo.mechestim.registry.op import Category, Op, Rule
from shm_echo.mechestim.registry.rules.flops import pointwise
from shm_echo.mechestim.registry.rules.memory import bounds

OUTPUT = "numel(output)"


def free(
    name: str,
    summary: str,
    result: Rule = bounds.none,
    scratch: Rule = bounds.none,
    *,
    numpy: str = "",
    charged_as: str = "",
    callbacks: tuple[str, ...] = (),
) -> Op:
    """Return an operation that is never charged."""
    return Op(
        name=name,
        category=Category.FREE,
        result_bytes=result,
        scratch_bytes=scratch,
        numpy=numpy or name,
        charged_as=charged_as,
        callbacks=callbacks,
        summary=summary,
    )


def unary(
    name: str,
    summary: str,
    cost: Rule = pointwise.unary,
    *,
    outputs: int = 1,
    width: int | None = None,
    charged_as: str = "",
    result: Rule | None = None,
    scratch: Rule = bounds.none,
) -> Op:
    """Return a ufunc of one operand, or a function priced like one."""
    return Op(
        name=name,
        category=Category.UNARY,
        formula=OUTPUT,
        cost=cost,
        result_bytes=result or bounds.pointwise(1, outputs, width),
        scratch_bytes=scratch,
        numpy=name,
        charged_as=charged_as,
        summary=summary,
    )


def binary(
    name: str,
    summary: str,
    *,
    outputs: int = 1,
    width: int | None = None,
    charged_as: str = "",
    result: Rule | None = None,
) -> Op:
    """Return a ufunc of two operands that broadcast."""
    return Op(
        name=name,
        category=Category.BINARY,
        formula=OUTPUT,
        cost=pointwise.binary,
        result_bytes=result or bounds.pointwise(2, outputs, width),
        scratch_bytes=bounds.none,
        numpy=name,
        charged_as=charged_as,
        summary=summary,
    )


def reduction(
    name: str,
    summary: str,
    cost: Rule,
    result: Rule,
    scratch: Rule = bounds.none,
    *,
    formula: str = "numel(input)",
    charged_as: str = "",
) -> Op:
    """Return an operation priced by its input."""
    return Op(
        name=name,
        category=Category.REDUCTION,
        formula=formula,
        cost=cost,
        result_bytes=result,
        scratch_bytes=scratch,
        numpy=name,
        charged_as=charged_as,
        summary=summary,
    )


def custom(
    name: str,
    formula: str,
    cost: Rule,
    summary: str,
    result: Rule = bounds.scalar,
    scratch: Rule = bounds.none,
    *,
    numpy: str = "",
    charged_as: str = "",
    writes: tuple[str, ...] = (),
    zero_ok: bool = False,
    source: str = "",
) -> Op:
    """Return an operation with a price of its own."""
    return Op(
        name=name,
        category=Category.CUSTOM,
        formula=formula,
        cost=cost,
        result_bytes=result,
        scratch_bytes=scratch,
        numpy=numpy or name,
        charged_as=charged_as,
        zero_ok=zero_ok,
        writes=writes,
        summary=summary,
        source=source,
    )


def unsupported(name: str, summary: str, advice: str) -> Op:
    """Return an unsupported name of NumPy; `advice` has the reason and an alternative."""
    return Op(
        name=name,
        category=Category.UNSUPPORTED,
        formula="-",
        numpy=name,
        advice=advice,
        summary=summary,
    )
