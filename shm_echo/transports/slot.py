"""A reserved slot of the ring: arrays to write a sample into, in place."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from shm_echo.errors import ConnectionClosedError
from shm_echo.ring import _fast

__all__ = ["Slot"]


class Slot:
    """One sample's place in the ring, claimed by :meth:`ShmClient.reserve`.

    In a ``with`` statement it is committed at the end, or given back on an exception. ``slot[key]``
    indexes the tree. After either, its arrays become read-only: the memory belongs to the learner.

    Attributes:
        tree: a tree like the example, of writable arrays in the ring. Their content is undefined.
    """

    __slots__ = ("__weakref__", "_on_end", "_position", "_sender", "_views", "is_open", "tree")

    def __init__(
        self,
        sender: _fast.Sender,
        position: int,
        views: list[Any],
        tree: Any,
        on_end: Callable[[], None],
    ) -> None:
        self.is_open = True
        self.tree = tree
        self._sender = sender
        self._position = position
        self._views = views
        self._on_end = on_end

    def __getitem__(self, key: Any) -> Any:
        return self.tree[key]

    def commit(self) -> None:
        """Hand the sample over. Once; after that the slot is closed.

        Raises:
            ConnectionClosedError: the slot was closed before, or the server has given this client
                up: the sample was not sent.
        """
        if not self._end():
            raise ConnectionClosedError("this slot was committed or given back already")
        try:
            self._sender.commit(self._position)
        finally:
            self._on_end()

    def abort(self) -> None:
        """Give the slot back unused. Does nothing when it is closed."""
        if self._end():
            self._sender.abort(self._position)
            self._on_end()

    def disown(self) -> None:
        """In the child of a fork: the claim is the parent's, leave it alone."""
        self._end()

    def _end(self) -> bool:
        was_open, self.is_open = self.is_open, False
        if was_open:
            for view in self._views:
                view.flags.writeable = False
        return was_open

    def __enter__(self) -> Slot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
        elif self.is_open:
            self.commit()

    def __del__(self) -> None:
        # Forgotten, or the with statement never began: nobody else can give it back.
        self.abort()

    def __repr__(self) -> str:
        return f"<Slot {'open' if self.is_open else 'closed'}>"
