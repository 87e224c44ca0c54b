"""The array of local mode: a NumPy array whose every door leads through the count.

`Array` is what users see as `mechestim.ndarray`. It adds no state to `numpy.ndarray`;
what it changes is who computes: operators, methods, ufuncs and NumPy's own functions on it are sent
to the charging functions of `shm_echo.mechestim.local`. `Scalar` is the 0-d result that
behaves like a NumPy scalar: hashable, immutable, formatted alike.

`plain` takes the coat off (a base-class view of the same memory), `wrap` puts it on.
Their cost is what every counted call pays, so both avoid Python-level work where they can: there is
no `__array_finalize__`, and `ndarray.__array__` is the fastest way to a base-class view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_view = np.ndarray.view
_asarray = np.asarray
_generic = np.generic
_ndarray = np.ndarray
base_view: Callable[[Any], np.ndarray[Any, Any]] = np.ndarray.__array__

# What a list is made of that need not be searched for arrays.
_ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, type(None), np.float64, np.int64, np.bool_}
)


class Array(np.ndarray):
    """A NumPy array that counts FLOPs. Made by `mechestim.array` and by every other function."""

    __slots__ = ()
    symmetry_info: Any = None  # a SymmetricTensor has one

    # The operators and methods are put on by operators.py and methods.py, the protocols by
    # protocols.py: each of those files holds one kind of door.


class Scalar(Array):
    """A 0-d result: it hashes, formats, rounds and indexes like a NumPy scalar."""

    __slots__ = ()


def number(value: Scalar) -> Any:
    """The NumPy scalar that a `Scalar` stands for."""
    return base_view(value)[()]


def isscalar(element: Any) -> bool:
    """`numpy.isscalar`, which a `Scalar` is too."""
    return type(element) is Scalar or np.isscalar(element)


def plain(value: Any) -> Any:
    """`value` with every counted array in it (in lists and tuples too) as NumPy's own.

    An array becomes a base-class view of the same memory, a `Scalar` a NumPy scalar.
    """
    if isinstance(value, Array):
        return number(value) if type(value) is Scalar else base_view(value)
    kind = type(value)
    if kind is list or kind is tuple:
        if _ATOMS.issuperset(map(type, value)):
            return value
        stripped = [plain(item) for item in value]
        if all(new is old for new, old in zip(stripped, value, strict=True)):
            return value
        return stripped if kind is list else tuple(stripped)
    return value


def wrap(result: Any) -> Any:
    """The `result` of a NumPy call as counted arrays, in tuples and lists too."""
    kind = type(result)
    if kind is _ndarray:
        return _view(result, Array)
    if isinstance(result, _generic):
        return scalar(result)
    if kind is tuple:
        return tuple([wrap(item) for item in result])
    if kind is list:
        return [wrap(item) for item in result]
    if isinstance(result, tuple) and hasattr(kind, "_fields"):  # SVDResult and its like
        return kind(*[wrap(item) for item in result])
    if kind is dict:  # the state of a random generator
        return {key: wrap(item) for key, item in result.items()}
    if kind is np.matrix:  # bmat's: matrix objects would compute uncounted
        return _view(base_view(result), Array)
    return result


def scalar(value: Any) -> Any:
    """A NumPy scalar as a `Scalar`; text and records, no numbers, stay what they are."""
    if isinstance(value, (np.character, np.void)):
        return value
    return _view(_asarray(value), Scalar)
