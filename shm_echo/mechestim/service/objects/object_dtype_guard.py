"""Keeps Python objects out of the arithmetic.

An array of dtype object computes by calling Python for each element. With integers of any length a
single product can take hours, and the bytes of the array are addresses of the server. The guard
rejects every request that would make such an array: integers beyond 64 bits where no array fixes
the dtype, and every spelling of that dtype. A function of the client's own (`vectorize`,
`frompyfunc`) may return an array of objects; the client can read and convert it, but not compute
with it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import NO_OBJECTS
from shm_echo.mechestim.registry._signatures_generated import SIGNATURES

__all__ = ["MAX_INTEGER_BYTES", "check_arguments", "check_result", "holds_objects"]

MAX_INTEGER_BYTES = 1024  # the longest integers are seeds: MT19937 takes 2,496 bytes as an array

# The requests that may return an array of objects, and those that may take one as an argument.
_OBJECT_SOURCES = frozenset({"object.call"})
_OBJECT_READERS = frozenset(
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
_LOOP_OPTIONS = ("signature", "sig")  # of ufuncs: dtype letters such as "OO->O"


def _dtype_positions() -> dict[str, int]:
    """Return the position of the parameter `dtype` of each operation that takes it by position."""
    found = {}
    for name, signature in SIGNATURES.items():
        if "dtype" in signature:
            # Python's own parser knows the commas within defaults, and the markers / and *.
            function = ast.parse(f"def f{signature}: pass").body[0]
            assert isinstance(function, ast.FunctionDef)
            names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
            if "dtype" in names:
                found[name] = names.index("dtype")
    return found


_DTYPE_POSITION = _dtype_positions()


def holds_objects(value: Any) -> bool:
    """Return True if `value` is an array of Python objects."""
    return isinstance(value, np.ndarray) and value.dtype.hasobject


def check_arguments(
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    *,
    has_big_integers: bool,
    has_object_arrays: bool,
) -> None:
    """Check that the operation would not compute with Python objects.

    Args:
        name: The operation, method or session call.
        args: The positional arguments.
        kwargs: The keyword arguments.
        has_big_integers: True if there are integers beyond 64 bits among the arguments.
        has_object_arrays: True if the session has arrays of Python objects.

    Raises:
        TypeError: The operation would make an array of objects, or compute with one.
    """
    position = _DTYPE_POSITION.get(name)
    if position is not None and len(args) > position and _is_object_dtype(args[position]):
        raise TypeError(NO_OBJECTS)
    if kwargs and (
        _is_object_dtype(kwargs.get("dtype"))
        or any("O" in str(kwargs[key]) for key in _LOOP_OPTIONS if key in kwargs)
    ):
        raise TypeError(NO_OBJECTS)
    values = [*args, *kwargs.values()] if kwargs else args
    # Seeds and FLOP counts may be of any length: they do not become array elements.
    if has_big_integers and not name.startswith(("random.", "budget.")):
        _check_big_integers(values)
    if (
        has_object_arrays
        and name not in _OBJECT_READERS
        and name not in _OBJECT_SOURCES
        and any(_object_arrays(values))
    ):
        raise TypeError(
            "a server can read and convert an array of Python objects, but not compute with it: "
            "use astype(float) first"
        )


def _is_object_dtype(value: Any) -> bool:
    """Return True if NumPy reads this as a dtype that holds Python objects."""
    if value is None:
        return False
    try:
        return bool(np.dtype(value).hasobject)
    except (TypeError, ValueError, SyntaxError, RecursionError):
        return False


def _check_big_integers(values: list[Any]) -> None:
    """Raise TypeError if NumPy would turn an integer into an array element of dtype object."""
    # Beside an array, NumPy converts an integer to the array's dtype, or raises OverflowError.
    # A list becomes an array by itself.
    typed = any(isinstance(value, np.ndarray) and value.ndim for value in values)
    for value in values:
        suspect = isinstance(value, (tuple, list)) or (isinstance(value, int) and not typed)
        if suspect and any(_big_integers(value)):
            raise TypeError("a server cannot compute with integers beyond 64 bits")


def _big_integers(value: Any) -> Iterable[bool]:
    """Yield for each integer, in nested lists too, True if it fits neither int64 nor uint64."""
    if isinstance(value, int):
        yield not -(2**63) <= value < 2**64
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _big_integers(item)


def _object_arrays(values: Any) -> Iterable[bool]:
    """Yield for each value, in nested lists and dicts too, True if it is an array of objects."""
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _object_arrays(value)
        elif isinstance(value, dict):
            yield from _object_arrays(value.values())
        else:
            yield holds_objects(value)


def check_result(name: str, result: Any) -> None:
    """Check that the result is no array of Python objects, unless the request may return one.

    Raises:
        TypeError: It is one, or contains one.
    """
    if isinstance(result, (tuple, list)):
        found = any(map(holds_objects, result))
    else:
        found = holds_objects(result)
    if found and name not in _OBJECT_SOURCES and name not in _OBJECT_READERS:
        raise TypeError(NO_OBJECTS)
