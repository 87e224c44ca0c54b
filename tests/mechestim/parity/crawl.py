"""Calls every callable of NumPy on counted arrays and reports whether it was counted.

Each is called with arguments from a list of templates: those that it accepts on plain arrays. The
verdict on a name is the worst of all its templates:

`open`     the result holds plain numbers, or an operation with a price was not charged
`counted`  charged
`free`     not charged, and free by the registry, or inspecting or moving only
`refused`  raises UnsupportedFunctionError, or fails as it does not on plain arrays
`deaf`     accepts none of the templates
"""

from __future__ import annotations

import contextlib
import io
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import mechestim as me
from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity.outcomes import charges

WORST = ("open", "counted", "free", "refused", "deaf")

Template = Callable[[Any], tuple[Any, ...]]


class Arrays:
    """The arguments of the templates, created by one module."""

    def __init__(self, xp: Any) -> None:
        self.matrix = xp.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])
        self.vector = xp.array([0.25, 0.5, 0.75])
        self.cube = xp.array([[[1.0, 2.0], [3.0, 5.0]], [[0.5, 0.25], [2.0, 1.0]]])
        self.places = xp.array([2, 0, 1])
        self.bytes = xp.array([1, 2, 3], dtype="uint8")
        self.mask = xp.array([True, False, True])
        self.rows = xp.array([[2], [0], [1]])
        self.zero_d = xp.array(0.5)


_DIRECT: tuple[Template, ...] = (
    lambda a: (a.matrix,),
    lambda a: (a.vector,),
    lambda a: (a.cube,),
    lambda a: (a.zero_d,),
    lambda a: (a.places,),
    lambda a: (a.bytes,),
    lambda a: (a.mask,),
    lambda a: (a.matrix, a.matrix),
    lambda a: (a.vector, a.vector),
    lambda a: (a.matrix, a.vector),
    lambda a: (a.places, a.places),
    lambda a: (a.vector, 1),
    lambda a: (a.cube, 1),
    lambda a: (a.vector, "f8"),
    lambda a: (a.matrix, (3, 3)),
    lambda a: (a.matrix, 0, a.vector),
    lambda a: (a.matrix, a.places, a.vector),
    lambda a: (a.matrix, a.rows, 1.0, 1),
    lambda a: (a.matrix, a.rows, 1),
    lambda a: (a.vector, a.vector, a.vector),
    lambda a: (a.vector, a.vector, 1),
    lambda a: (a.matrix, 0, 1),
    lambda a: (a.mask, a.vector, a.vector),
    lambda a: (a.places, (3, 3)),
)
# Tried on what accepts none of the direct ones. A list of arrays is converted without a hook.
_OTHERWISE: tuple[Template, ...] = (
    lambda a: ("i,i->i", a.vector, a.vector),
    lambda a: (1, a.vector),
    lambda a: (np.sum, 0, a.matrix),
    lambda a: (np.sum, a.matrix, 0),
    lambda a: ([a.matrix, a.matrix],),
    lambda a: ((a.vector, a.vector),),
    lambda a: ((a.places, a.places), (3, 3)),
    lambda a: (a.vector, [a.mask], [0.0]),
    lambda a: (a.places, [a.vector, a.vector, a.vector]),
    lambda a: ([a.mask], [a.vector]),
)
_METHOD: tuple[Template, ...] = (
    lambda a: (),
    lambda a: ("f8",),
    lambda a: (0, 1),
    lambda a: (0, a.vector),
    lambda a: (Ellipsis, 1.0),
    lambda a: (1.0, "f8"),
)


def functions() -> Iterator[tuple[str, Any]]:
    """Yield the public callables of NumPy and its modules, by name."""
    for prefix, module in (
        ("", np),
        ("linalg.", np.linalg),
        ("fft.", np.fft),
        ("random.", np.random),
    ):
        for name in sorted(dir(module)):
            found = getattr(module, name)
            if name.startswith("_") or isinstance(found, types.ModuleType) or not callable(found):
                continue
            if isinstance(found, type) and issubclass(found, (BaseException, np.generic)):
                continue  # np.float64(x) is a cast, through a hook
            if name in _SETTINGS or "busday" in name:
                continue
            yield prefix + name, found


