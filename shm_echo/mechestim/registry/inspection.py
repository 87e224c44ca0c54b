"""Questions about types, shapes and memory, and tests for NaN and infinities: all free."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import free
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.memory import bounds

_ANSWERS = bounds.pointwise(1, 1, 1)

OPS: tuple[Op, ...] = (
    free("base_repr", "An integer written in some base.", bounds.text),
    free("binary_repr", "An integer written in binary.", bounds.text),
    free("can_cast", "True if a rule allows the cast."),
    free("common_type", "The inexact type that several arrays share."),
    free("isdtype", "True if a type is of a kind."),
    free("isfinite", "True where an element is neither NaN nor infinite.", _ANSWERS),
    free("isfortran", "True if columns lie next to each other in memory."),
    free("isinf", "True where an element is infinite.", _ANSWERS),
    free("isnan", "True where an element is NaN.", _ANSWERS),
    free("isscalar", "True for a number or text, False for an array."),
    free("issubdtype", "True if a type is below another in the hierarchy."),
    free("iterable", "True if an object can be iterated over."),
    free("may_share_memory", "True if two arrays might overlap, by their bounds."),
    free("min_scalar_type", "The smallest type that holds a number."),
    free("mintypecode", "The smallest type code that holds several."),
    free("ndim", "Number of axes."),
    free("promote_types", "The smallest type that two types cast to."),
    free("result_type", "The type that arithmetic on operands gives."),
    free("shape", "Length of every axis."),
    free("shares_memory", "True if two arrays overlap."),
    free("size", "Number of elements, in all or along an axis."),
    free("typename", "A description of a type code."),
)
