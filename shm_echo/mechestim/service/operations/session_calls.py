"""Session calls: requests for settings of NumPy, attributes and grids.

Error handling (`seterr`) belongs to the session, because NumPy keeps it in a context variable and
each session runs in a context of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.costs.flops.einsum_path import find_path, normalize_optimize
from shm_echo.mechestim.costs.subscripts import Contraction
from shm_echo.mechestim.local import callbacks, namespace, paths, ufuncs
from shm_echo.mechestim.local.array import Array, wrap
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.service.operations import printing

_GRIDS = ("mgrid", "ogrid", "r_", "c_")
_UFUNC_ATTRIBUTES = ("nin", "nout", "nargs", "ntypes", "types", "identity", "signature")
_MAX_OPERANDS = 52  # the subscripts of an einsum have 52 letters, upper and lower case
_FINFO = (
    *("bits", "eps", "epsneg", "iexp", "machep", "max", "maxexp", "min", "minexp", "negep"),
    *("nexp", "nmant", "precision", "resolution", "smallest_normal", "smallest_subnormal", "tiny"),
)
_FLAGS = (
    *("c_contiguous", "f_contiguous", "owndata", "writeable", "aligned", "writebackifcopy"),
    *("contiguous", "fortran", "fnc", "forc", "behaved", "carray", "farray"),
)


def _array(value: Any) -> Array:
    if not isinstance(value, Array):
        raise TypeError("this needs an array")
    return value


def seterr(**options: Any) -> dict[str, Any]:
    """Call `numpy.seterr`, and return the options before.

    Raises:
        ValueError: An option is "call", "log" or "print", which only local mode has, or is unknown.
    """
    if any(value in ("call", "log", "print") for value in options.values()):
        raise ValueError(
            "a server handles errors with 'ignore', 'warn' or 'raise': it cannot call, log or print"
        )
    return dict(np.seterr(**options))


def finfo(dtype: Any) -> dict[str, Any]:
    """Return the limits of a floating-point dtype, by the names of NumPy's attributes."""
    found = np.finfo(dtype)
    return {"dtype": found.dtype, **{name: wrap(getattr(found, name)) for name in _FINFO}}


def iinfo(dtype: Any) -> dict[str, Any]:
    """Return the limits of an integer dtype, by the names of NumPy's attributes."""
    found = np.iinfo(dtype)
    return {"dtype": found.dtype, "min": found.min, "max": found.max, "bits": found.bits}


def ufunc(name: Any) -> dict[str, Any]:
    """Return the attributes of a ufunc.

    Raises:
        TypeError: No ufunc has this name.
    """
    found = namespace.member(name) if name in OPS else None
    if not isinstance(found, ufuncs.ufunc):
        raise TypeError(f"no ufunc is called {str(name)[:40]!r}")
    return {fact: getattr(found, fact) for fact in _UFUNC_ATTRIBUTES}


def path(inputs: Any, output: Any, sizes: Any, optimize: Any) -> list[list[int]]:
    """Return the contraction path of an einsum, as a list of steps.

    Args:
        inputs: The labels of each operand.
        output: The labels of the result.
        sizes: The length of each label's axis.
        optimize: The argument of `einsum`.

    Raises:
        ValueError: The subscripts are invalid, or there are too many operands.
    """
    terms = tuple(tuple(map(str, term)) for term in inputs)
    lengths = {str(label): int(length) for label, length in dict(sizes).items()}
    known = all(label in lengths for term in (*terms, tuple(map(str, output))) for label in term)
    if not known or len(terms) > _MAX_OPERANDS:
        raise ValueError(
            f"invalid subscripts of an einsum: each label needs a size, and there may be "
            f"{_MAX_OPERANDS} operands at most"
        )
    contraction = Contraction(terms, tuple(map(str, output)), lengths)
    optimize = normalize_optimize(optimize)
    return [list(step) for step in find_path(contraction, optimize, paths.search)]


def grid(name: Any, key: Any) -> Any:
    """Return `mgrid[key]`, or the same of another of NumPy's index objects.

    Raises:
        TypeError: No index object has this name.
    """
    if name not in _GRIDS:
        raise TypeError(f"no grid is called {str(name)[:40]!r}")
    return namespace.attribute("", name)[key]


def flags(array: Any) -> dict[str, bool]:
    """Return the flags of an array's memory layout."""
    found = _array(array).flags
    return {name: bool(getattr(found, name)) for name in _FLAGS}


def flat_get(array: Any, key: Any) -> Any:
    """Return `array.flat[key]`."""
    return _array(array).flat[key]


def flat_set(array: Any, key: Any, value: Any) -> None:
    """Set `array.flat[key]` to `value`."""
    _array(array).flat[key] = value


def symmetric_axes(array: Any) -> list[list[int]]:
    """Return the groups of axes along which an array is declared symmetric now."""
    return [list(group) for group in getattr(_array(array), "symmetric_axes", ())]


def set_shape(array: Any, shape: Any) -> Any:
    """Set the shape of an array, and return the array: the client reads its new shape from it."""
    _array(array).shape = shape
    return array


def set_real(array: Any, value: Any) -> None:
    """Set `array.real` to `value`."""
    _array(array).real = value


def set_imag(array: Any, value: Any) -> None:
    """Set `array.imag` to `value`."""
    _array(array).imag = value


def call_object(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call an object that `vectorize` or `frompyfunc` has made.

    Raises:
        TypeError: It is another kind of object.
    """
    if not isinstance(function, (callbacks.vectorize, callbacks.PythonUfunc)):
        raise TypeError("this object cannot be called")
    return function(*args, **kwargs)


SESSION_CALLS: dict[str, Callable[..., Any]] = {
    "object.call": call_object,
    "session.seterr": seterr,
    "session.print_options": printing.change,
    "session.finfo": finfo,
    "session.iinfo": iinfo,
    "session.grid": grid,
    "session.path": path,
    "session.ufunc": ufunc,
    "ndarray.flags.get": flags,
    "ndarray.flat.get": flat_get,
    "ndarray.flat.set": flat_set,
    "ndarray.symmetric_axes.get": symmetric_axes,
    "ndarray.shape.set": set_shape,
    "ndarray.real.set": set_real,
    "ndarray.imag.set": set_imag,
    **printing.PRINTING_METHODS,
}
