"""Runs the requests of a session: operations of the registry, methods, and session calls.

Every name is looked up in a table. The bounds of an operation's registry entry are checked before
it runs, so no request makes the server allocate more than the session may hold.
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

# An operation on more bytes takes longer than its messages, so it needs a long slot.
LONG_OPERATION_BYTES = 1 << 20


class Dispatcher:
    """Runs the requests of one session."""

    def __init__(
        self, objects: HandleTable, budgets: Budgets, quotas: Quotas, slot: SchedulerSlot
    ) -> None:
        self._objects = objects
        self._budgets = budgets
        self._quotas = quotas
        self._slot = slot
        self._small = min(LONG_OPERATION_BYTES, quotas.max_call_bytes)
        self.arena = SessionArena(objects, quotas)
        self.fds: tuple[int, ...] = ()  # sent with the answer of this request
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
        self, name: str, args: list[Any], kwargs: dict[str, Any], long_numbers: bool = False
    ) -> Any:
        """Run an operation, method or session call; charge the active view.

        Args:
            name: the operation, method or session call.
            args: the positional arguments.
            kwargs: the keyword arguments.
            long_numbers: the arguments contain whole numbers beyond 64 bits.

        Raises:
            MechEstimServerError: there is no such operation.
            QuotaExceededError: the result would not fit; nothing has run, nothing is charged.
            Exception: the operation's own error.
        """
        function = fast_path.FUNCTIONS.get(name)
        if function is not None and not long_numbers and not self._objects.has_object_arrays:
            size = fast_path.size(name, args, kwargs)
            if size <= self._small and self._objects.bytes + size <= self._quotas.max_bytes:
                return function(*args, **kwargs)
        object_dtype_guard.check_arguments(
            name,
            args,
            kwargs,
            long_numbers=long_numbers,
            has_object_arrays=self._objects.has_object_arrays,
        )
        if iteration_bounds.is_long(name, args, kwargs):
            self._slot.promote_to_long()
        self._check_sizes(name, args, kwargs)
        result = self._run(name, args, kwargs)
        object_dtype_guard.check_result(name, result)
        return result

    def _run(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        call = self._session_calls.get(name)
        if call is not None:
            if name in _COPIES:
                self._slot.promote_to_long()
            return call(*args, **kwargs)
        if name.startswith("random."):
            return self._draw(name, args, kwargs)
        function = allowlist.function(name)
        if function is None:
            raise MechEstimServerError(f"this server knows no operation {name[:80]!r}")
        return function(*args, **kwargs)

    # Sizes

    def _check_sizes(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Refuse a request whose result or scratch would not fit."""
        result, scratch = memory_bounds.required_bytes(name, args, kwargs)
        both = result + scratch
        if both > self._quotas.max_call_bytes:
            raise QuotaExceededError(
                "max_call_bytes", allowed=self._quotas.max_call_bytes, wanted=both
            )
        if both > LONG_OPERATION_BYTES:
            self._slot.promote_to_long()
        self._objects.check_available(result)

    # Random numbers: each session has a state of its own

    def _draw(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        op = OPS.get(name)
        _, _, rest = name.partition(".")
        owner, _, method = rest.rpartition(".")
        if method == "set_state":
            check_state([*args, *kwargs.values()])
        if owner in ("Generator", "RandomState"):
            generator = args[0] if args else None
            cls = getattr(local_random, owner)
            if op is None or not isinstance(generator, cls):
                raise MechEstimServerError(f"this server knows no operation {name[:80]!r}")
            found = getattr(generator, method)
            return found(*args[1:], **kwargs) if callable(found) else found
        if op is not None and not owner:
            if method == "default_rng":
                return local_random.default_rng(*args, **kwargs)
            source = getattr(self._random, _STATE_NAMES.get(method, method))
            if op.cost is None:
                return dispatch.free(source, tuple(args), kwargs)
            return local_random.charge_draw(
                op, source, tuple(args), kwargs, local_random.throwaway_state
            )
        if rest == "get_bit_generator":
            return self._random._bit_generator
        if rest == "set_bit_generator":
            self._random = np.random.RandomState(*args, **kwargs)
            return None
        if rest in _MAKERS:
            return getattr(local_random, rest)(*args, **kwargs)
        raise MechEstimServerError(f"this server knows no operation {name[:80]!r}")

    # Arrays in and out

    def _open_arena(self) -> int:
        """Open the arena. Its descriptors go with the answer."""
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
        """Return the contents of an array, in C order: dtype, shape, bytes."""
        if not isinstance(array, np.ndarray):
            raise TypeError("session.fetch needs an array")
        if array.nbytes > self._quotas.max_frame - 4096:
            raise QuotaExceededError(
                "max_frame", allowed=self._quotas.max_frame, wanted=array.nbytes + 4096
            )
        return [array.dtype.str, list(array.shape), base_view(array).tobytes()]


_COPIES = frozenset({"arena.put", "arena.get", "arena.hold"})
_STATE_NAMES = {"ranf": "random_sample", "sample": "random_sample"}
_MAKERS = frozenset(
    {"RandomState", "Generator", "MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64", "SeedSequence"}
)
