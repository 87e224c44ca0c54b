"""Decides whether a failed call had started, and so stays charged.

An operation that NumPy refuses for its types, shapes or axes is not charged; one whose kernel has
started is, however it ends. The price rule sees most refusals before anything is charged. For the
rest, this module decides afterwards, from shapes and dtypes alone: it repeats the call with
harmless data of the same shapes and dtypes. If NumPy refuses that too, the values had no part in
the error, so it came before the kernel.

The verdict must not depend on values: a program could otherwise learn about its data for free.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

# Kernels, callbacks and signals raise these; NumPy's checks before a kernel never do.
_RAISED_ONCE_STARTED = (
    FloatingPointError,
    MemoryError,
    KeyboardInterrupt,
    SystemExit,
    Warning,
    RecursionError,
)


def kernel_started(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException,
) -> bool:
    """Return True if the kernel had started when the call raised `error`.

    Args:
        function: The function that was called. It is called again.
        args: Its positional arguments, stripped to plain arrays.
        kwargs: Its keyword arguments, likewise.
        error: The error that it raised.
    """
    if isinstance(error, _RAISED_ONCE_STARTED) or not isinstance(error, Exception):
        return True
    if isinstance(function, np.ufunc) and any(
        map(_overrides_ufuncs, (*args, *_out_arrays(kwargs)))
    ):
        return False  # NumPy calls __array_ufunc__ of another class before its own checks
    if any(callable(value) and not isinstance(value, type) for value in (*args, *kwargs.values())):
        return True  # a second call of a callback could have effects
    harmless_args = tuple(_with_harmless_data(value) for value in args)
    harmless_kwargs = {name: _with_harmless_data(value) for name, value in kwargs.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            function(*harmless_args, **harmless_kwargs)
        except _RAISED_ONCE_STARTED:
            return True
        except Exception as second_error:
            return type(second_error) is not type(error)
    return True


def _overrides_ufuncs(value: Any) -> bool:
    kind = type(value)
    return (
        hasattr(kind, "__array_ufunc__")
        and kind.__array_ufunc__ is not np.ndarray.__array_ufunc__
        and not issubclass(kind, np.generic)
    )


def _out_arrays(kwargs: dict[str, Any]) -> tuple[Any, ...]:
    out = kwargs.get("out")
    return out if type(out) is tuple else (out,)


def _with_harmless_data(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _harmless_array(value)
    if type(value) is list or type(value) is tuple:
        return type(value)([_with_harmless_data(item) for item in value])
    return value


def _harmless_array(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of the same shape and dtype: unit matrices if it is square, else ones.

    They divide, invert and factorise without an error.
    """
    shape = array.shape
    try:
        if len(shape) >= 2 and shape[-1] == shape[-2]:
            result = np.zeros(shape, array.dtype)
            np.einsum("...ii->...i", result)[...] = 1
        else:
            result = np.ones(shape, array.dtype)
    except (TypeError, ValueError):  # dtypes without a one, such as records
        result = np.zeros(shape, array.dtype)
    result.flags.writeable = array.flags.writeable
    return result
