"""`einsum` and `einsum_path` of local mode: priced as called, computed on plain arrays.

Users call `counted_einsum`. Planning a contraction takes much longer than contracting small arrays,
so plans are cached: a call with the subscripts, the shapes and the identical operands of an earlier
one is a single look-up of its price and its program. `run` computes on plain arrays and charges
nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy._core.multiarray import c_einsum

from shm_echo.mechestim.accounting.active_account import peek_view
from shm_echo.mechestim.costs.flops.einsum import einsum_path as einsum_path
from shm_echo.mechestim.costs.flops.einsum import identities, plan_operands
from shm_echo.mechestim.costs.flops.einsum_path import normalize_optimize
from shm_echo.mechestim.costs.operands import shape as shape_of
from shm_echo.mechestim.costs.subscripts import from_arguments, parse
from shm_echo.mechestim.local.array import Array, base_view, scalar
from shm_echo.mechestim.local.contraction import Program, compile_program
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.registry import OPS

_OP = OPS["einsum"]
_NUMERIC_DTYPES = frozenset("?bhilqBHILQefdgFDG")
_MAX_PLANS = 1024  # as many as contraction.compile_program caches
_view = np.ndarray.view
_ndarray = np.ndarray

# The price, the subscripts if NumPy's kernel alone can run them, and the program.
_Plan = tuple[int, "str | None", Program]
_plans: dict[Any, _Plan] = {}


def run(*operands: Any, out: Any = None, optimize: Any = "auto", **kwargs: Any) -> Any:
    """Return `einsum` of plain arrays, computed along the path that is priced.

    Subscripts and shapes that don't fit go to NumPy, for its own error message.
    """
    choice = normalize_optimize(optimize)
    try:
        subscripts, arrays = from_arguments(operands)
        shapes = tuple(map(shape_of, arrays))
        program = compile_program(subscripts, shapes, choice)
    except Exception:
        _raise_as_numpy(operands, kwargs)
        raise
    return program.run(list(arrays), out, **kwargs)


def _raise_as_numpy(operands: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise the error that NumPy has for subscripts or shapes that don't fit; return if they do."""
    try:
        subscripts, arrays = from_arguments(operands)
        parse(subscripts, [shape_of(x) for x in arrays])
    except Exception:
        c_einsum(*operands, **kwargs)


def counted_einsum(*operands: Any, **kwargs: Any) -> Any:
    """Return `numpy.einsum`, charged by its path.

    `symmetric_axes=` declares that the result is symmetric: the result is checked, and returned as
    a `SymmetricTensor`. It does not change the price of this call.
    """
    if not kwargs and operands and type(operands[0]) is str:
        view = peek_view()
        if view is not None and not view.needs_full_charge:
            plan = _cached_plan(operands)
            if plan is not None:
                cost, kernel, program = plan
                view.charge("einsum", cost)
                if kernel is not None:
                    result = c_einsum(kernel, *operands[1:])
                else:
                    result = program.run([base_view(x) for x in operands[1:]])
                return _view(result, Array) if type(result) is _ndarray else scalar(result)
    if "symmetric_axes" in kwargs:
        return _symmetric_einsum(operands, kwargs)
    return call(_OP, run, operands, kwargs)


def _cached_plan(operands: tuple[Any, ...]) -> _Plan | None:
    """Return the plan of a call that can't fail: all operands are counted arrays of numbers.

    Returns `None` for any other call, and for one that has no plan; the dispatcher handles both.
    """
    if len(operands) == 3:  # two operands, the commonest call, without loops
        subscripts, a, b = operands
        if type(a) is not Array or type(b) is not Array:
            return None
        if a.dtype.char not in _NUMERIC_DTYPES or b.dtype.char not in _NUMERIC_DTYPES:
            return None
        key: Any = (subscripts, a.shape, b.shape, a is b)
    else:
        arrays = operands[1:]
        for x in arrays:
            if type(x) is not Array or x.dtype.char not in _NUMERIC_DTYPES:
                return None
        key = (operands[0], tuple([x.shape for x in arrays]), identities(arrays))
    return _plans.get(key) or _plan(key, operands)


def _plan(key: Any, operands: tuple[Any, ...]) -> _Plan | None:
    try:
        cost = plan_operands(*operands).cost
        program = compile_program(operands[0], tuple([x.shape for x in operands[1:]]), "auto")
    except Exception:
        return None
    if len(_plans) >= _MAX_PLANS:  # cheaper than tracking the use of each entry in every call
        _plans.clear()
    plan = _plans[key] = max(1, cost), program.kernel, program
    return plan


def _symmetric_einsum(operands: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    axes = kwargs.pop("symmetric_axes")
    if axes is None:
        return counted_einsum(*operands, **kwargs)
    from shm_echo.mechestim.local.symmetric import as_symmetric
    from shm_echo.mechestim.symmetry.info import SymmetryInfo

    # Axes that don't fit the shape are an error before anything is charged.
    shape = plan_operands(*operands, optimize=kwargs.get("optimize", "auto")).output_shape
    info = SymmetryInfo(axes, shape)
    return as_symmetric(call(_OP, run, operands, kwargs), info.symmetric_axes)
