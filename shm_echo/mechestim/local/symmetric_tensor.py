"""`SymmetricTensor`: a counted array with a declared symmetry that ends when a write may break it.

This module holds the state and its life cycle. `symmetric` declares tensors and adds the methods,
`symmetry_rules` decides how the results of operations get their symmetry; both build on this one.

The tensors that view one memory share one `_SharedState`. The memory is read-only while the
symmetry stands, so no view can break it; the first tensor keeps the writable base-class array, for
the in-place operators that keep the symmetry.
"""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

from shm_echo.mechestim.accounting.settings import settings
from shm_echo.mechestim.errors import SymmetryLossWarning
from shm_echo.mechestim.local.array import Array, base_view, plain
from shm_echo.mechestim.local.stacklevel import stacklevel
from shm_echo.mechestim.symmetry import propagate
from shm_echo.mechestim.symmetry.info import Axes, Groups, SymmetryInfo
from shm_echo.mechestim.symmetry.propagate import Outcome

PlainArray = np.ndarray[Any, Any]

# The ufuncs whose in-place operator can keep a symmetry, and that operator.
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


class _SharedState:
    """State of all tensors over one memory: `intact` until a write ends their symmetry."""

    __slots__ = ("intact",)

    def __init__(self) -> None:
        self.intact = True


class SymmetricTensor(Array):
    """An array that is known to be symmetric along groups of axes; `as_symmetric` returns one.

    Its views are read-only. Writing to the tensor itself ends its symmetry, with a warning, unless
    an in-place operator keeps it.

    >>> import mechestim as me
    >>> S = me.as_symmetric([[2.0, 1.0], [1.0, 3.0]], symmetric_axes=(0, 1))
    >>> S.symmetric_axes, (S + S).symmetric_axes
    ([(0, 1)], [(0, 1)])
    """

    __slots__ = ("_info", "_shared", "_writable_memory")
    _info: SymmetryInfo | None
    _shared: _SharedState | None
    # The same elements, writable. Only the first tensor of a memory has it.
    _writable_memory: PlainArray | None

    def __array_finalize__(self, obj: Any) -> None:
        self._info = self._shared = self._writable_memory = None

    @property
    def symmetry_info(self) -> SymmetryInfo | None:
        """The symmetry, `None` once it has been lost."""
        shared = self._shared
        return self._info if shared is not None and shared.intact else None

    @property
    def symmetric_axes(self) -> list[Axes]:
        """The groups of interchangeable axes."""
        info = self.symmetry_info
        return [] if info is None else list(info.symmetric_axes)

    def release(self, reason: str = "it was written to") -> None:
        """End the symmetry of this tensor and of all its views, and make it writable."""
        info, shared = self.symmetry_info, self._shared
        if shared is None or info is None:
            return
        shared.intact = False
        self._info = None
        np.ndarray.setflags(self, write=True)
        warn_of_loss(info.symmetric_axes, reason)

    def __getitem__(self, key: Any) -> Any:
        found = Array.__getitem__(as_array(self), key)
        if self.symmetry_info is None or not isinstance(found, Array) or not found.ndim:
            return found
        return with_symmetry(found, propagate.indexing(self.symmetry_info, plain(key)), self)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any] | None) -> Any:
        return self.copy()


def as_array(tensor: SymmetricTensor) -> Array:
    """Return a counted array over the memory of `tensor`, without its symmetry."""
    return np.ndarray.view(tensor, Array)


def adopt(array: PlainArray, info: SymmetryInfo) -> SymmetricTensor:
    """Return a tensor over the memory of `array`, a plain array that the caller gives up."""
    tensor: SymmetricTensor = array.view(SymmetricTensor)
    tensor._info, tensor._shared, tensor._writable_memory = info, _SharedState(), array
    np.ndarray.setflags(tensor, write=False)
    return tensor


def with_symmetry(result: Any, outcome: Outcome, *sources: Any) -> Any:
    """Return `result`, of an operation on symmetric `sources`, with the symmetry that is left.

    A result that shares memory with a source also shares its state: one write ends the symmetry of
    both.
    """
    if outcome.lost:
        warn_of_loss(outcome.lost, outcome.reason)
    info = outcome.symmetry
    if info is None or type(result) is not Array or info.shape != result.shape:
        return result
    memory = base_view(result)
    for source in sources:
        if np.may_share_memory(memory, base_view(source)):
            tensor: SymmetricTensor = memory.view(SymmetricTensor)
            tensor._info, tensor._shared = info, source._shared
            return tensor
    return adopt(memory, info)


def warn_of_loss(groups: Groups, reason: str) -> None:
    """Warn that `groups` lost their symmetry, at the user's line."""
    if not settings.symmetry_warnings:
        return
    for group in groups:
        warnings.warn(SymmetryLossWarning(group, reason), stacklevel=stacklevel())
