"""Bounds of the memory that a request needs, computed before it runs.

The registry has bounds for its operations. Methods and operators use the bounds of the operation
that they spell; this module has the rules of the others (indexing, `tolist`, copies of arrays that
only look large). Each rule has the signature of its method and returns an upper bound in bytes.
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

__all__ = ["BORROWED", "required_bytes"]

Rule = Callable[..., int]


def _copy(self: Any, *args: Any, **kwargs: Any) -> int:
    return int(self.nbytes)


def _copy_unless_view(self: Any, *args: Any, **kwargs: Any) -> int:
    return 0 if self.flags.c_contiguous else int(self.nbytes)


def _astype(self: Any, dtype: Any, *args: Any, **kwargs: Any) -> int:
    return int(self.size) * int(np.dtype(dtype).itemsize)


def _contains(self: Any, value: Any) -> int:
    return int(self.size)


def _resize(self: Any, *new_shape: Any, refcheck: bool = True) -> int:
    shape = new_shape[0] if len(new_shape) == 1 else new_shape
    lengths = shape if isinstance(shape, (tuple, list)) else (shape,)
    return int(math.prod(int(n) for n in lengths)) * int(self.itemsize)


def _getitem(self: Any, key: Any) -> int:
    parts = key if isinstance(key, tuple) else (key,)
    if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts):
        return 0  # a view
    return math.prod(target_shape(self.shape, key)) * int(self.itemsize)


def _flat_get(array: Any, key: Any) -> int:
    return 0 if isinstance(key, int) else int(array.nbytes) + int(getattr(key, "nbytes", 0))


def _grid(name: Any, key: Any) -> int:
    """`mgrid[key]`: every axis in full for each of them."""
    parts = key if isinstance(key, tuple) else (key,)
    lengths = [_steps(part) for part in parts if isinstance(part, slice)]
    if name in ("mgrid", "ogrid"):
        size = math.prod(lengths) if name == "mgrid" else max(lengths, default=0)
        return int(3 * 16 * len(lengths) * size)
    arrays = sum(int(getattr(part, "nbytes", 16)) for part in parts if not isinstance(part, slice))
    return 2 * (arrays + 16 * sum(lengths))


def _steps(part: slice) -> int:
    start: Any = 0 if part.start is None else part.start
    step: Any = 1 if part.step is None else part.step
    if isinstance(step, complex):
        return int(abs(step))
    length: int = max(0, math.ceil((part.stop - start) / step))
    return length


def _compress(self: Any, condition: Any, axis: Any = None, out: Any = None) -> int:
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

# Instead of what the registry says: here it can be seen whether a copy will be made.
_OWN: dict[str, Rule] = {
    "arena.hold": _copy_unless_view,
    "as_symmetric": _copy,
    "ravel": _copy_unless_view,
    "reshape": _copy_unless_view,
    "session.grid": _grid,
    **{f"ndarray.{name}": rule for name, rule in _METHODS.items()},
    **object_bounds.RULES,
}


def _borrowed() -> dict[str, str]:
    """Whose rules hold for a method or an operator."""
    found = {
        f"ndarray.{name}": name
        for name in (*methods.COUNTED, *methods.REDUCTIONS, *allowlist.FREE_METHODS)
        if name in OPS
    }
    for word, name in {**BINARY, **COMPARISONS, **UNARY}.items():
        found[f"ndarray.__{word}__"] = found[f"ndarray.__r{word}__"] = name
    return found


BORROWED = _borrowed()
_WITH_AN_OWNER = ("random.Generator.", "random.RandomState.")


def _of_a_ufunc(method: str, *args: Any) -> int:
    """`add.outer` and the like: sixteen bytes for each element at the most."""
    if method not in ufuncs.METHODS:
        return 0
    sizes = [np.size(value) for value in args[:2]]
    return 16 * (sizes[0] * sizes[1] if method == "outer" else sizes[0])


def required_bytes(name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[int, int]:
    """Bytes of the result, and bytes beside it, that the request takes at the most.

    Arguments that make no sense need nothing: NumPy refuses them before it takes memory.
    """
    if name not in _CONTRACTIONS or kwargs:
        return _required_bytes(name, args, kwargs)
    key = _shapes(name, args)
    found = None if key is None else _known.get(key)
    if found is None:
        found = _required_bytes(name, args, kwargs)
        if key is not None:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = found
    return found


def _shapes(name: str, args: list[Any]) -> Any:
    """All that the rules of contractions look at, to be found again by; None for rare arguments."""
    if len(args) > _MOST_OPERANDS:
        return None
    key: list[Any] = [name]
    for value in args:
        kind = type(value)
        if kind is Array:
            dtype = value.dtype
            if dtype.isbuiltin != 1:  # these can be as long as a client likes
                return None
            key += (value.shape, dtype)
        elif kind is str and len(value) <= _LONGEST_KEY:
            key.append(value)
        else:
            return None
    return tuple(key)


_known: dict[Any, tuple[int, int]] = {}  # of contractions, which programs repeat
_MOST_KNOWN = 4096
_MOST_OPERANDS = 8
_LONGEST_KEY = 200
_CONTRACTIONS = frozenset(
    name for name in (*OPS, *BORROWED) if OPS[BORROWED.get(name, name)] in contraction.OPS
)


def _required_bytes(name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[int, int]:
    # Rules may look at values (how long bincount's result is): uncounted, on plain arrays.
    args, kwargs = plain(args), {key: plain(value) for key, value in kwargs.items()}
    try:
        own = _OWN.get(name)
        if own is not None:
            return own(*args, **kwargs), 0
        op = OPS.get(BORROWED.get(name, name))
        if op is None:
            return _of_a_ufunc(name.rpartition(".")[2], *args), 0
        if name.startswith(_WITH_AN_OWNER):
            args = args[1:]  # the generator; the rules know what follows
        result = op.result_bytes(*args, **kwargs) if op.result_bytes else 0
        scratch = op.scratch_bytes(*args, **kwargs) if op.scratch_bytes else 0
    except Exception:
        return 0, 0
    return result, scratch
