"""The fast path of matrix products: `x @ y`, `matmul` and `dot` of arrays of one float dtype.

The price is that of the equal einsum, 2*m*k*n. All other cases (batches, vectors on the left,
symmetric operands, `out=`) go to the dispatcher and are priced by the rule of the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.accounting.active_account import peek_view
from shm_echo.mechestim.local.array import Array, base_view, scalar
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.local.fast_path import overridden
from shm_echo.mechestim.registry import OPS

_BLAS_DTYPES = frozenset("fdFD")
_view = np.ndarray.view
_ndarray = np.ndarray


_MISSING: Any = object()  # dot takes its operands by name too


def _product(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    op = OPS[name]

    def product(x1: Any = _MISSING, x2: Any = _MISSING, /, *args: Any, **kwargs: Any) -> Any:
        if type(x1) is Array and type(x2) is Array and not args and not kwargs:
            view = peek_view()
            char = x1.dtype.char
            if (
                char in _BLAS_DTYPES
                and x2.dtype.char == char
                and view is not None
                and not view.needs_full_charge
            ):
                left, right = x1.shape, x2.shape
                if len(left) == 2 and 1 <= len(right) <= 2 and left[1] == right[0]:
                    cost = 2 * x1.size * (right[1] if len(right) == 2 else 1)
                    view.charge(name, cost or 1)
                    result = run(base_view(x1), base_view(x2))
                    return _view(result, Array) if type(result) is _ndarray else scalar(result)
        given = tuple([value for value in (x1, x2) if value is not _MISSING])
        if isinstance(run, np.ufunc) and overridden((*given, *args), kwargs):
            return run(*given, *args, **kwargs)
        return call(op, run, (*given, *args), kwargs)

    return product


matmul = _product("matmul", np.matmul)
dot = _product("dot", np.dot)


def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    """Return `numpy.linalg.matmul`: the same product, without the options of a ufunc."""
    return matmul(x1, x2)
