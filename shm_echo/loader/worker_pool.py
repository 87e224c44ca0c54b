"""The workers of a loader, as the training loop uses them."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shm_echo.errors import LoaderTimeoutError
from shm_echo.loader.face import NUMPY_FACE
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.loop_errors import closed_while_running
from shm_echo.loader.messages import End, FirstItem, FirstSpec, Hooks, Recipe, WorkerSetup
from shm_echo.loader.nursery_process import NurseryProcess
from shm_echo.loader.stats import cpu_share
from shm_echo.loader.worker_watch import TrainerRing, WorkerRing, WorkerWatch
from shm_echo.uninterrupted import run_uninterrupted

__all__ = ["PoolOptions", "StartMethod", "TrainerRing", "WorkerPool"]

StartMethod = Literal["fork", "spawn", "forkserver"]

# A worker's report is in its socket before its run is committed, so the thread only has to read it.
_REPORT_ARRIVES_WITHIN = 30.0
# A replacement that takes longer to start, in seconds, holds its batch up like one that hangs.
_REPLACED_WITHIN = 60.0
# A wait for the thread looks up as often, in seconds: Python runs signal handlers then.
_LOOK = 0.2
# Seconds after which the other workers begin with an item, if their face rehearses.
_REHEARSE_AFTER = 0.5


@dataclass(frozen=True)
class PoolOptions:
    """The options of a pool, beside the dataset.

    Attributes:
        num_workers: the number of workers, at least 1.
        hooks: what the loader does around items.
        seed: for `worker_info`.
        start_method: how the nursery is made; None takes that of `multiprocessing`.
        worker_init_fn: called in each worker with its number, before any item.
        recipe: makes batches that are collated as a whole.
    """

    num_workers: int
    hooks: Hooks
    seed: int = 0
    start_method: StartMethod | None = None
    worker_init_fn: Callable[[int], object] | None = None
    recipe: Recipe = field(default_factory=lambda: Recipe(NUMPY_FACE))


class WorkerPool:
    """Worker processes that fill runs of a ring, and the thread that watches over them.

    Args:
        dataset: makes the items.
        options: all else.
    """

    _nursery: NurseryProcess | None = None
    _watch: WorkerWatch  # from `start` on

    def __init__(self, dataset: Any, options: PoolOptions) -> None:
        self._options = options
        self._setup = WorkerSetup(
            dataset,
            options.hooks,
            options.worker_init_fn,
            options.num_workers,
            options.seed,
            options.recipe,
        )
        self._owner_pid = os.getpid()
        self._closed = False
        # Held while something is made or ended.
        self._closing = threading.RLock()

    def start(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Start the nursery, the workers, and the thread that watches over them.

        After an exception, of a signal handler for example, nothing is left of it.

        Args:
            on_change: called by the thread after a death was handled, and after an error that ends
                the loader.

        Raises:
            WorkerStartError: the dataset or another part cannot be pickled, by name, or no process
                can be made.
        """
        method = self._options.start_method or multiprocessing.get_start_method()
        atexit.register(self.close)
        nursery = NurseryProcess(method, self._setup)
        self._watch = WorkerWatch(nursery, self._options.num_workers, on_change)
        self._nursery = nursery
        try:
            if self._closed:
                self._watch.stop()
                return
            nursery.start()
            run_uninterrupted(self._start_watch)
        except BaseException:
            self.close()
            raise

    def _start_watch(self) -> None:
        with self._closing:
            if not self._closed:  # by a signal handler
                self._watch.start()

    # ---------------------------------------------------------------- the ring

    def first_item(self, first: FirstItem, timeout: float | None = None) -> Any | ItemFailure:
        """Have worker 0 make the first item; return what its `Hooks.spec_of` says about it.

        The worker keeps the item, and writes it when it gets the ring.

        Args:
            first: the request; row and epoch are as they will be in the ring.
            timeout: seconds to wait; None waits as long as it takes.

        Raises:
            WorkerDiedError: the item kills workers.
            LoaderTimeoutError: it was not made in time.
            ClosedLoaderError: the pool was closed meanwhile.
        """
        watch = self._watch
        began = time.monotonic()
        deadline = None if timeout is None else began + timeout
        rehearses = self._options.recipe.face.rehearses
        with watch.lock:
            watch.first, watch.first_result, watch.rehearsal = first, None, False
            watch.kept = True
        watch.wake()
        while (left := _LOOK if deadline is None else deadline - time.monotonic()) > 0:
            with watch.lock:
                self.check()
                if watch.stopped:
                    raise closed_while_running()
                if (result := watch.first_result) is not None:
                    watch.first = watch.first_result = None
                    return result.spec if isinstance(result, FirstSpec) else result
                if rehearses and not watch.rehearsal and time.monotonic() > began + _REHEARSE_AFTER:
                    watch.rehearsal = True
                    watch.wake()
                news = watch.waiter()
            news.acquire(timeout=min(left, _LOOK))
        raise self.timeout_error(timeout or 0.0, 0, first.index)

    def attach(self, ring: TrainerRing, *retired: WorkerRing) -> None:
        """Hand rings to the workers. Worker 0 gets its own first, to write the item it has kept.

        Args:
            ring: the rings.
            retired: rings that are closed then: workers that have them go over to the new ones.
        """
        self._watch.ring = ring
        self._watch.retired.extend(retired)
        self._watch.wake()

    # ---------------------------------------------------------------- errors

    def check(self) -> None:
        """Raise the error that has ended the workers, if there is one."""
        if self._watch.fatal is not None:
            raise self._watch.fatal

    @property
    def failed(self) -> bool:
        """True once an error has ended the workers."""
        return self._watch.fatal is not None

    def failure(self, row: int) -> ItemFailure | None:
        """Return the report about the run that begins at `row`, whose status was not 0."""
        failures = self._watch.failures
        self._await_report(failures, row)
        return failures.pop(row, None)

    def find(self, row: int) -> bytearray:
        """Return the batch that begins at `row`, and that did not fit into the ring.

        Raises:
            RuntimeError: the loader was closed meanwhile.
        """
        parcels = self._watch.parcels
        self._await_report(parcels, row)
        self.check()
        if row not in parcels:
            raise closed_while_running()
        return parcels[row]

    def forget(self, row: int) -> None:
        """Drop that batch."""
        self._watch.parcels.pop(row, None)

    def _await_report(self, reports: Mapping[int, Any], row: int) -> None:
        watch = self._watch
        deadline = time.monotonic() + _REPORT_ARRIVES_WITHIN
        while True:
            left = deadline - time.monotonic()
            with watch.lock:
                if row in reports or watch.stopped or left <= 0:
                    return
                news = watch.waiter()
            news.acquire(timeout=min(left, _LOOK))

    def forget_failures(self) -> None:
        """Drop the reports that nobody has asked for, as after a `break`."""
        with self._watch.lock:
            self._watch.failures.clear()
            self._watch.parcels.clear()

    def timeout_error(self, seconds: float, worker: int | None, index: Any) -> LoaderTimeoutError:
        """Return the error of a batch that a worker holds up, with the worker's stack."""
        if worker is None:
            return LoaderTimeoutError(seconds)
        stack = self.stack(worker)
        detail = "" if stack else "it shows no Python stack: it is stopped, or has just ended"
        return LoaderTimeoutError(seconds, worker, self.pid_of(worker), index, stack, detail)

    # ---------------------------------------------------------------- single workers

    @property
    def deaths(self) -> int:
        """The number of workers that have died unasked."""
        return self._watch.deaths

    @property
    def replacing(self) -> bool:
        """True while a worker that has died lately is not back at work."""
        watch = self._watch
        lately = time.monotonic() - watch.last_death < _REPLACED_WITHIN
        return lately and not all(slot.ring for slot in watch.slots)

    @property
    def nursery_pid(self) -> int:
        """The process that makes the workers."""
        assert self._nursery is not None
        return self._nursery.pid

    def pids(self) -> list[int]:
        """Return the processes of the workers, in the order of their numbers.

        Waits for workers that are being made. Only those are missing that nobody will replace.
        """
        watch = self._watch
        while True:
            with watch.lock:
                missing = any(slot.pid is None and not slot.left for slot in watch.slots)
                if not missing or watch.stopped:
                    return [slot.pid for slot in watch.slots if slot.pid is not None]
                news = watch.waiter()
            news.acquire(timeout=_LOOK)

    def cpu_shares(self) -> tuple[float, ...]:
        """Return the share of a CPU that each worker has used; 0 for one that is being made."""
        slots = self._watch.slots
        return tuple(0.0 if slot.pid is None else cpu_share(slot.pid) for slot in slots)

    def pid_of(self, worker: int) -> int | None:
        """Return the process of a worker; None while it is being replaced."""
        return self._watch.slots[worker].pid

    def stack(self, worker: int) -> str:
        """Return the Python stack of a worker as text, "" if it is stopped or has ended."""
        with self._watch.lock:  # else its descriptors may be closed meanwhile
            return self._watch.slots[worker].stack()

    def restart(self, worker: int, wait: float = 5.0) -> bool:
        """Kill a worker that hangs; its rows are done again.

        Returns:
            False if its process has not ended within `wait` seconds, as in a call of the kernel
            that cannot be interrupted.
        """
        watch = self._watch
        deadline = time.monotonic() + wait
        slot = watch.slots[worker]
        with watch.lock:
            life = slot.life
            slot.kill()
        while True:
            left = deadline - time.monotonic()
            with watch.lock:
                if slot.life != life or watch.stopped:
                    return True
                news = watch.waiter()
            if left <= 0:
                return False
            news.acquire(timeout=min(left, _LOOK))

    def close(self, grace: float = 2.0) -> None:
        """End all workers and the nursery. Close the ring before, which ends idle workers.

        In a child of the process that made the pool it does nothing.

        Args:
            grace: seconds for workers to finish the item they make; then they are killed.
        """
        if os.getpid() != self._owner_pid:
            return
        with self._closing:
            if self._closed or self._nursery is None:
                self._closed = True
                atexit.unregister(self.close)
                return
            # Every step may be done twice: Ctrl-C may end this call anywhere, and the exit of the
            # process calls it again.
            self._watch.stop()
            for slot in self._watch.slots:
                slot.send(End(grace))
            self._nursery.close(grace)
            self._watch.close()
            self._closed = True
            atexit.unregister(self.close)
