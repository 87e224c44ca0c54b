"""Lists the batches whose memory the learner holds, and in debug mode what holds them."""

from __future__ import annotations

import gc
import sys
import traceback
import weakref
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from shm_echo.metrics import HeldBatch
from shm_echo.ring.core import _core_cpython

__all__ = ["HeldBatches"]

# The garbage collector misses these: it tracks neither running functions nor C libraries.
_UNSEEN = "a local variable, a view or another library"
# Containers to climb from an array: a batch is a tree, and the tree itself lies in something.
_MOST_LEVELS = 6
# Holders named per batch, so that the list stays readable.
_MOST_HOLDERS = 8

_Array = np.ndarray[Any, Any]


class HeldBatches:
    """The leases of one server.

    Args:
        receiver: the ring's C consumer.
        debug: also record where each batch is taken, and search for its holders.
    """

    def __init__(self, receiver: _core_cpython.Receiver, debug: bool) -> None:
        self._receiver = receiver
        self.debug = debug
        self._taken: dict[int, tuple[list[weakref.ref[_Array]], str]] = {}

    def record(self, arrays: Sequence[_Array]) -> None:
        """Remember the stack of a take and, weakly, its arrays. Call it in debug mode only."""
        lent = {number for number, _, _ in self._receiver.leases()}
        known = {number: taken for number, taken in self._taken.items() if number in lent}
        for number in lent - known.keys():  # at most one: the batch of this take
            stack = "".join(traceback.format_stack(sys._getframe(1)))
            known[number] = [weakref.ref(array) for array in arrays], stack
        self._taken = known

    def list(self) -> list[HeldBatch]:
        """Return the batches that are lent now, oldest first."""
        leases = sorted(self._receiver.leases())
        if not self.debug:
            return [HeldBatch(number, ns / 1e9, count) for number, ns, count in leases]
        arrays: dict[int, list[_Array]] = {}
        for number, _, _ in leases:
            arrays[number] = _alive(self._taken[number][0]) if number in self._taken else []
        search = _Search(arrays)
        return [
            HeldBatch(number, ns / 1e9, count, search.holders(number), self._taken[number][1])
            for number, ns, count in leases
            if number in self._taken
        ]


def _alive(references: list[weakref.ref[_Array]]) -> list[_Array]:
    arrays = [reference() for reference in references]
    return [array for array in arrays if array is not None]


class _Search:
    """Finds what holds arrays, with the help of the garbage collector."""

    def __init__(self, arrays: dict[int, list[_Array]]) -> None:
        self._arrays = arrays
        self._own = {id(arrays), *(id(each) for each in arrays.values())}
        self._untracked = self._untracked_containers()

    def _untracked_containers(self) -> list[tuple[Any, Any]]:
        """Return (container, owner) of the containers that the collector does not track.

        It does not track a dict or a tuple of arrays, because it does not track these. So such
        containers are searched for in everything that it does track.
        """
        wanted = {id(array) for each in self._arrays.values() for array in each}
        found: list[tuple[Any, Any]] = []
        self._own.add(id(found))
        for owner in gc.get_objects():
            if id(owner) in self._own:
                continue
            for inner in gc.get_referents(owner):
                if type(inner) in (dict, tuple) and not gc.is_tracked(inner):
                    values = inner.values() if type(inner) is dict else inner
                    if any(id(value) in wanted for value in values):
                        found.append((inner, owner))
                        self._own.add(id(found[-1]))
        return found

    def holders(self, number: int) -> tuple[str, ...]:
        """Describe the holders of a batch, each from the inside to the outside."""
        arrays = self._arrays[number]
        wanted = {id(array) for array in arrays}
        texts = [
            text
            for container in self._referrers(arrays)
            for text in self._described(container, frozenset())
        ]
        for container, owner in self._untracked:
            values = container.values() if type(container) is dict else container
            if any(id(value) in wanted for value in values):
                inner = _describe(container)
                texts += [f"{inner}, in {text}" for text in self._described(owner, frozenset())]
        return tuple(dict.fromkeys(texts))[:_MOST_HOLDERS] or (_UNSEEN,)

    def _described(self, container: Any, inner: frozenset[int]) -> list[str]:
        """Describe a container, and what it lies in; `inner` are the containers inside of it."""
        text = _describe(container)
        if len(inner) == _MOST_LEVELS or _is_named(container):
            return [text]
        inside = inner | {id(container)}
        described = []
        for holder in self._referrers([container]):
            if id(holder) not in inside:  # containers may hold each other
                described += self._described(holder, inside)
        return [f"{text}, in {rest}" for rest in described] or [text]

    def _referrers(self, targets: list[Any]) -> list[Any]:
        """Return the tracked objects that refer to one of the targets, but for this search's."""
        own = self._own | {id(targets)}
        found = [
            holder
            for holder in gc.get_referrers(*targets)
            if id(holder) not in own and not _is_frame_of_the_search(holder)
        ]
        self._own.add(id(found))
        return found


def _is_frame_of_the_search(holder: Any) -> bool:
    return isinstance(holder, FrameType) and holder.f_code.co_filename == __file__


def _is_named(container: Any) -> bool:
    """Return True if the description of a container says enough to find it."""
    return isinstance(container, (FrameType, ModuleType)) or _module_of(container) is not None


def _module_of(container: Any) -> str | None:
    """Return the name of the module whose variables these are."""
    if type(container) is not dict:
        return None
    name = container.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return name if module is not None and module.__dict__ is container else None


def _describe(container: Any) -> str:
    if isinstance(container, FrameType):
        code = container.f_code
        return f"a call of {code.co_name}() ({code.co_filename}:{container.f_lineno})"
    module = _module_of(container)
    if module is not None:
        return f"the variables of module {module}"
    if type(container) is dict:
        keys = ", ".join(repr(key) for key in list(container)[:5])
        return f"a dict with the keys {keys}{', ...' if len(container) > 5 else ''}"
    kind = type(container).__name__
    if kind == "managedbuffer":  # the inner half of a memoryview
        kind = "memoryview"
    size = f" of {len(container)}" if isinstance(container, (list, tuple, set)) else ""
    return f"a {kind}{size}" if type(container).__module__ == "builtins" else f"a {kind} object"
