"""`einsum` and `einsum_path` of local mode: priced as called, computed on plain arrays.

`counted_einsum` is what users call. A call that was seen before (same subscripts,
shapes and sameness of operands) is one look-up: the entry holds the price and the program.
`run` computes on plain arrays and charges nothing.
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
_MAX_PLANS = 1024
_view = np.ndarray.view
_ndarray = np.ndarray

# How a call was made -> its price, subscripts for NumPy's kernel alone, and the program.
_Plan = tuple[int, "str | None", Program]
_plans: dict[Any, _Plan] = {}


def run(*operands: Any, out: Any = None, optimize: Any = "auto", **kwargs: Any) -> Any:
    """`einsum` on plain arrays, along the path that is priced.

    Subscripts and shapes that do not fit are left to NumPy to refuse, in its own words.
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
    """Let NumPy say what is wrong with the subscripts, if it is they that are wrong."""
    try:
        subscripts, arrays = from_arguments(operands)
        parse(subscripts, [shape_of(x) for x in arrays])
    except Exception:
        c_einsum(*operands, **kwargs)


def counted_einsum(*operands: Any, **kwargs: Any) -> Any:
    """`numpy.einsum`, charged by its path.

    `symmetric_axes=` declares the result to be symmetric: it is checked, and returned as a
    `SymmetricTensor`. It does not change the price of this call.
    """
    if not kwargs and operands and type(operands[0]) is str:
        view = peek_view()
        if view is not None and not view.special:
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
    """What is known of a call with plain counted arrays of numbers, which nothing can refuse.

    `None` for any other call, and for one that cannot be planned.
    """
    if len(operands) == 3:
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
    if len(_plans) >= _MAX_PLANS:
        _plans.clear()
    plan = _plans[key] = max(1, cost), program.kernel, program
    return plan


def _symmetric_einsum(operands: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    axes = kwargs.pop("symmetric_axes")
    if axes is None:
        return counted_einsum(*operands, **kwargs)
    from shm_echo.mechestim.local.symmetric import as_symmetric
    from shm_echo.mechestim.symmetry.info import SymmetryInfo

    # What the axes can be refused for is refused before anything is charged.
    shape = plan_operands(*operands, optimize=kwargs.get("optimize", "auto")).output_shape
    info = SymmetryInfo(axes, shape)
    return as_symmetric(call(_OP, run, operands, kwargs), info.symmetric_axes)
