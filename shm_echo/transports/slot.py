"""A reserved slot of the ring: arrays to write a sample into, in place."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from shm_echo.errors import ConnectionClosedError
from shm_echo.ring.core import _core_cpython

__all__ = ["Slot"]


class Slot:
    """The memory of one sample in the ring, claimed by `ShmClient.reserve`.

    The end of a `with` statement commits the sample, an exception aborts it; a slot that is garbage
    collected before either is aborted. `slot[key]` indexes the tree. After the commit or abort the
    arrays are read-only, because the memory belongs to the learner. Slices that were taken before
    stay writable: do not keep any.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Server, ShmClient, ShmTransport
        >>> example = {"x": np.zeros(2, np.float32)}
        >>> with Server(example, 1, ShmTransport("slot-example")) as server:
        ...     with ShmClient("slot-example", example) as client:
        ...         with client.reserve() as slot:
        ...             slot["x"][:] = 1, 2  # written into the ring, without a copy
        ...     slot.is_open, server.sample().batch["x"].tolist()
        (False, [[1.0, 2.0]])

    Attributes:
        tree: a tree like the example, of writable arrays in the ring. Their initial content is
            undefined.
    """

    __slots__ = ("__weakref__", "_claim", "_views", "tree")

    def __init__(self, claim: _core_cpython.Claim, views: list[Any], tree: Any) -> None:
        self._claim = claim
        self._views = views
        self.tree = tree

    @property
    def is_open(self) -> bool:
        """Return True if the slot can be written and committed; never in the child of a fork."""
        return self._claim.is_open

    def __getitem__(self, key: Any) -> Any:
        return self.tree[key]

    def commit(self) -> None:
        """Hand the sample over to the learner and close the slot.

        Raises:
            ConnectionClosedError: the slot was closed before, or the server has detached this
                client: the sample was not sent.
            ForkedHandleError: the slot was reserved by the parent process.
        """
        self.freeze()
        try:
            self._claim.commit()
        except ValueError as error:
            raise ConnectionClosedError(str(error)) from None

    def abort(self) -> None:
        """Give the slot back unused, if it is open."""
        self.freeze()
        self._claim.abort()

    def freeze(self) -> None:
        """Make the arrays read-only, as a commit or an abort does."""
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
