"""Functions that take callbacks: `apply_along_axis`, `piecewise`, `vectorize` and their like.

Their price is the price of the callback's own operations. The callback gets counted arrays, so its
operations on them are charged in the ordinary way; NumPy gets its result as a plain array.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.local.array import Scalar, number, plain, wrap
from shm_echo.mechestim.local.dispatch import free

Callback = Callable[..., Any]


def counted_callback(function: Callback) -> Callback:
    """Return `function` for NumPy to call: it gets counted arrays in place of plain ones."""

    @functools.wraps(function, assigned=("__name__", "__doc__"), updated=())
    def adapter(*args: Any, **kwargs: Any) -> Any:
        result = function(
            *[wrap(value) for value in args], **{k: wrap(v) for k, v in kwargs.items()}
        )
        return plain(result)

    return adapter


def with_counted_callbacks(function: Callable[..., Any], *positions: int) -> Callable[..., Any]:
    """Return `function`, free, with counted arrays for its callbacks at `positions`."""

    # Types are left alone: they convert (`dtype=float`). piecewise takes a list of functions.
    def adapt(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)([adapt(item) for item in value])
        return counted_callback(value) if callable(value) and not isinstance(value, type) else value

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        args = tuple(adapt(value) if i in positions else value for i, value in enumerate(args))
        kwargs = {key: adapt(v) if key in _CALLBACK_PARAMETERS else v for key, v in kwargs.items()}
        return free(function, args, kwargs)

    return run


_CALLBACK_PARAMETERS = frozenset({"func1d", "func", "funclist", "function", "pyfunc", "mask_func"})


class vectorize(np.vectorize):
    """`numpy.vectorize`: its calls return counted arrays and have the price of the function."""

    # A pickle looks the class up there, and so loads all that counts.
    __module__ = "mechestim"  # type: ignore[assignment]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return wrap(
            super().__call__(
                *[plain(value) for value in args], **{k: plain(v) for k, v in kwargs.items()}
            )
        )

    def _vectorize_call(self, func: Any, args: Any) -> Any:
        return super()._vectorize_call(_returning_numpy_scalars(func), args)  # type: ignore[misc]


def _returning_numpy_scalars(function: Callback) -> Callback:
    """Return `function` with each `Scalar` that it returns as NumPy's scalar."""

    @functools.wraps(function, assigned=("__name__", "__doc__"), updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return tuple(map(_numpy_scalar, result)) if type(result) is tuple else _numpy_scalar(result)

    return run


def _numpy_scalar(value: Any) -> Any:
    """Return `value` as an object array holds it: a NumPy scalar, but an array as it is."""
    return number(value) if type(value) is Scalar else value


def frompyfunc(func: Callback, /, nin: int, nout: int, **kwargs: Any) -> Any:
    """Return `numpy.frompyfunc`, whose calls on counted arrays return counted arrays."""
    return PythonUfunc(np.frompyfunc(_returning_numpy_scalars(func), nin, nout, **kwargs))


class PythonUfunc:
    """A ufunc made of a Python function; only the operations inside that function are charged."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return free(self._ufunc, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ufunc, name)
        if name in ("reduce", "accumulate", "reduceat", "outer", "at"):
            return lambda *args, **kwargs: free(found, args, kwargs)
        return found

    def __repr__(self) -> str:
        return repr(self._ufunc)
