"""Arrays with declared symmetry: `as_symmetric`, `is_symmetric`, and the methods of their class.

A symmetric tensor is charged only for the elements that can differ, so its symmetry has to be true
for as long as it is declared. It is checked when it is declared, on a copy that no other code can
write to, and the memory is read-only while the symmetry stands, for every view of it. The first
write through the tensor itself that could break the symmetry ends it, for all its views, and makes
the memory writable again; the array is then an ordinary one. In-place operators that keep the
symmetry (`S *= 2`) leave it in place.

`symmetry.propagate` decides which symmetry an operation keeps, `symmetry_rules`
gives it to the results, and `symmetric_tensor` holds the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from shm_echo.mechestim.costs.operands import shape as shape_of
from shm_echo.mechestim.errors import SymmetryError
from shm_echo.mechestim.local import dispatch, symmetry_rules
from shm_echo.mechestim.local.array import base_view, plain
from shm_echo.mechestim.local.counted_array import Array
from shm_echo.mechestim.local.symmetric_tensor import (
    IN_PLACE,
    PlainArray,
    SymmetricTensor,
    adopt,
    as_array,
    with_symmetry,
)
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.symmetry import propagate
from shm_echo.mechestim.symmetry.info import Groups, SymmetryInfo
from shm_echo.mechestim.symmetry.propagate import Outcome

__all__ = ["SymmetricTensor", "as_symmetric", "is_symmetric"]

_nd = np.ndarray


# Declaration ----


def as_symmetric(data: Any, symmetric_axes: Any) -> SymmetricTensor:
    """Return a copy of `data`, declared and checked to be symmetric. Free.

    Args:
        data: An array, or nested sequences.
        symmetric_axes: A group of interchangeable axes, `(0, 1)`, or a list of such groups.

    Raises:
        SymmetryError: The data is not symmetric; the message names the largest deviation.
        ValueError: The axes do not exist, are named twice, or have different lengths.

    >>> import mechestim as me
    >>> S = me.as_symmetric([[2.0, 1.0], [1.0, 3.0]], symmetric_axes=(0, 1))
    >>> with me.BudgetContext(100, quiet=True) as budget:
    ...     T = S * 2.0
    >>> budget.flops_used  # the elements that can differ
    3
    """
    array = np.array(plain(data), order="K", subok=False)
    info = SymmetryInfo(symmetric_axes, array.shape)
    if not info.symmetric_axes:
        raise ValueError(f"symmetric_axes={symmetric_axes!r} names no group of two axes or more")
    for group in info.symmetric_axes:
        deviation = _asymmetry(array, group, 1e-6, 1e-5)
        if deviation is not None:
            raise SymmetryError(group, deviation)
    return _first_tensor(array, info)


def _first_tensor(array: PlainArray, info: SymmetryInfo) -> SymmetricTensor:
    """Return a tensor that no operation made, and have the dispatcher ask the rules from now on.

    Until the process has a symmetric tensor, the rules would only cost time in every call.
    """
    dispatch.symmetry_rules = symmetry_rules
    return adopt(array, info)


def is_symmetric(data: Any, symmetric_axes: Any, *, atol: float = 1e-6, rtol: float = 1e-5) -> bool:
    """Return True if `data` is symmetric along groups of axes, to a tolerance. Free.

    Integers and booleans are compared exactly; NaN equals NaN.
    """
    array = np.asarray(plain(data))
    try:
        info = SymmetryInfo(symmetric_axes, array.shape)
    except ValueError:
        return False
    return all(_asymmetry(array, group, atol, rtol) is None for group in info.symmetric_axes)


def _asymmetry(array: PlainArray, group: Sequence[int], atol: float, rtol: float) -> float | None:
    """Return the largest difference of two elements that should be equal; `None` if tolerated.

    It is enough to exchange neighbouring axes of the group: these exchanges generate all others.
    """
    worst: float | None = None
    with np.errstate(all="ignore"):
        for one, other in pairwise(group):
            deviation = _difference(array, array.swapaxes(one, other), atol, rtol)
            if deviation is not None:
                worst = deviation if worst is None else max(worst, deviation)
    return worst


def _difference(array: PlainArray, swapped: PlainArray, atol: float, rtol: float) -> float | None:
    if array.dtype.kind not in "fc":
        differs = np.asarray(array != swapped)
        if not differs.any():
            return None
        if array.dtype.kind not in "iu":
            return 1.0
        # Python integers: a difference of two int64 need not fit into one.
        pairs = zip(array[differs].tolist(), swapped[differs].tolist(), strict=True)
        return float(max(abs(a - b) for a, b in pairs))
    close = np.isclose(array, swapped, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return None
    deviations = np.abs(array[~close] - swapped[~close])
    known = deviations[~np.isnan(deviations)]
    return float(known.max()) if known.size == deviations.size else float("nan")


# Methods that keep or lose the symmetry ----


def _method(name: str, rule: Callable[..., Outcome]) -> Callable[..., Any]:
    """Return the method of ordinary arrays, its result with the symmetry that `rule` leaves."""

    def method(self: SymmetricTensor, *args: Any, **kwargs: Any) -> Any:
        result = getattr(as_array(self), name)(*args, **kwargs)
        info = self.symmetry_info
        if info is None:
            return result
        return with_symmetry(result, rule(info, result, *args, **kwargs), self)

    method.__name__ = name
    method.__qualname__ = f"SymmetricTensor.{name}"
    method.__doc__ = getattr(_nd, name).__doc__
    return method


def _kept(info: SymmetryInfo, *_: Any, **__: Any) -> Outcome:
    return propagate.unary(info)


def _transposed(info: SymmetryInfo, _: Any, *axes: Any) -> Outcome:
    one = len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list)))
    return propagate.transpose(info, (axes[0] if one else axes) or None)


def _swapped(info: SymmetryInfo, _: Any, axis1: Any, axis2: Any) -> Outcome:
    return propagate.swapaxes(info, axis1, axis2)


def _reshaped(info: SymmetryInfo, result: Any, *_: Any, **__: Any) -> Outcome:
    return propagate.reshape(info, result.shape)


def _squeezed(info: SymmetryInfo, _: Any, axis: Any = None) -> Outcome:
    return propagate.squeeze(info, axis)


def _lost(info: SymmetryInfo, *_: Any, **__: Any) -> Outcome:
    return propagate.NOTHING


_METHODS: dict[str, Callable[..., Outcome]] = {
    "astype": _kept,
    "byteswap": _kept,
    "copy": _kept,
    "transpose": _transposed,
    "swapaxes": _swapped,
    "reshape": _reshaped,
    "squeeze": _squeezed,
    "ravel": _lost,
    "flatten": _lost,
    "getfield": _lost,
    "view": _lost,
}


def _in_place(op: Op, run: Callable[..., Any], fallback: Callable[..., Any]) -> Any:
    """Return the method `S op= y`, which writes into `S` and ends its symmetry if `y` lacks it."""

    def method(self: SymmetricTensor, other: Any) -> Any:
        info, memory = self.symmetry_info, self._writable_memory
        if info is None or memory is None or not _keeps_symmetry(info, other):
            return fallback(self, other)

        def write(target: PlainArray, value: Any) -> Any:
            # If NumPy raises, `kernel_started` calls this again with other arrays: those must not
            # reach the memory of `S`.
            own = _address(target) == _address(memory)
            return run(memory if own else target.copy(), value)

        dispatch.call(op, write, (self, other), {})
        return self

    return method


def _address(array: PlainArray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _keeps_symmetry(info: SymmetryInfo, other: Any) -> bool:
    try:
        shapes = [info.shape, shape_of(other)]
        theirs = getattr(other, "symmetry_info", None)
        return propagate.pointwise(shapes, [info, theirs], info.shape).symmetry == info
    except (TypeError, ValueError):
        return False


def _is_symmetric(
    self: SymmetricTensor, axes: Any = None, *, atol: float = 1e-6, rtol: float = 1e-5
) -> bool:
    """Return True if the elements are symmetric along `axes`, by default along its own groups."""
    groups = self.symmetric_axes if axes is None else axes
    return is_symmetric(self, groups, atol=atol, rtol=rtol)


def _reduce_ex(self: SymmetricTensor, protocol: Any) -> Any:
    info = self.symmetry_info
    if info is None:
        return _nd.__reduce_ex__(as_array(self), protocol)
    return _rebuild, (np.array(base_view(self), order="K"), info.symmetric_axes)


def _reduce(self: SymmetricTensor) -> Any:
    return _reduce_ex(self, 2)


def _rebuild(array: PlainArray, groups: Groups) -> SymmetricTensor:
    """Return the tensor of a pickle."""
    return _first_tensor(array, SymmetryInfo(groups, array.shape))


def _setflags(self: SymmetricTensor, write: Any = None, **kwargs: Any) -> None:
    if write:
        self.release("it was made writable")
    _nd.setflags(self, write=write, **kwargs)


def _transpose_of(name: str, order: Callable[[SymmetryInfo], Outcome]) -> property:
    def get(self: SymmetricTensor) -> Any:
        result = getattr(as_array(self), name)
        info = self.symmetry_info
        return result if info is None else with_symmetry(result, order(info), self)

    return property(get)


def _install() -> None:
    for name, rule in _METHODS.items():
        setattr(SymmetricTensor, name, _method(name, rule))
    for name, run in IN_PLACE.items():
        word = f"__{run.__name__}__"
        setattr(SymmetricTensor, word, _in_place(OPS[name], run, getattr(Array, word)))
    for word, method in (
        ("is_symmetric", _is_symmetric),
        ("__reduce_ex__", _reduce_ex),
        ("__reduce__", _reduce),
    ):
        method.__name__, method.__qualname__ = word, f"SymmetricTensor.{word}"
        setattr(SymmetricTensor, word, method)
    SymmetricTensor.setflags = _setflags  # type: ignore[method-assign, assignment]
    SymmetricTensor.T = _transpose_of("T", propagate.transpose)  # type: ignore[assignment]
    SymmetricTensor.mT = _transpose_of(  # type: ignore[assignment]
        "mT", lambda info: propagate.swapaxes(info, -1, -2)
    )


_install()
