"""Runs the requests of a session: operations of the registry, methods, and session calls.

Every name is looked up in a table. The dispatcher checks the bounds of an operation's registry
entry before the operation runs, so no request makes the server allocate more than the session may
hold.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import MechEstimServerError, QuotaExceededError
from shm_echo.mechestim.local import dispatch, symmetric
from shm_echo.mechestim.local import random as local_random
from shm_echo.mechestim.local.array import Array, base_view
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.service.metering.budgets import Budgets
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.objects import object_dtype_guard
from shm_echo.mechestim.service.objects.arena import SessionArena
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.objects.resizing import resize
from shm_echo.mechestim.service.operations import (
    allowlist,
    fast_path,
    iteration_bounds,
    memory_bounds,
)
from shm_echo.mechestim.service.operations.bit_generator_state import check_state
from shm_echo.mechestim.service.operations.generators import GENERATORS
from shm_echo.mechestim.service.operations.session_calls import SESSION_CALLS
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot

# 1 MiB. An operation on more bytes takes longer than its messages. It runs in a long slot, so that
# the short requests of other sessions need not wait for it.
LONG_OPERATION_BYTES = 1 << 20


class Dispatcher:
    """Runs the requests of one session.

    Args:
        objects: The objects of the session.
        budgets: The budgets of the session.
        quotas: The limits of the session.
        slot: The session's slot in the scheduler.

    Attributes:
        arena: The memory that the session shares with its client.
        fds: The descriptors to send with the answer to the current request.
    """

    def __init__(
        self, objects: HandleTable, budgets: Budgets, quotas: Quotas, slot: SchedulerSlot
    ) -> None:
        self._objects = objects
        self._budgets = budgets
        self._quotas = quotas
        self._slot = slot
        self._short_bytes = min(LONG_OPERATION_BYTES, quotas.max_call_bytes)
        self.arena = SessionArena(objects, quotas)
        self.fds: tuple[int, ...] = ()
        self._random = np.random.RandomState()
        self._session_calls: dict[str, Callable[..., Any]] = {
            **SESSION_CALLS,
            **GENERATORS,
            "session.array": self._array,
            "session.fetch": self._fetch,
            "arena.open": self._open_arena,
            "arena.blank": self.arena.blank,
            "arena.put": self.arena.put,
            "arena.hold": self.arena.hold,
            "arena.get": self.arena.get,
            "ndarray.resize": partial(resize, objects),
            "session.size": lambda: [len(objects), objects.bytes],
            "as_symmetric": symmetric.as_symmetric,
            "is_symmetric": symmetric.is_symmetric,
            "budget.open": budgets.open,
            "budget.read": budgets.read,
            "budget.enter": budgets.enter,
            "budget.leave": budgets.leave,
            "budget.deduct": budgets.deduct,
            "budget.log": budgets.log,
            "budget.history": budgets.history,
            "budget.configure": budgets.configure,
            "budget.reset": budgets.reset,
        }

    def perform(
        self, name: str, args: list[Any], kwargs: dict[str, Any], has_big_integers: bool = False
    ) -> Any:
        """Run an operation, method or session call; charge the active view.

        Args:
            name: the operation, method or session call.
            args: the positional arguments.
            kwargs: the keyword arguments.
            has_big_integers: True if the arguments contain integers beyond 64 bits.

        Returns:
            The result of the operation.

        Raises:
            MechEstimServerError: There is no such operation.
            QuotaExceededError: The result would not fit; the operation has not run and is not
                charged.
            Exception: The operation's own error.
        """
        # Nearly all requests end here. The size bounds the result and the scratch memory, and it
        # counts against the whole of max_bytes, so the exact bounds need not be computed.
        function = fast_path.FUNCTIONS.get(name)
        if function is not None and not has_big_integers and not self._objects.has_object_arrays:
            size = fast_path.required_bytes(name, args, kwargs)
            if size <= self._short_bytes and self._objects.bytes + size <= self._quotas.max_bytes:
                return function(*args, **kwargs)
        object_dtype_guard.check_arguments(
            name,
            args,
            kwargs,
            has_big_integers=has_big_integers,
            has_object_arrays=self._objects.has_object_arrays,
        )
        if iteration_bounds.is_long(name, args, kwargs):
            self._slot.promote_to_long()
        self._check_memory(name, args, kwargs)
        result = self._run(name, args, kwargs)
        object_dtype_guard.check_result(name, result)
        return result

    def _run(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        call = self._session_calls.get(name)
        if call is not None:
            if name in _ARENA_COPIES:
                self._slot.promote_to_long()
            return call(*args, **kwargs)
        if name.startswith("random."):
            return self._draw(name, args, kwargs)
        function = allowlist.find_function(name)
        if function is None:  # the client's text is cut, so that the error fits into a message
            raise MechEstimServerError(f"this server knows no operation {name[:80]!r}")
        return function(*args, **kwargs)

    # Memory

    def _check_memory(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Check that the result and the scratch memory of a request fit.

        Raises:
            QuotaExceededError: They do not fit.
        """
        result, scratch = memory_bounds.required_bytes(name, args, kwargs)
        both = result + scratch
        if both > self._quotas.max_call_bytes:
            raise QuotaExceededError(
                "max_call_bytes", allowed=self._quotas.max_call_bytes, wanted=both
            )
        if both > LONG_OPERATION_BYTES:
            self._slot.promote_to_long()
        self._objects.check_available(result)  # the scratch memory is free again afterwards

    # Random numbers

    def _draw(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Run a function or method of `numpy.random`.

        The module's functions draw from a state of the session, never from NumPy's global one,
        which all sessions of the process would share.
        """
        op = OPS.get(name)
        _, _, rest = name.partition(".")  # "random.RandomState.normal" or "random.normal"
        owner, _, method = rest.rpartition(".")
        if method == "set_state":
            check_state([*args, *kwargs.values()])
        if owner in ("Generator", "RandomState"):
            generator = args[0] if args else None
            cls = getattr(local_random, owner)
            if op is None or not isinstance(generator, cls):
                raise MechEstimServerError(f"this server knows no operation {name[:80]!r}")
            found = getattr(generator, method)  # safe: `name` is one of the registry's
            return found(*args[1:], **kwargs) if callable(found) else found
        if op is not None and not owner:
            if method == "default_rng":
                return local_random.default_rng(*args, **kwargs)
            source = getattr(self._random, _ALIASES.get(method, method))
            if op.cost is None:  # seed, get_state, set_state: they draw no numbers
                return dispatch.free(source, tuple(args), kwargs)
            return local_random.charge_draw(
                op, source, tuple(args), kwargs, local_random.throwaway_state
            )
        if rest == "get_bit_generator":
            return self._random._bit_generator
        if rest == "set_bit_generator":
            self._random = np.random.RandomState(*args, **kwargs)
            return None
        if rest in _CONSTRUCTORS:
            return getattr(local_random, rest)(*args, **kwargs)
        raise MechEstimServerError(f"this server knows no operation {name[:80]!r}")

    # Arrays in and out

    def _open_arena(self) -> int:
        """Open the arena and return its size in bytes. Its descriptors go with the answer."""
        size = self.arena.open()
        self.fds = self.arena.fds
        return size

    def take_fds(self) -> tuple[int, ...]:
        """Return the descriptors to send with this answer; the arena keeps its own."""
        fds, self.fds = self.fds, ()
        return fds

    def _array(self, value: Any) -> Array:
        """Return an array that the client sent in one message."""
        if not isinstance(value, Array):
            raise TypeError("session.array needs an array")
        return value

    def _fetch(self, array: Any) -> list[Any]:
        """Return the contents of an array as [dtype, shape, bytes], in C order.

        Raises:
            TypeError: The argument is not an array.
            QuotaExceededError: The contents do not fit into one message.
        """
        if not isinstance(array, np.ndarray):
            raise TypeError("session.fetch needs an array")
        size = array.nbytes + _ANSWER_BYTES
        if size > self._quotas.max_frame:
            raise QuotaExceededError("max_frame", allowed=self._quotas.max_frame, wanted=size)
        return [array.dtype.str, list(array.shape), base_view(array).tobytes()]


# An upper bound of the bytes around the contents in an answer: keys, dtype, at most 64 lengths.
_ANSWER_BYTES = 4096
# Copies between the arena and arrays: they can take as long as an operation on 1 MiB.
_ARENA_COPIES = frozenset({"arena.put", "arena.get", "arena.hold"})
# Functions of numpy.random that a RandomState knows by one name only.
_ALIASES = {"ranf": "random_sample", "sample": "random_sample"}
_CONSTRUCTORS = frozenset(
    {"RandomState", "Generator", "MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64", "SeedSequence"}
)
