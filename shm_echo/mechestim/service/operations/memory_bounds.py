"""Bounds of the memory that a request needs, computed before it runs.

The registry has bounds for its operations. A method or an operator has the bounds of its operation
(`x.sum()` those of `sum`); this module has the rules of the others (indexing, conversions, copies).
Each rule has the signature of its method and returns an upper bound in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.costs.flops.indexing import target_shape
from shm_echo.mechestim.local import methods, ufuncs
from shm_echo.mechestim.local.array import Array, plain
from shm_echo.mechestim.registry import OPS, contraction
from shm_echo.mechestim.registry.operators import BINARY, COMPARISONS, UNARY
from shm_echo.mechestim.service.operations import allowlist, object_bounds

__all__ = ["OPERATION_OF", "required_bytes"]

Rule = Callable[..., int]


def _copy(self: Any, *args: Any, **kwargs: Any) -> int:
    return int(self.nbytes)


def _copy_unless_view(self: Any, *args: Any, **kwargs: Any) -> int:
    return 0 if self.flags.c_contiguous else int(self.nbytes)


def _astype(self: Any, dtype: Any, *args: Any, **kwargs: Any) -> int:
    return int(self.size) * int(np.dtype(dtype).itemsize)


def _contains(self: Any, value: Any) -> int:
    return int(self.size)  # a bool for each element


def _resize(self: Any, *new_shape: Any, refcheck: bool = True) -> int:
    shape = new_shape[0] if len(new_shape) == 1 else new_shape
    lengths = shape if isinstance(shape, (tuple, list)) else (shape,)
    return int(math.prod(int(n) for n in lengths)) * int(self.itemsize)


def _getitem(self: Any, key: Any) -> int:
    parts = key if isinstance(key, tuple) else (key,)
    if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts):
        return 0  # basic indexing makes a view
    return math.prod(target_shape(self.shape, key)) * int(self.itemsize)


def _flat_get(array: Any, key: Any) -> int:
    # A slice or a mask selects each element once; an array of indices may select some repeatedly.
    return 0 if isinstance(key, int) else int(array.nbytes) + int(getattr(key, "nbytes", 0))


def _grid(name: Any, key: Any) -> int:
    """Return the bound of `mgrid[key]`, `ogrid[key]`, `r_[key]` or `c_[key]`.

    Elements take at most 16 bytes. `mgrid` has the whole grid once for each axis, and room for two
    intermediates of that size is added; `r_` and `c_` make the parts and then the result.
    """
    parts = key if isinstance(key, tuple) else (key,)
    lengths = [_steps(part) for part in parts if isinstance(part, slice)]
    if name in ("mgrid", "ogrid"):
        size = math.prod(lengths) if name == "mgrid" else max(lengths, default=0)
        return int(3 * 16 * len(lengths) * size)
    arrays = sum(int(getattr(part, "nbytes", 16)) for part in parts if not isinstance(part, slice))
    return 2 * (arrays + 16 * sum(lengths))


def _steps(part: slice) -> int:
    """Return the number of points of a slice; an imaginary step such as `5j` is that number."""
    start: Any = 0 if part.start is None else part.start
    step: Any = 1 if part.step is None else part.step
    if isinstance(step, complex):
        return int(abs(step))
    length: int = max(0, math.ceil((part.stop - start) / step))
    return length


def _compress(self: Any, condition: Any, axis: Any = None, out: Any = None) -> int:
    # The method has the array first, the function the condition.
    rule = OPS["compress"].result_bytes
    return rule(condition, self, axis, out) if rule else 0


_METHODS: dict[str, Rule] = {
    "__contains__": _contains,
    "__getitem__": _getitem,
    "__round__": _copy,
    "astype": _astype,
    "byteswap": _copy,
    "compress": _compress,
    "copy": _copy,
    "flat.get": _flat_get,
    "flatten": _copy,
    "imag.get": _copy,
    "ravel": _copy_unless_view,
    "reshape": _copy_unless_view,
    "resize": _resize,
    "tobytes": _copy,
}

# These come before the bounds of the registry, whose rules see shapes only: the rules here see the
# array, and so know whether NumPy will make a copy or a view.
_OWN_RULES: dict[str, Rule] = {
    "arena.hold": _copy_unless_view,
    "as_symmetric": _copy,
    "ravel": _copy_unless_view,
    "reshape": _copy_unless_view,
    "session.grid": _grid,
    **{f"ndarray.{name}": rule for name, rule in _METHODS.items()},
    **object_bounds.RULES,
}


def _operation_of() -> dict[str, str]:
    """Return the operation whose bounds hold for each method and operator."""
    found = {
        f"ndarray.{name}": name
        for name in (*methods.COUNTED, *methods.REDUCTIONS, *allowlist.FREE_METHODS)
        if name in OPS
    }
    for word, name in {**BINARY, **COMPARISONS, **UNARY}.items():
        found[f"ndarray.__{word}__"] = found[f"ndarray.__r{word}__"] = name
    return found


OPERATION_OF = _operation_of()
_GENERATOR_METHODS = ("random.Generator.", "random.RandomState.")


def _ufunc_method(method: str, *args: Any) -> int:
    """Return the bound of a ufunc's method, such as `add.outer`, for elements of 16 bytes."""
    if method not in ufuncs.METHODS:
        return 0
    sizes = [np.size(value) for value in args[:2]]
    return 16 * (sizes[0] * sizes[1] if method == "outer" else sizes[0])


