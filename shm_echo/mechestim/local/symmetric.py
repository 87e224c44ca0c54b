"""Arrays with declared symmetry: `as_symmetric`, `is_symmetric` and `SymmetricTensor`.

A symmetric tensor is charged for the elements that can differ, so its symmetry has to be true for
as long as it is declared. It is checked when it is declared, on a copy that nobody else can write
to; the memory is read-only while the symmetry stands, for every view of it. The first write through
the tensor itself that could break the symmetry ends it, for all its views, and makes the memory
writable again; the array is then one like any other. In-place operators that keep the symmetry (`S
*= 2`) leave it in place.

What is kept by which operation is decided in `shm_echo.mechestim.symmetry.propagate`; how
results of operations get it, in `shm_echo.mechestim.local.symmetry_rules`.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from shm_echo.mechestim.accounting.settings import settings
from shm_echo.mechestim.costs.operands import shape as shape_of
from shm_echo.mechestim.errors import SymmetryError, SymmetryLossWarning
from shm_echo.mechestim.local import dispatch
from shm_echo.mechestim.local.array import Array, base_view, plain
from shm_echo.mechestim.local.stacklevel import stacklevel
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.symmetry import propagate
from shm_echo.mechestim.symmetry.info import Axes, Groups, SymmetryInfo
from shm_echo.mechestim.symmetry.propagate import Outcome

_nd = np.ndarray
_Plain = np.ndarray[Any, Any]


class _SharedState:
    """What tensors that share memory have in common: whether their symmetries still hold."""

    __slots__ = ("intact",)

    def __init__(self) -> None:
        self.intact = True


class SymmetricTensor(Array):
    """An array that is known to be symmetric along groups of axes. Made by `as_symmetric`.

    It is read-only for views of it; writing to the tensor itself ends its symmetry, with a warning,
    unless an in-place operator keeps it.
    """

    __slots__ = ("_info", "_shared", "_writable_memory")
    _info: SymmetryInfo | None
    _shared: _SharedState | None
    _writable_memory: (
        _Plain | None
    )  # the same elements, writable; only the first tensor of a memory has it

    def __array_finalize__(self, obj: Any) -> None:
        self._info = self._shared = self._writable_memory = None

    @property
    def symmetry_info(self) -> SymmetryInfo | None:
        """The symmetry, `None` once it has been lost."""
        memory = self._shared
        return self._info if memory is not None and memory.intact else None

    @property
    def symmetric_axes(self) -> list[Axes]:
        """The groups of interchangeable axes."""
        info = self.symmetry_info
        return [] if info is None else list(info.symmetric_axes)

    def is_symmetric(self, axes: Any = None, *, atol: float = 1e-6, rtol: float = 1e-5) -> bool:
        """Whether the elements are symmetric along `axes`; along its own groups by default."""
        groups = self.symmetric_axes if axes is None else axes
        return is_symmetric(self, groups, atol=atol, rtol=rtol)

    def release(self, reason: str = "it was written to") -> None:
        """End the symmetry of this tensor and of all its views, and let it be written to."""
        info, memory = self.symmetry_info, self._shared
        if memory is None or info is None:
            return
        memory.intact = False
        self._info = None
        _nd.setflags(self, write=True)
        warn_of_loss(info.symmetric_axes, reason)

    def __getitem__(self, key: Any) -> Any:
        found = Array.__getitem__(_as_array(self), key)
        if self.symmetry_info is None or not isinstance(found, Array) or not found.ndim:
            return found
        return with_symmetry(found, propagate.indexing(self.symmetry_info, plain(key)), self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        info = self.symmetry_info
        if info is None:
            return _nd.__reduce_ex__(_as_array(self), protocol)
        return _rebuild, (np.array(base_view(self), order="K"), info.symmetric_axes)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any] | None) -> Any:
        return self.copy()


def adopt(array: _Plain, info: SymmetryInfo) -> SymmetricTensor:
    """A tensor over the memory of `array`, a plain one that nobody else holds."""
    dispatch.symmetry = _rules()
    tensor: SymmetricTensor = array.view(SymmetricTensor)
    tensor._info, tensor._shared, tensor._writable_memory = info, _SharedState(), array
    _nd.setflags(tensor, write=False)
    return tensor


def with_symmetry(result: Any, outcome: Outcome, *sources: Any) -> Any:
    """`result` of an operation on symmetric `sources`, with the symmetry that is left.

    A result that shares memory with a source lives and dies with the symmetry of that source.
    """
    if outcome.lost:
        warn_of_loss(outcome.lost, outcome.reason)
    info = outcome.symmetry
    if info is None or type(result) is not Array or info.shape != result.shape:
        return result
    bare = base_view(result)
    for source in sources:
        if np.may_share_memory(bare, base_view(source)):
            tensor: SymmetricTensor = bare.view(SymmetricTensor)
            tensor._info, tensor._shared = info, source._shared
            return tensor
    return adopt(bare, info)


def warn_of_loss(groups: Groups, reason: str) -> None:
    """Say that symmetry was lost, at the line of the caller that is no part of the package."""
    if not settings.symmetry_warnings:
        return
    for group in groups:
        warnings.warn(SymmetryLossWarning(group, reason), stacklevel=stacklevel())


def _rules() -> Any:
    from shm_echo.mechestim.local import symmetry_rules

    return symmetry_rules


def _rebuild(array: _Plain, groups: Groups) -> SymmetricTensor:
    """A tensor from its pickle."""
    return adopt(array, SymmetryInfo(groups, array.shape))


# ---------------------------------------------------------------------------------- declaration


def as_symmetric(data: Any, symmetric_axes: Any) -> SymmetricTensor:
    """A copy of `data`, declared and checked to be symmetric. Free.

    Args:
        data: An array, or nested sequences.
        symmetric_axes: A group of interchangeable axes, `(0, 1)`, or a list of such groups.

    Raises:
        SymmetryError: The data is not symmetric; it names the largest deviation.
        ValueError: The axes do not exist, are named twice, or have different lengths.
    """
    array = np.array(plain(data), order="K", subok=False)
    info = SymmetryInfo(symmetric_axes, array.shape)
    if not info.symmetric_axes:
        raise ValueError(f"symmetric_axes={symmetric_axes!r} names no group of two axes or more")
    for group in info.symmetric_axes:
        deviation = _asymmetry(array, group, 1e-6, 1e-5)
        if deviation is not None:
            raise SymmetryError(group, deviation)
    return adopt(array, info)


def is_symmetric(data: Any, symmetric_axes: Any, *, atol: float = 1e-6, rtol: float = 1e-5) -> bool:
    """Whether `data` is symmetric along groups of axes, to a tolerance. Free.

    Integers and booleans are compared exactly; NaN equals NaN.
    """
    array = np.asarray(plain(data))
    try:
        info = SymmetryInfo(symmetric_axes, array.shape)
    except ValueError:
        return False
    return all(_asymmetry(array, group, atol, rtol) is None for group in info.symmetric_axes)


def _asymmetry(array: _Plain, group: Sequence[int], atol: float, rtol: float) -> float | None:
    """The largest difference of two elements that should be equal; `None` when it is tolerated.

    Exchanges of neighbouring axes of the group are enough: they generate all others.
    """
    worst: float | None = None
    with np.errstate(all="ignore"):
        for one, other in pairwise(group):
            deviation = _difference(array, array.swapaxes(one, other), atol, rtol)
            if deviation is not None:
                worst = deviation if worst is None else max(worst, deviation)
    return worst


def _difference(array: _Plain, swapped: _Plain, atol: float, rtol: float) -> float | None:
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


# ------------------------------------------------------------------- methods that keep or lose it


def _as_array(tensor: SymmetricTensor) -> Array:
    return _nd.view(tensor, Array)


def _method(name: str, rule: Callable[..., Outcome]) -> Callable[..., Any]:
    """The method of plain arrays, its result with the symmetry that `rule` leaves."""

    def method(self: SymmetricTensor, *args: Any, **kwargs: Any) -> Any:
        result = getattr(_as_array(self), name)(*args, **kwargs)
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

IN_PLACE = {
    "add": operator.iadd,
    "subtract": operator.isub,
    "multiply": operator.imul,
    "divide": operator.itruediv,
    "floor_divide": operator.ifloordiv,
    "remainder": operator.imod,
    "power": operator.ipow,
    "left_shift": operator.ilshift,
    "right_shift": operator.irshift,
    "bitwise_and": operator.iand,
    "bitwise_or": operator.ior,
    "bitwise_xor": operator.ixor,
}


def _in_place(op: Op, run: Callable[..., Any], fallback: Callable[..., Any]) -> Any:
    """`S op= y`: writes into the memory of `S`; ends the symmetry if `y` lacks it."""

    def method(self: SymmetricTensor, other: Any) -> Any:
        info, memory = self.symmetry_info, self._writable_memory
        if info is None or memory is None or not _keeps_symmetry(info, other):
            return fallback(self, other)

        def write(target: _Plain, value: Any) -> Any:
            # Called again with harmless operands when NumPy raises, to see who refused what.
            own = _address(target) == _address(memory)
            return run(memory if own else target.copy(), value)

        dispatch.call(op, write, (self, other), {})
        return self

    return method


def _address(array: _Plain) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _keeps_symmetry(info: SymmetryInfo, other: Any) -> bool:
    try:
        shapes = [info.shape, shape_of(other)]
        theirs = getattr(other, "symmetry_info", None)
        return propagate.pointwise(shapes, [info, theirs], info.shape).symmetry == info
    except (TypeError, ValueError):
        return False


def _setflags(self: SymmetricTensor, write: Any = None, **kwargs: Any) -> None:
    if write:
        self.release("it was made writable")
    _nd.setflags(self, write=write, **kwargs)


def _transpose_of(name: str, order: Callable[[SymmetryInfo], Outcome]) -> property:
    def get(self: SymmetricTensor) -> Any:
        result = getattr(_as_array(self), name)
        info = self.symmetry_info
        return result if info is None else with_symmetry(result, order(info), self)

    return property(get)


def _install() -> None:
    for name, rule in _METHODS.items():
        setattr(SymmetricTensor, name, _method(name, rule))
    for name, run in IN_PLACE.items():
        word = f"__{run.__name__}__"
        setattr(SymmetricTensor, word, _in_place(OPS[name], run, getattr(Array, word)))
    SymmetricTensor.setflags = _setflags  # type: ignore[method-assign, assignment]
    SymmetricTensor.T = _transpose_of("T", propagate.transpose)  # type: ignore[assignment]
    SymmetricTensor.mT = _transpose_of(  # type: ignore[assignment]
        "mT", lambda info: propagate.swapaxes(info, -1, -2)
    )


_install()
