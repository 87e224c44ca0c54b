"""Upper bounds of memory that whole families of operations share.

Each rule has the call signature of its operations and returns bytes. A view takes none, nor does a
result in `out`; a copy is counted in full. Families with sizes of their own (creation, shaping,
histograms) have their rules in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import WIDEST, element, floating, itemsize, promoted

INDEX = 8
"""Bytes of one index or count."""


def none(*_: Any, **__: Any) -> int:
    """No memory: a view, a Python number, or an operand itself."""
    return 0


def scalar(*_: Any, **__: Any) -> int:
    """One element of the widest type."""
    return WIDEST


_FIRST = ("a", "x", "arr", "ar", "ar1", "element", "m", "p", "y", "f", "v", "dst", "keys",
          "array", "A", "tup", "arrays", "filt")  # fmt: skip
_SECOND = ("v", "ar2", "test_elements", "x", "y", "a2", "bins")


def first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the first operand, by position or by any name that a first operand has."""
    return args[0] if args else next(kwargs[name] for name in _FIRST if name in kwargs)


def second(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the second operand, by position or by any name that a second operand has."""
    return args[1] if len(args) > 1 else next(kwargs[name] for name in _SECOND if name in kwargs)


def copy_of(a: Any) -> int:
    """Return the bytes of a copy of `a`."""
    return o.size(a) * itemsize(a)


def pointwise_shape(*operands: Any, out: Any = None, where: Any = True) -> o.Shape:
    """Return the shape that a ufunc iterates over; `out` and `where` take part in it."""
    shapes = [o.shape(x) for x in operands]
    if out is not None:
        outs = out if isinstance(out, tuple) else (out,)
        shapes.extend(o.shape(x) for x in outs if x is not None)
    if where is not True:
        shapes.append(o.shape(where))
    return o.broadcast(*shapes)


def pointwise(
    inputs: int, outputs: int = 1, width: int | None = None, at_least: int = 0
) -> Callable[..., int]:
    """Return the rule for the result of a ufunc: `numel(output)` elements per output.

    `width` is the number of bytes per element if the operation fixes it, as comparisons do;
    `at_least` is a lower bound of it for narrow operands.
    """

    def result(*args: Any, dtype: Any = None, **kwargs: Any) -> int:
        operands = args[:inputs]
        out = args[inputs:] or kwargs.get("out")
        full = pointwise_shape(*operands, out=out, where=kwargs.get("where", True))
        if _filled(out, outputs):
            return 0
        each = max(at_least, promoted(*operands, dtype=dtype)) if width is None else width
        if width == 1 and any(element(x)[0] == "O" for x in operands):
            each = INDEX  # comparing objects may give objects
        return o.numel(full) * each * outputs

    return result


def _filled(out: Any, outputs: int) -> bool:
    """Return True if the caller passes an array for every output."""
    given = out if isinstance(out, tuple) else (out,)
    return len(given) >= outputs and all(x is not None for x in given)


def named_shape(parameter: str, count: int = 1) -> Callable[..., int]:
    """Return the rule for `count` arrays of the shape of the operand `parameter`, as floats."""

    def rule(*args: Any, **kwargs: Any) -> int:
        a = args[0] if args else kwargs[parameter]
        return count * o.size(a) * floating(a)

    return rule


def elements_copied(*args: Any, **kwargs: Any) -> int:
    """An array of the first operand's shape and dtype."""
    return copy_of(first(args, kwargs))


def complex_copy(a: Any, *_: Any, **__: Any) -> int:
    """An array of `a`'s shape, of complex numbers."""
    kind, width = element(a)
    return o.size(a) * (width if kind == "c" else 2 * max(8, width))


def copies(count: int) -> Callable[..., int]:
    """Return the rule for `count` arrays as large as the first operand, as floats."""

    def rule(*args: Any, **kwargs: Any) -> int:
        a = first(args, kwargs)
        return count * o.size(a) * floating(a)

    return rule


def rounded(a: Any, decimals: Any = 0, out: Any = None) -> int:
    """round: an array like `a`."""
    return 0 if out is not None else o.size(a) * promoted(a)


def clipped(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **kwargs: Any) -> int:
    """clip: the broadcast of the array with its bounds."""
    if out is not None:
        return 0
    bounds = (a_min, a_max, kwargs.get("min"), kwargs.get("max"))
    parts = (a, *(x for x in bounds if o.given(x)))
    full = pointwise_shape(*parts, where=kwargs.get("where", True))
    return o.numel(full) * promoted(*parts, dtype=kwargs.get("dtype"))


def close(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: Any = False) -> int:
    """isclose: one answer for each pair."""
    return o.numel(o.broadcast_operands(a, b, rtol, atol))


def close_scratch(*args: Any, **kwargs: Any) -> int:
    """Scratch of isclose and allclose: the difference, the tolerance and the answers."""
    return close(*args, **kwargs) * (2 * WIDEST + 4)  # 4: one byte for each of the comparisons


def equal_scratch(a1: Any, a2: Any, equal_nan: Any = False) -> int:
    """Scratch of array_equal: one answer for each pair, and copies without the NaN."""
    return 4 * o.size(a1) + copy_of(a1) + copy_of(a2)  # 4: the answers and the masks of NaN


def equiv_scratch(a1: Any, a2: Any) -> int:
    """Scratch of array_equiv: one answer for each pair."""
    try:
        return o.numel(o.broadcast_operands(a1, a2))
    except ValueError:
        return 0


def written(*args: Any, **kwargs: Any) -> int:
    """Scratch of a write: values and indices, converted, and copies of overlapping operands."""
    operands = [*args, *kwargs.values()]
    return sum(copy_of(x) + o.size(x) * INDEX for x in operands if o.is_array(x))


def text(*_: Any, **__: Any) -> int:
    """The digits of an integer, with generous padding."""
    return 4096
