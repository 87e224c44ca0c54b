"""Keeps Python's own objects out of the arithmetic.

An array of dtype object computes by calling Python, one element at a time: with whole numbers of
any length a single product can take hours, and its bytes are addresses. So what would make one is
refused: whole numbers beyond 64 bits where no array says what they become, and every spelling of
that dtype. Only a function of the client's own (``vectorize``, ``frompyfunc``) may give such an
array, and then it can be looked at and converted, not computed with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from shm_echo.mechestim.local.array import Array, Scalar

__all__ = ["MOST_DIGITS", "check_arguments", "check_result", "is_foreign"]

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
_HARMLESS = frozenset({Array, Scalar, int, float, bool, type(None), slice})
_LOOPS = ("signature", "sig")
_LONGEST_GROUP = 16  # a tuple or list of dtypes is no longer


def is_foreign(value: Any) -> bool:
    """Whether it is an array that holds Python objects."""
    return isinstance(value, np.ndarray) and value.dtype.hasobject


def check_arguments(
    name: str, args: list[Any], kwargs: dict[str, Any], *, long_numbers: bool, foreign: bool
) -> None:
    """See that the operation would not compute with Python objects.

    Args:
        long_numbers: there are whole numbers beyond 64 bits among the arguments.
        foreign: the session has arrays of Python objects.

    Raises:
        TypeError: it would.
    """
    values = [*args, *kwargs.values()] if kwargs else args
    if name.startswith("einsum"):
        values = values[1:]  # the subscripts
    for value in values:
        if type(value) not in _HARMLESS and _names_objects(value):
            raise TypeError("arrays of Python objects cannot live on a server")
    if kwargs and any("O" in str(kwargs[key]) for key in _LOOPS if key in kwargs):
        raise TypeError("arrays of Python objects cannot live on a server")
    if long_numbers and not name.startswith(("random.", "budget.")):
        _check_long_numbers(values)
    if foreign and name not in _MAY_SEE and name not in _MAKERS and any(_holds(values)):
        raise TypeError(
            "an array of Python objects can be looked at and converted on a server, not computed "
            "with: use astype(float) first"
        )


def _names_objects(value: Any) -> bool:
    if isinstance(value, str):
        if "O" not in value and "object" not in value:
            return False
        try:
            return bool(np.dtype(value).hasobject)
        except (TypeError, ValueError, SyntaxError):
            return False
    if isinstance(value, (tuple, list)) and len(value) <= _LONGEST_GROUP:
        return any(_names_objects(item) for item in value)
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
            yield is_foreign(value)


def check_result(name: str, result: Any) -> None:
    """See that the result holds no Python objects, unless it may.

    Raises:
        TypeError: it does.
    """
    if isinstance(result, (tuple, list)):
        found = any(map(is_foreign, result))
    else:
        found = is_foreign(result)
    if found and name not in _MAKERS and name not in _MAY_SEE:
        raise TypeError("arrays of Python objects cannot live on a server")
