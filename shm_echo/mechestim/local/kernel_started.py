"""Was a call refused, or had it started?

An operation that NumPy refuses for its types, shapes or axes is not charged; one whose kernel has
started is, whatever it raises. Most refusals are seen by the price rule before anything is charged.
For the rest, this module decides afterwards, from shapes and dtypes alone: the same call is made
again with harmless data of the same shapes and dtypes. If that is refused too, the values had no
part in it.

Values must not matter: a verdict that depended on them would let a program learn about its data for
free.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

# Raised by kernels, by callbacks, or by the world outside: never by the checks before a kernel.
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
    """Return True if the kernel had started when the call raised `error`."""
    if isinstance(error, _RAISED_ONCE_STARTED) or not isinstance(error, Exception):
        return True
    if isinstance(function, np.ufunc) and any(
        map(_overrides_ufuncs, (*args, *_out_arrays(kwargs)))
    ):
        return False  # another class had the first word: NumPy asks it before anything else
    if any(callable(value) and not isinstance(value, type) for value in (*args, *kwargs.values())):
        return True  # a callback may do anything, twice as well
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
    """An array of the same shape and dtype: unit matrices where it is square, ones elsewhere."""
    shape = array.shape
    try:
        if len(shape) >= 2 and shape[-1] == shape[-2]:
            result = np.zeros(shape, array.dtype)
            np.einsum("...ii->...i", result)[...] = 1
        else:
            result = np.ones(shape, array.dtype)
    except (TypeError, ValueError):  # records and the like
        result = np.zeros(shape, array.dtype)
    result.flags.writeable = array.flags.writeable
    return result
