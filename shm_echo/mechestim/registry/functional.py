"""Operations that call a function which the caller passes.

The operations inside that function are charged; the call itself is free.
"""

from __future__ import annotations

from shm_echo.mechestim.registry.build import free
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.memory import bounds, creation, shaping

OPS: tuple[Op, ...] = (
    free("apply_along_axis", "A function of vectors applied to every slice along an axis.",
         shaping.along_axis, shaping.along_axis, callbacks=("func1d",)),
    free("apply_over_axes", "A function of an array and an axis applied over several axes.",
         shaping.over_axes, shaping.over_axes, callbacks=("func",)),
    free("fromfunction", "An array computed from its coordinates.", creation.fromfunction,
         creation.fromfunction, callbacks=("function",)),
    free("frompyfunc", "A Python function that works element by element, giving objects.",
         callbacks=("func",)),
    free("piecewise", "Functions applied where their conditions hold.", bounds.elements_copied,
         bounds.copies(2), callbacks=("funclist",)),
    free("vectorize", "A Python function that broadcasts over arrays.", callbacks=("pyfunc",)),
)  # fmt: skip
