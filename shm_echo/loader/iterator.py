"""The iterator of one loop over a loader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from shm_echo.copying import Uncopyable
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.progress import ProgressBar
from shm_echo.loader.stats import LoopMeter

__all__ = ["BatchIterator", "Batches"]


class Batches(Protocol):
    """A maker of batches: `LocalBatches` or `WorkerBatches`."""

    def next_batch(self, order: EpochOrder) -> tuple[Any, int] | None:
        """Return the next batch of a loop and its number of items; None at the end."""


class BatchIterator(Iterator[Any], Uncopyable):
    """Gives the batches of one epoch, each a tree like an item with a leading axis on each leaf.

    An exception of an item comes out of the call for its batch, and the next call gives the next
    batch. The end of the iterator, by `break` for example, cancels the batches ahead at the next
    loop.

    Args:
        batches: makes them.
        order: of this loop.
        meter: counts batches and waits.
        loader: kept alive by this iterator.
        at_end: called once, when the last batch was given.

    Attributes:
        bar: its progress bar; None for none.
    """

    _copying_advice = "a loop belongs to its process; make a new one with iter(loader)"

    def __init__(
        self,
        batches: Batches,
        order: EpochOrder,
        meter: LoopMeter,
        loader: object,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self._batches = batches
        self._order = order
        self._meter = meter
        self._loader = loader
        self._at_end = at_end
        self._last_end: float | None = None
        self._lock = threading.Lock()
        self._finished = False
        self._raised = False
        self.bar: ProgressBar | None = None
        # Set by the loader, which knows what else belongs to a position.
        self.state_of: Callable[[EpochOrder], dict[str, Any]] | None = None

    @property
    def order(self) -> EpochOrder:
        """The order of this loop, which has its position."""
        return self._order

    def state_dict(self) -> dict[str, Any]:
        """Return the position of this loop, as `DataLoader.state_dict` does for the last one."""
        assert self.state_of is not None
        return self.state_of(self._order)

    @property
    def epoch(self) -> int:
        """The epoch of this loop."""
        return self._order.epoch

    @property
    def running(self) -> bool:
        """Return True if the loop may go on: neither at its end nor at an exception.

        A loop that stopped at an exception can go on, but a new loop takes its workers over: a
        traceback that is kept somewhere, as in a notebook, refers to this iterator.
        """
        return not (self._finished or self._raised)

    def __next__(self) -> Any:
        with self._lock:
            if self._finished:
                raise StopIteration
            if self.bar is not None:  # before a batch is taken, which an interrupt would lose
                self.bar.draw()
            self._raised = True  # until the call has its result
            began = time.monotonic()
            try:
                taken = self._batches.next_batch(self._order)
            except StopIteration as error:  # would end the loop as if this were its end
                raise RuntimeError(
                    "a dataset, or collate_fn, has raised StopIteration for a batch"
                ) from error
            self._raised = False
            if taken is not None:
                ended = time.monotonic()
                self._meter.waited(began, ended, self._last_end, taken[1])
                self._last_end = ended
                self._order.deliver()
                if self.bar is not None:
                    self.bar.batch(taken[1], ended - began)
                return taken[0]
            self._finished = self._order.finished = True
            if self.bar is not None:
                self.bar.close()
            if self._at_end is not None:
                self._at_end()
        raise StopIteration
