"""Questions about types, shapes and memory, and tests for NaN and infinities: all free."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import free
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.memory import bounds

_ANSWERS = bounds.pointwise(1, 1, 1)

OPS: tuple[Op, ...] = (
    free("base_repr", "An integer written in some base.", bounds.text),
    free("binary_repr", "An integer written in binary.", bounds.text),
    free("can_cast", "Whether a cast is allowed by a rule."),
    free("common_type", "The inexact type that several arrays share."),
    free("isdtype", "Whether a type is of a kind."),
    free("isfinite", "Which elements are neither NaN nor infinite.", _ANSWERS),
    free("isfortran", "Whether columns lie next to each other in memory."),
    free("isinf", "Which elements are infinite.", _ANSWERS),
    free("isnan", "Which elements are NaN.", _ANSWERS),
    free("isscalar", "Whether something is a number or text, not an array."),
    free("issubdtype", "Whether a type is below another in the hierarchy."),
    free("iterable", "Whether something can be walked through."),
    free("may_share_memory", "Whether two arrays might overlap, by their bounds."),
    free("min_scalar_type", "The smallest type that holds a number."),
    free("mintypecode", "The smallest type code that holds several."),
    free("ndim", "Number of axes."),
    free("promote_types", "The smallest type that two types cast to."),
    free("result_type", "The type that arithmetic on operands gives."),
    free("shape", "Length of every axis."),
    free("shares_memory", "Whether two arrays overlap."),
    free("size", "Number of elements, in all or along an axis."),
    free("typename", "A description of a type code."),
)
