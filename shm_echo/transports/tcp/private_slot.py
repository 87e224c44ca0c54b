"""The slots of `TcpClient.reserve`: a sample in memory of the client, sent at its end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from shm_echo.copying import reject_copy
from shm_echo.errors import ConnectionClosedError
from shm_echo.spec.ragged_row import UNSET

if TYPE_CHECKING:
    from shm_echo.spec import TreeSpec

__all__ = ["PrivateSlot"]


class PrivateSlot:
    """The memory of one sample, reserved by `TcpClient.reserve`; it is used like a `Slot`.

    The end of a `with` statement sends the sample, an exception drops it. `slot[key]` indexes the
    tree, for reading and for assignment. A commit sends what the tree says at that moment, after
    the checks of `send`. Then the arrays are read-only, as those of the ring are.

    Attributes:
        tree: a tree like the example, of writable arrays. Their initial content is undefined.
            Another tree like the example may be assigned to it.
    """

    def __init__(
        self, spec: TreeSpec, send: Callable[[Any], None], is_usable: Callable[[], bool]
    ) -> None:
        self._views = [np.empty(leaf.shape, leaf.dtype) for leaf in spec.leaves]
        for row in spec.ragged:
            self._views[row + 1][...] = UNSET
        self._send = send
        self._is_usable = is_usable
        self._open = True
        self.tree: Any = spec.unflatten(self._views)

    @property
    def is_open(self) -> bool:
        """Return True if the slot can be written and committed; never in the child of a fork."""
        return self._open and self._is_usable()

    def commit(self) -> None:
        """Send the sample and close the slot. If it raises, the sample was not sent.

        Raises:
            SpecMismatchError: a leaf of the tree was replaced by one that does not fit, or the
                structure differs; the message names the path.
            ConnectionClosedError: the slot was closed before, or the connection is.
            ForkedHandleError: the slot was reserved by the parent process.
        """
        if not self._open:
            raise ConnectionClosedError("this slot was committed or given back already")
        self._open = False
        try:
            self._send(self.tree)
        finally:
            self._freeze()

    def abort(self) -> None:
        """Drop the sample, if the slot is open."""
        if self._open:
            self._open = False
            self._freeze()

    def _freeze(self) -> None:
        for view in self._views:
            view.flags.writeable = False

    def __getitem__(self, key: Any) -> Any:
        return self.tree[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tree[key] = value

    def __enter__(self) -> PrivateSlot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._open:
            self.commit()

    def __reduce__(self) -> Any:
        reject_copy(
            "a PrivateSlot", "it is one sample of a client; copy the arrays of its tree instead"
        )

    def __repr__(self) -> str:
        return f"<PrivateSlot {'open' if self.is_open else 'closed'}>"
