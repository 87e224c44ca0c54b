"""Symmetric tensors of client mode: handles that know along which axes they are symmetric."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays.array import RemoteArray
from shm_echo.mechestim.remote.arrays.array_data import unpickle_array
from shm_echo.mechestim.symmetry.info import SymmetryInfo

__all__ = ["SymmetricTensor", "as_symmetric", "is_symmetric"]


class SymmetricTensor(RemoteArray):
    """An array of the server, symmetric along groups of axes; `as_symmetric` makes one."""

    __slots__ = ()

    @property
    def symmetric_axes(self) -> list[tuple[int, ...]]:
        """The groups of axes, from the server: writing to the array clears them."""
        return [
            tuple(group)
            for group in client_session.session_call("ndarray.symmetric_axes.get", self)
        ]

    @property
    def symmetry_info(self) -> SymmetryInfo | None:
        """The symmetry for prices; None once the array was written to."""
        axes = self.symmetric_axes
        return SymmetryInfo(tuple(axes), self.shape) if axes else None

    def __reduce__(self) -> tuple[Any, ...]:
        function, content = super().__reduce__()
        axes = self.symmetric_axes
        return (_unpickle_symmetric, (*content, axes)) if axes else (function, content)

    def is_symmetric(self, axes: Any = None, *, atol: float = 1e-6, rtol: float = 1e-5) -> bool:
        """Return True if the data is symmetric along `axes`, its own by default."""
        chosen = self.symmetric_axes if axes is None else axes
        return is_symmetric(self, chosen, atol=atol, rtol=rtol)


def _unpickle_symmetric(description: Any, shape: Any, content: bytes, axes: Any) -> Any:
    array = unpickle_array(description, shape, content)
    return client_session.session_call("as_symmetric", array, axes)


def as_symmetric(data: Any, symmetric_axes: Any) -> Any:
    """Return `data` as a `SymmetricTensor`.

    Raises:
        SymmetryError: The data is not symmetric along them.
    """
    return client_session.call("as_symmetric", data, symmetric_axes)


def is_symmetric(data: Any, symmetric_axes: Any, *, atol: float = 1e-6, rtol: float = 1e-5) -> bool:
    """Return True if `data` is symmetric along these axes, within the tolerance."""
    return bool(client_session.call("is_symmetric", data, symmetric_axes, atol=atol, rtol=rtol))