def required_bytes(name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[int, int]:
    """Return upper bounds of the bytes of a request's result and of its scratch memory.

    Both are 0 for invalid arguments, because NumPy rejects these before it allocates memory.

    Args:
        name: The operation, method or session call.
        args: The positional arguments.
        kwargs: The keyword arguments.
    """
    # A contraction's bounds need its path, which takes longer than a small contraction itself. The
    # cache saves that; a program calls the same contraction with the same shapes many times.
    if name not in _CONTRACTIONS or kwargs:
        return _required_bytes(name, args, kwargs)
    key = _shapes(name, args)
    found = None if key is None else _cache.get(key)
    if found is None:
        found = _required_bytes(name, args, kwargs)
        if key is not None:
            if len(_cache) >= _MAX_CACHED:  # rare; keeping the order of use would cost every call
                _cache.clear()
            _cache[key] = found
    return found


def _shapes(name: str, args: list[Any]) -> Any:
    """Return all that the rules of contractions read, as a key; None for rare arguments."""
    if len(args) > _MAX_CACHED_OPERANDS:
        return None
    key: list[Any] = [name]
    for value in args:
        kind = type(value)
        if kind is Array:
            dtype = value.dtype
            if dtype.isbuiltin != 1:  # a structured dtype can be long: the cache would grow
                return None
            key += (value.shape, dtype)
        elif kind is str and len(value) <= _MAX_CACHED_CHARS:
            key.append(value)
        else:
            return None
    return tuple(key)


# The bounds of contractions. All sessions of the process share it, so its size is limited: entries,
# operands and characters of the subscripts. Larger contractions are computed each time.
_cache: dict[Any, tuple[int, int]] = {}
_MAX_CACHED = 4096
_MAX_CACHED_OPERANDS = 8
_MAX_CACHED_CHARS = 200
_CONTRACTIONS = frozenset(
    name for name in (*OPS, *OPERATION_OF) if OPS[OPERATION_OF.get(name, name)] in contraction.OPS
)


def _required_bytes(name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[int, int]:
    # A rule may read values: the length of bincount's result is its largest value. On plain arrays
    # that is not counted.
    args, kwargs = plain(args), {key: plain(value) for key, value in kwargs.items()}
    try:
        own = _OWN_RULES.get(name)
        if own is not None:
            return own(*args, **kwargs), 0
        op = OPS.get(OPERATION_OF.get(name, name))
        if op is None:
            return _ufunc_method(name.rpartition(".")[2], *args), 0
        if name.startswith(_GENERATOR_METHODS):
            args = args[1:]  # without the generator: the rules have the function's signature
        result = op.result_bytes(*args, **kwargs) if op.result_bytes else 0
        scratch = op.scratch_bytes(*args, **kwargs) if op.scratch_bytes else 0
    except Exception:  # invalid arguments, see required_bytes
        return 0, 0
    return result, scratch
