"""The array of local mode: a subclass of NumPy's array on which every call form is charged.

Users see `Array` as `mechestim.ndarray`. It adds no state to `numpy.ndarray`; its operators,
methods, ufuncs and NumPy's own functions on it run the charging functions of this package. `Scalar`
is the 0-d result that behaves like a NumPy scalar: hashable, immutable, formatted alike.

`plain` returns a base-class view of the same memory, `wrap` a counted view of a result. Every
counted call runs both, so they avoid work in Python where they can: there is no
`__array_finalize__`, and `ndarray.__array__` is the fastest way to a base-class view.

The classes here are bare; `counted_array` adds the call forms.
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

# A list of nothing but these types holds no array, so `plain` returns it as it is.
_ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, type(None), np.float64, np.int64, np.bool_}
)


class Array(np.ndarray):
    """A NumPy array that counts FLOPs; `mechestim.array` and every other function return it.

    >>> import mechestim as me
    >>> x = me.array([1.0, 2.0])
    >>> with me.BudgetContext(100, quiet=True) as budget:
    ...     y = x + x
    >>> type(y) is me.ndarray, budget.flops_used
    (True, 2)
    """

    __slots__ = ()
    symmetry_info: Any = None  # a SymmetricTensor has one

    # operators, methods, indexing and protocols each add one kind of call form.


class Scalar(Array):
    """A 0-d result: it hashes, formats, rounds and indexes like a NumPy scalar."""

    __slots__ = ()


def number(value: Scalar) -> Any:
    """Return the NumPy scalar that `value` stands for."""
    return base_view(value)[()]


def isscalar(element: Any) -> bool:
    """Return True if `element` is a scalar to NumPy, or a `Scalar`."""
    return type(element) is Scalar or np.isscalar(element)


def plain(value: Any) -> Any:
    """Return `value` with each counted array in it, in lists and tuples too, as NumPy's own.

    An array becomes a base-class view of the same memory, a `Scalar` a NumPy scalar. A list or
    tuple without counted arrays is returned itself, for functions that change the caller's list.
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
    """Return the `result` of a NumPy call as counted arrays, in tuples and lists too."""
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
    if kind is np.matrix:  # of bmat: a matrix object would compute uncounted
        return _view(base_view(result), Array)
    return result


def scalar(value: Any) -> Any:
    """Return a NumPy scalar as a `Scalar`; text and records, which hold no number, unchanged."""
    if isinstance(value, (np.character, np.void)):
        return value
    return _view(_asarray(value), Scalar)
