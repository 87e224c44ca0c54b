"""Symmetric tensors of client mode: handles that know along which axes they are symmetric."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays.array import RemoteArray
from shm_echo.mechestim.symmetry.info import SymmetryInfo

__all__ = ["SymmetricTensor", "as_symmetric", "is_symmetric"]


class SymmetricTensor(RemoteArray):
    """An array of the server, symmetric along groups of axes; made by :func:`as_symmetric`."""

    __slots__ = ()

    @property
    def symmetric_axes(self) -> list[tuple[int, ...]]:
        """The groups of axes; none once it was written to. The server knows."""
        return [tuple(group) for group in client_session.word("ndarray.symmetric_axes.get", self)]

    @property
    def symmetry_info(self) -> SymmetryInfo | None:
        """The symmetry as prices see it; None once it was written to."""
        axes = self.symmetric_axes
        return SymmetryInfo(tuple(axes), self.shape) if axes else None

    def __reduce__(self) -> tuple[Any, ...]:
        restored, content = super().__reduce__()
        axes = self.symmetric_axes
        return (_unpickled, (*content, axes)) if axes else (restored, content)

    def is_symmetric(self, axes: Any = None, *, atol: float = 1e-6, rtol: float = 1e-5) -> bool:
        """Whether the data is symmetric along ``axes``, its own by default."""
        chosen = self.symmetric_axes if axes is None else axes
        return is_symmetric(self, chosen, atol=atol, rtol=rtol)


def _unpickled(described: Any, shape: Any, content: bytes, axes: Any) -> Any:
    from shm_echo.mechestim.remote.arrays.array_data import restored

    return client_session.word("as_symmetric", restored(described, shape, content), axes)


def as_symmetric(data: Any, symmetric_axes: Any) -> Any:
    """``data`` as a :class:`SymmetricTensor`.

    Raises:
        SymmetryError: it is not symmetric along these axes.
    """
    return client_session.call("as_symmetric", data, symmetric_axes)


def is_symmetric(data: Any, symmetric_axes: Any, *, atol: float = 1e-6, rtol: float = 1e-5) -> bool:
    """Whether ``data`` is symmetric along these axes, within the tolerance."""
    return bool(client_session.call("is_symmetric", data, symmetric_axes, atol=atol, rtol=rtol))
