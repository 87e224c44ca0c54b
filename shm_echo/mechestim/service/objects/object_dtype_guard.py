"""Keeps Python objects out of the arithmetic.

An array of dtype object computes by calling Python, one element at a time: with whole numbers of
any length a single product can take hours, and the bytes of the array are addresses. Every request
that would make one is refused: whole numbers beyond 64 bits where no array fixes their dtype, and
every spelling of that dtype. A function of the client's own (`vectorize`, `frompyfunc`) may return
such an array; it can be read and converted, not computed with.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import NO_OBJECTS
from shm_echo.mechestim.registry._signatures_generated import SIGNATURES

__all__ = ["MOST_DIGITS", "check_arguments", "check_result", "holds_objects"]

MOST_DIGITS = 1024  # bytes of one whole number; seeds are long, and not longer

_MAKERS = frozenset({"object.call"})
_MAY_SEE = frozenset(
    {
        "reshape",
        "session.size",
        *(
            f"ndarray.{name}"
            for name in (
                *("T.get", "__getitem__", "__len__", "__repr__", "__str__", "astype", "copy"),
                *("dtype.get", "flat.get", "flatten", "item", "ravel", "reshape", "shape.get"),
                *("strides.get", "tolist", "transpose"),
            )
        ),
    }
)
_LOOPS = ("signature", "sig")


def _places() -> dict[str, int]:
    """At which position operations take a dtype, where one can be given by position."""
    found = {}
    for name, signature in SIGNATURES.items():
        if "dtype" in signature:
            function = ast.parse(f"def f{signature}: pass").body[0]
            assert isinstance(function, ast.FunctionDef)
            names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
            if "dtype" in names:
                found[name] = names.index("dtype")
    return found


_PLACES = _places()


def holds_objects(value: Any) -> bool:
    """Return True if `value` is an array of Python objects."""
    return isinstance(value, np.ndarray) and value.dtype.hasobject


def check_arguments(
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    *,
    long_numbers: bool,
    has_object_arrays: bool,
) -> None:
    """See that the operation would not compute with Python objects.

    Args:
        long_numbers: there are whole numbers beyond 64 bits among the arguments.
        has_object_arrays: the session has arrays of Python objects.

    Raises:
        TypeError: it would.
    """
    place = _PLACES.get(name)
    if place is not None and len(args) > place and _is_object_dtype(args[place]):
        raise TypeError(NO_OBJECTS)
    if kwargs and (
        _is_object_dtype(kwargs.get("dtype"))
        or any("O" in str(kwargs[key]) for key in _LOOPS if key in kwargs)
    ):
        raise TypeError(NO_OBJECTS)
    values = [*args, *kwargs.values()] if kwargs else args
    if long_numbers and not name.startswith(("random.", "budget.")):
        _check_long_numbers(values)
    if has_object_arrays and name not in _MAY_SEE and name not in _MAKERS and any(_holds(values)):
        raise TypeError(
            "an array of Python objects can be looked at and converted on a server, not computed "
            "with: use astype(float) first"
        )


def _is_object_dtype(value: Any) -> bool:
    """Return True if NumPy reads this as a dtype of Python objects."""
    if value is None:
        return False
    try:
        return bool(np.dtype(value).hasobject)
    except (TypeError, ValueError, SyntaxError, RecursionError):
        return False


def _check_long_numbers(values: list[Any]) -> None:
    typed = any(isinstance(value, np.ndarray) and value.ndim for value in values)
    for value in values:
        suspect = isinstance(value, (tuple, list)) or (isinstance(value, int) and not typed)
        if suspect and any(_long_numbers(value)):
            raise TypeError("whole numbers beyond 64 bits cannot be computed with on a server")


def _long_numbers(value: Any) -> Iterable[bool]:
    if isinstance(value, int):
        yield not -(2**63) <= value < 2**64
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _long_numbers(item)


def _holds(values: Any) -> Iterable[bool]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _holds(value)
        elif isinstance(value, dict):
            yield from _holds(value.values())
        else:
            yield holds_objects(value)


def check_result(name: str, result: Any) -> None:
    """See that the result holds no Python objects, unless it may.

    Raises:
        TypeError: it does.
    """
    if isinstance(result, (tuple, list)):
        found = any(map(holds_objects, result))
    else:
        found = holds_objects(result)
    if found and name not in _MAKERS and name not in _MAY_SEE:
        raise TypeError(NO_OBJECTS)