# They change the process, print, or touch files; business days are no numbers.
_SETTINGS = frozenset(
    [
        "add_docstring",
        "errstate",
        "get_bit_generator",
        "set_bit_generator",
        "fromfile",
        "fromregex",
        "genfromtxt",
        "get_include",
        "info",
        "load",
        "loadtxt",
        "memmap",
        "printoptions",
        "save",
        "savetxt",
        "savez",
        "savez_compressed",
        "seed",
        "set_printoptions",
        "set_state",
        "setbufsize",
        "seterr",
        "seterrcall",
        "show_config",
        "show_runtime",
        "test",
    ]
)


def verdict_on_function(name: str, function: Any) -> str:
    """Return the verdict on `function` called with counted arrays."""
    direct = [_try(name, lambda a: function, template) for template in _DIRECT]
    found = [one for one in direct if one] or [
        _try(name, lambda a: function, t) for t in _OTHERWISE
    ]
    return _worst(found)


def verdict_on_member(name: str) -> str:
    """Return the verdict on the member `name` of a counted array."""
    found = []
    for own in ("matrix", "vector", "places", "mask", "zero_d"):
        if not callable(getattr(np.ndarray, name)):
            found.append(
                _try(name, lambda a, own=own: lambda: getattr(getattr(a, own), name), lambda a: ())
            )
            continue
        for template in (*_METHOD, *_DIRECT, lambda a: (3, 3)):
            found.append(_try(name, lambda a, own=own: getattr(getattr(a, own), name), template))
    return _worst(found)


def verdict_on_plain_method(name: str) -> str:
    """Return the verdict on the method of a plain array called with counted values."""
    found = []
    for own in ("matrix", "vector", "places"):
        for template in _VALUES:
            plain = getattr(Arrays(np), own)
            found.append(
                _try(
                    name, lambda a, plain=plain: getattr(plain.copy(), name), template, itself=True
                )
            )
    return _worst(found)


_WRITES = frozenset({"__setitem__", "fill", "put"})


_VALUES: tuple[Template, ...] = (
    lambda a: (a.matrix,),
    lambda a: (a.vector,),
    lambda a: (a.zero_d,),
    lambda a: (a.vector, a.vector),
    lambda a: (0, a.zero_d),
    lambda a: (Ellipsis, a.vector),
)


def _worst(found: list[str]) -> str:
    return min((one for one in found if one), key=WORST.index, default="deaf")


def _try(name: str, which: Callable[[Any], Any], template: Template, itself: bool = False) -> str:
    """Return the verdict for one template; empty if plain arrays are not accepted either.

    With `itself`, the callable belongs to a plain array, and may return that array.
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        plain, counted = Arrays(np), Arrays(me)
        try:
            if which(plain)(*template(plain)) is NotImplemented:
                return ""
        except Exception:
            return ""
        args = template(counted)
        with me.BudgetContext(10**12, quiet=True) as books:
            try:
                result = which(counted)(*args)
                exposed = _exposed(result, args)
            except Exception:
                return "refused"
            spent = charges(books)
    if exposed and not (itself and spent):
        return "open"
    if spent:
        return "counted"
    return "open" if _priced(name) or (itself and name in _WRITES) else "free"


def _exposed(result: Any, args: Any) -> bool:
    """Return True if `result` holds plain numbers, beside the arrays that were passed in."""
    if isinstance(result, (me.ndarray, str, bytes)):
        return False
    if isinstance(result, (np.ndarray, np.generic)):
        return not any(result is one for one in args)
    if isinstance(result, dict):
        return any(_exposed(one, args) for one in result.values())
    if isinstance(result, (list, tuple, np.nditer, np.broadcast, np.ndenumerate, np.flatiter)):
        return any(_exposed(one, args) for one in result)
    return False


def _priced(name: str) -> bool:
    return any(op.numpy == name and op.counted for op in OPS.values())
