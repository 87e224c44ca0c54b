"""NumPy's own names on counted arrays: `np.exp(x)`, `np.add.reduce(x)`, `np.linalg.svd(x)`.

NumPy calls `__array_ufunc__` of an array for ufuncs and their methods, and `__array_function__` for
everything else. Both run the counted function with the same meaning, the twin. A function without a
twin is refused, so that no NumPy function computes uncounted on a counted array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.local import ufuncs
from shm_echo.mechestim.local.array import Array
from shm_echo.mechestim.local.dispatch import call, free
from shm_echo.mechestim.local.fast_path import overridden
from shm_echo.mechestim.local.functions import twin

# NumPy functions that only look at an array or print it.
_FREE_FUNCTIONS = frozenset(
    {
        "array_repr",
        "array_str",
        "array2string",
        "sliding_window_view",
        "shares_memory",
        "may_share_memory",
    }
)


def array_ufunc(self: Any, ufunc: np.ufunc, method: str, /, *inputs: Any, **kwargs: Any) -> Any:
    """Run a ufunc or one of its methods, charged."""
    if overridden(inputs, kwargs):
        return NotImplemented  # NumPy then calls the other class
    if method == "__call__":
        function = twin(ufunc)
        if function is not None:
            return function(*inputs, **kwargs)
        return call(ufuncs.unregistered(ufunc), ufunc, inputs, kwargs)
    if method not in ufuncs.METHODS or not isinstance(ufunc, np.ufunc):
        raise TypeError(f"__array_ufunc__ of {ufunc!r} knows no method {method!r}")
    return ufuncs.method(ufunc, method, inputs, _with_single_out(kwargs))


def _with_single_out(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return `kwargs` with `out=(x,)`, the form in which NumPy passes it on, as `out=x`."""
    out = kwargs.get("out")
    if type(out) is tuple and len(out) == 1:
        return {**kwargs, "out": out[0]}
    return kwargs


def array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any, /) -> Any:
    """Run any other NumPy function, charged.

    Raises:
        UnsupportedFunctionError: The function has no counted twin.
    """
    ours = twin(function)
    if ours is not None:
        return ours(*args, **kwargs)
    name = getattr(function, "__name__", str(function))
    module = getattr(function, "__module__", "") or ""
    if name in _FREE_FUNCTIONS:
        return free(function, args, kwargs)
    raise UnsupportedFunctionError(
        name,
        f"{module}.{name} has no counted twin; numpy.asarray(x) gives it a plain view, which is "
        "not counted.",
    )


def install() -> None:
    """Add the protocols to `Array`."""
    Array.__array_ufunc__ = array_ufunc  # type: ignore[method-assign, assignment]
    Array.__array_function__ = array_function  # type: ignore[method-assign, assignment]
