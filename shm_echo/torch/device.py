"""Copies of batches to a GPU, that run beside the training loop.

A copy from a ring reads it while the loop goes on. The batch in the ring is held until the copy has
ended, which an event on the loader's own stream tells: workers never write under it.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import torch

from shm_echo.ring.host_pinning import find_cuda
from shm_echo.torch.tensors import map_tensors

__all__ = ["Cuda", "DeviceCopies", "check_device"]


def check_device(device: Any) -> torch.device | None:
    """Return the device that batches are copied to; None for none.

    Raises:
        TypeError: it is no device.
        ValueError: it is a device of another kind than CUDA.
    """
    if device is None:
        return None
    try:
        checked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device: {error}") from None
    if checked.type != "cuda":
        raise ValueError(
            f"device must be a CUDA device or None, not {device!r}: move batches to another one "
            "in the training loop"
        )
    return checked


class Cuda:
    """The calls to CUDA that copies need.

    Args:
        device: the device.

    Raises:
        RuntimeError: torch sees no CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError(
                f"device={str(device)!r} needs CUDA, and torch.cuda.is_available() is False: "
                "leave out device= to get batches on the CPU"
            )
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def register(self, ring: Any) -> None:
        """Page-lock the memory of a ring. From other memory, the loop would wait for each copy.

        Raises:
            RuntimeError: CUDA refused it.
        """
        ring.pin(find_cuda())

    def copy(self, batch: Any) -> tuple[Any, Any]:
        """Begin to copy the tensors of a batch; return the copy, and an event.

        The event's `query` returns True once the copies have ended, and `synchronize` waits for
        that. The loop's stream waits for them by itself.
        """
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            copied = map_tensors(self._begin_copy, batch)
            event = self._stream.record_event()
        current.wait_event(event)
        # The allocator must not give the memory to this stream again while the loop's uses it.
        map_tensors(lambda tensor: tensor.record_stream(current), copied)
        return copied, event

    def _begin_copy(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device, non_blocking=True)


class DeviceCopies:
    """Copies batches to a device, and holds the originals until the copies have ended.

    Args:
        device: the device.
        cuda: the calls to CUDA; None for the real ones.

    Example:
        >>> import torch
        >>> from shm_echo.torch.device import DeviceCopies
        >>> class Done:
        ...     def query(self):
        ...         return True
        >>> class NoCuda:
        ...     def copy(self, batch):
        ...         return batch.clone(), Done()
        >>> copies = DeviceCopies(torch.device("cuda"), NoCuda())
        >>> copies.copy(torch.arange(3)), copies.held
        (tensor([0, 1, 2]), 1)
    """

    def __init__(self, device: torch.device, cuda: Any = None) -> None:
        self._cuda = Cuda(device) if cuda is None else cuda
        self._running: deque[tuple[Any, Any]] = deque()
        self._registered: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def held(self) -> int:
        """The number of batches that copies may still read."""
        return len(self._running)

    def copy(self, batch: Any, rings: tuple[Any, ...] = ()) -> Any:
        """Return a copy of the batch on the device, which may still be under way.

        Args:
            batch: the batch.
            rings: the rings whose memory it may refer to.
        """
        for ring in rings:
            if ring not in self._registered:
                self._registered.add(ring)
                self._cuda.register(ring)
        while self._running and self._running[0][1].query():
            self._running.popleft()
        copied, event = self._cuda.copy(batch)
        self._running.append((batch, event))
        return copied

    def wait(self) -> None:
        """Wait for the copies that are under way, before the memory that they read goes."""
        while self._running:
            self._running.popleft()[1].synchronize()
