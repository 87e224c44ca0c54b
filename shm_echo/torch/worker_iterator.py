"""The iterator of a loader with workers: batches of a ring, in the order that torch would draw."""

from __future__ import annotations

import weakref
from typing import Any

from torch.utils.data import _utils
from torch.utils.data.dataloader import _BaseDataLoaderIter

from shm_echo.errors import LoaderTimeoutError, WorkerDiedError
from shm_echo.loader.engine import LoaderEngine
from shm_echo.loader.progress import ProgressBar
from shm_echo.torch.device import DeviceCopies
from shm_echo.torch.engine_options import make_engine
from shm_echo.torch.torch_words import died_as_torch_says, late_as_torch_says
from shm_echo.torch.worker_handles import WorkerHandles

__all__ = ["WorkerIterator"]


class WorkerIterator(_BaseDataLoaderIter):
    """Gives the batches of one epoch; with persistent workers, of one epoch after another.

    Args:
        loader: the loader.
    """

    def __init__(self, loader: Any) -> None:
        if not loader.persistent_workers:
            loader._loops.restore_generators()
        super().__init__(loader)  # draws the base seed, before the sampler draws
        if loader.prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 with num_workers > 0")
        self._loops = loader._loops
        self._ahead = loader.prefetch_factor * loader.num_workers
        self._seed = self._loops.seed_of(self._base_seed, persistent=loader.persistent_workers)
        self._copies = None if loader.device is None else DeviceCopies(loader.device)
        self._engine = make_engine(loader, self._seed)
        self._handles = WorkerHandles(self._engine.worker_pids)
        weakref.finalize(self, _close, self._engine, self._copies)
        self._reset(loader, first_iter=True)

    def _reset(self, loader: Any, first_iter: bool = False) -> None:
        super()._reset(loader, first_iter)
        start = self._loops.start(self._seed, self._ahead, self._sampler_iter)
        self._loop = self._engine.begin_loop(start.epoch, start.batches)
        self._keys = self._loops.began(self._loop.order, start, self._engine)
        self._loop.state_of = self._loops.state
        if loader.progress:
            self._loop.bar = ProgressBar(self._loop, start.epoch, loader, start.batches)
        self._handles.refresh()

    def state_dict(self) -> dict[str, Any]:
        """Return the position of this loop, for `load_state_dict` of a loader."""
        state: dict[str, Any] = self._loop.state_dict()
        return state

    @property
    def _workers(self) -> list[Any]:
        """The workers, with the attributes of `multiprocessing.Process` that programs look at."""
        return self._handles.workers()

    def _next_data(self) -> Any:
        self._keys.draw(1)
        try:
            batch = next(self._loop)
        except StopIteration:
            if not self._persistent_workers:
                self._handles.refresh()
                _close(self._engine, self._copies)
            raise
        except LoaderTimeoutError as error:
            raise late_as_torch_says(error, self._timeout) from None
        except WorkerDiedError as error:
            raise died_as_torch_says(error) from None
        self._loops.said = self._engine.layouts.said
        if self._pin_memory:
            batch = _utils.pin_memory.pin_memory(batch, self._pin_memory_device)
        return batch if self._copies is None else self._copies.copy(batch, self._engine.rings)


def _close(engine: LoaderEngine, copies: DeviceCopies | None) -> None:
    if copies is not None:
        copies.wait()
    engine.close()
