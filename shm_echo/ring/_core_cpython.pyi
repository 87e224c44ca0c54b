from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

_Times = tuple[int, int, int, float, int, int, int]
_Leaves = tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]

def bind(address: int, /) -> None: ...

class Mapping:
    def __init__(self, fd: int, size: int, guarded: bool = False) -> None: ...
    @property
    def broken(self) -> bool: ...
    def renew_guard(self) -> bool: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Handle:
    def __init__(self, ring: int, mapping: Mapping) -> None: ...

class Lease: ...

class Sender:
    def __init__(
        self,
        handle: Handle,
        owner: int,
        leaves: _Leaves,
        plan: tuple[Any, ...] | None,
        flatten: Callable[[Any], list[Any]],
        unflatten: Callable[[Sequence[Any]], Any],
        check: Callable[[Any, bool], list[np.ndarray[Any, Any]]],
        raise_for_result: Callable[[int, int, float | None], None],
        server: int,
        watch: Callable[[], None] | None = None,
        same_kind: bool = False,
        watch_after_ns: int = 0,
    ) -> None: ...
    @property
    def busy(self) -> int: ...
    @property
    def reserved(self) -> int: ...
    @property
    def retired(self) -> bool: ...
    @property
    def lost_slot(self) -> int: ...
    def send(self, tree: Any, timeout: float | None = None, /) -> None: ...
    def send_batch(self, tree: Any, timeout: float | None = None, /) -> int: ...
    def reserve(self, timeout: float | None, /) -> Slot: ...
    def wait(self, timeout: float | None, /) -> None: ...
    def stop(self) -> None: ...
    def leave(self, on_idle: Callable[[], None], /) -> None: ...
    def retire(self) -> None: ...

class Slot:
    """The memory of one sample in the ring, claimed by `ShmClient.reserve`.

    The end of a `with` statement commits the sample, an exception aborts it; a slot that is
    garbage collected before either is aborted. `slot[key]` indexes the tree, for reading and
    for assignment. After the commit or abort the arrays are read-only, because the memory
    belongs to the learner. Slices that were taken before stay writable: do not keep any.

    A commit sends what the tree says at that moment. Leaves that are still the arrays in the
    ring cost no copy; a leaf that was replaced is checked and copied, as `send` does.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Server, ShmClient, ShmTransport
        >>> example = {"x": np.zeros(2, np.float32), "n": np.int64(0)}
        >>> with Server(example, 1, ShmTransport("slot-example")) as server:
        ...     with ShmClient("slot-example", example) as client:
        ...         with client.reserve() as slot:
        ...             slot["x"][:] = 1, 2  # written into the ring, without a copy
        ...             slot["n"] = 7  # replaced: copied by the commit
        ...     batch = server.sample().batch
        ...     slot.is_open, batch["x"].tolist(), batch["n"].tolist()
        (False, [[1.0, 2.0]], [7])

    Attributes:
        tree: a tree like the example, of writable arrays in the ring. Their initial content is
            undefined. Another tree like the example may be assigned to it.
    """

    tree: Any

    @property
    def is_open(self) -> bool:
        """Return True if the slot can be written and committed; never in the child of a fork."""

    def commit(self) -> None:
        """Hand the sample over to the learner and close the slot.

        If it raises, the slot is given back, and the sample was not sent.

        Raises:
            SpecMismatchError: a leaf of the tree was replaced by one that does not fit, or
                the structure differs; the message names the path.
            ConnectionClosedError: the slot was closed before, or the server has detached
                this client.
            ForkedHandleError: the slot was reserved by the parent process.
        """

    def abort(self) -> None:
        """Give the slot back unused, if it is open."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __setitem__(self, key: Any, value: Any, /) -> None: ...
    def __delitem__(self, key: Any, /) -> None: ...
    def __enter__(self) -> Slot: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

class Handover:
    def begin(self, timeout: float, /) -> bool: ...
    def take(self, owned: bool, /) -> list[np.ndarray[Any, Any]] | None: ...
    def confirm(self) -> None: ...
    def put_back(self) -> None: ...

class Receiver:
    def __init__(
        self, handle: Handle, leaves: _Leaves, mode: int, writable: bool, poisoned: bool
    ) -> None: ...
    waiting: bool
    @property
    def watching(self) -> bool: ...
    @property
    def held(self) -> int: ...
    @property
    def notices(self) -> int: ...
    def handover(self) -> Handover: ...
    def wait(self, ns: int, /) -> int: ...
    def watch(self, ns: int, /) -> int: ...
    def wake(self) -> None: ...
    def leases(self) -> list[tuple[int, int, int]]: ...
    def close(self) -> None: ...
    def stats(self) -> tuple[int, int, int, int, int, int, int, int, int, int]: ...
    def times(self) -> tuple[_Times, _Times]: ...
    def reset_times(self) -> None: ...
    def address(self) -> int: ...
