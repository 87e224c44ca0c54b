"""A reserved slot of the ring: arrays to write a sample into, in place."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from shm_echo.errors import ConnectionClosedError
from shm_echo.ring.core import _core_cpython

__all__ = ["Slot"]


class Slot:
    """One sample's place in the ring, claimed by `ShmClient.reserve`.

    In a `with` statement it is committed at the end, or given back on an exception; one that is
    forgotten is given back when it dies. `slot[key]` indexes the tree. Once it has ended its
    arrays become read-only, because the memory belongs to the learner; slices that were taken of
    them before do not, so do not keep any.

    Attributes:
        tree: a tree like the example, of writable arrays in the ring. Their content is undefined.
    """

    __slots__ = ("__weakref__", "_claim", "_views", "tree")

    def __init__(self, claim: _core_cpython.Claim, views: list[Any], tree: Any) -> None:
        self._claim = claim
        self._views = views
        self.tree = tree

    @property
    def is_open(self) -> bool:
        """Whether it can still be written and committed; never in the child of a fork."""
        return self._claim.is_open

    def __getitem__(self, key: Any) -> Any:
        return self.tree[key]

    def commit(self) -> None:
        """Hand the sample over. Once; after that the slot is closed.

        Raises:
            ConnectionClosedError: the slot was closed before, or the server has given this client
                up: the sample was not sent.
            ForkedHandleError: the slot was reserved by the parent process.
        """
        self.freeze()
        try:
            self._claim.commit()
        except ValueError as error:
            raise ConnectionClosedError(str(error)) from None

    def abort(self) -> None:
        """Give the slot back unused. Does nothing when it is closed."""
        self.freeze()
        self._claim.abort()

    def freeze(self) -> None:
        """Make the arrays read-only, as they become when the slot ends."""
        for view in self._views:
            view.flags.writeable = False

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

    def __repr__(self) -> str:
        return f"<Slot {'open' if self.is_open else 'closed'}>"
