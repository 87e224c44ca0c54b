"""The thread of the trainer's process that watches over the workers.

It reads what nursery and workers say, and replaces workers that died, also while the training loop
is busy elsewhere. Nothing else reads the channels, so an interrupt in the loop loses no message.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from shm_echo.errors import WorkerStartError
from shm_echo.loader.channel import ChannelClosedError, wait_readable
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.messages import (
    Attach,
    Claimed,
    Died,
    FirstItem,
    FirstSpec,
    Forked,
    ForkFailed,
    InitFailed,
    Left,
    NurseryFailed,
    Parcel,
    Ready,
    Rehearse,
    Sender,
    Singly,
)
from shm_echo.loader.nursery_process import NurseryProcess
from shm_echo.loader.supervision import Death, Supervisor
from shm_echo.loader.worker_slot import WorkerSlot

__all__ = ["TrainerRing", "WorkerRing", "WorkerWatch"]


class WorkerRing(Protocol):
    """The ring of a worker. Owner ids are worker + 1."""

    run_rows: int
    """0 for rows; for parcels the rows after which the global generators are set anew."""

    def fileno(self) -> int:
        """Return the descriptor for the workers."""

    def opener(self) -> Callable[..., Sender]:
        """Return what opens the ring in a worker: (descriptor, owner id, trainer's pidfd, hooks).

        It takes over the descriptor, and is pickled.
        """

    def admit(self, owner: int) -> None:
        """Let an owner id claim runs."""

    def row_at_work(self, owner: int) -> tuple[int, Any] | None:
        """Return the row that a worker makes or made, and its item; None if it was at none."""

    def work_of(self, owner: int) -> tuple[int, int, int | None]:
        """Return complete batches, rows of taken batches that the worker made, and its row."""

    def recover(self, owner: int) -> None:
        """Give the runs of an owner whose process has ended to others."""

    def close(self) -> None:
        """Close the ring: workers go over to the one that they have got since, or end."""


class TrainerRing(Protocol):
    """The rings as the pool uses them."""

    def of(self, owner: int) -> WorkerRing:
        """Return the ring of a worker, by its owner id: the same for several, or one each."""


class WorkerWatch:
    """The places of the workers, and the thread that keeps them filled.

    Args:
        nursery: makes the workers.
        num_workers: the number of places.
        on_change: called by the thread after a death was handled, and after an error that ends the
            loader.

    Attributes:
        lock: the lock of everything here.
        slots: the places, by the number of the worker.
        deaths: the number of workers that have died unasked.
        ring: the ring; None until the workers get it.
        retired: rings to close once `ring` was handed out.
        failures: reports about runs that failed, by the first row of the run.
        parcels: batches that did not fit into the ring, by their first row.
        first: the first item, while worker 0 is asked for it.
        first_result: the answer.
        rehearsal: True to have the other workers make the first item meanwhile, too.
        kept: True while worker 0 keeps an item for the ring. The others get the ring after it.
        fatal: the error that ended the workers.
        last_death: the time of the last death on the monotonic clock.
    """

    def __init__(
        self, nursery: NurseryProcess, num_workers: int, on_change: Callable[[], None]
    ) -> None:
        # Re-entrant: a signal handler may close the loader while its thread holds the lock. Not a
        # Condition: an exception of a handler in its methods can leave its lock taken.
        self.lock = threading.RLock()
        self._waiters: list[threading.Lock] = []
        self.slots = [WorkerSlot(number) for number in range(num_workers)]
        self.ring: TrainerRing | None = None
        self.retired: list[WorkerRing] = []
        self.failures: dict[int, ItemFailure] = {}
        self.parcels: dict[int, bytearray] = {}
        self.first: FirstItem | None = None
        self.first_result: FirstSpec | ItemFailure | None = None
        self.rehearsal = False
        self.kept = False
        self.fatal: Exception | None = None
        self.last_death = -math.inf
        self._nursery = nursery
        self._on_change = on_change
        self._supervisor = Supervisor()
        self._work: dict[int, tuple[int, int, int | None]] = {}  # by owner, at the last death
        self._stopping = False
        self._wake: io.FileIO | None = None
        self._asked: FirstItem | None = None  # what worker 0 was asked for last
        self._thread = threading.Thread(target=self._watch, name="shm-echo-loader", daemon=True)

    @property
    def deaths(self) -> int:
        return self._supervisor.deaths

    @property
    def stopped(self) -> bool:
        """True once nothing reads the channels any more."""
        return self._stopping or self.fatal is not None

    def start(self) -> None:
        """Ask for the workers, and start the thread."""
        self._wake = io.FileIO(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        for slot in self.slots:
            self._request(slot)
        self._thread.start()

    def waiter(self) -> threading.Lock:
        """Return a lock that the thread releases with the next news. Hold `lock` in this call."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        return waiter

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.release()

    def wake(self) -> None:
        """Have the thread look at `first` and `ring`."""
        if self._wake is not None and not self._wake.closed:
            os.eventfd_write(self._wake.fileno(), 1)

    def stop(self) -> None:
        """Stop the thread. Workers that die from now on are not replaced."""
        with self.lock:
            self._stopping = True
            self._tell()
        self.wake()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def close(self) -> None:
        """Kill the workers that are left, and close the descriptors."""
        with self.lock:
            for slot in self.slots:
                slot.kill()  # none is left, unless the nursery itself was killed
                slot.close()
            if self._wake is not None:
                self._wake.close()

    # ---------------------------------------------------------------- the thread

    def _watch(self) -> None:
        nursery, wake = self._nursery, self._wake
        assert wake is not None
        fixed = [wake.fileno(), nursery.pidfd, nursery.channel.fileno()]
        try:
            while not self._stopping and self.fatal is None:
                channels = [s.channel.fileno() for s in self.slots if s.channel is not None]
                readable = set(wait_readable([*fixed, *channels]))
                if not self._lock():
                    return
                try:
                    if fixed[0] in readable:
                        os.eventfd_read(fixed[0])
                    self._read_all(nursery, readable)
                    self._hand_out()
                    self._tell()
                finally:
                    self.lock.release()
        except Exception as error:
            # Without the thread nothing would replace workers: the loop must not wait for ever.
            self._end_with(error)

    def _lock(self) -> bool:
        """Take the lock; return False if the thread shall stop.

        A signal handler or a finalizer may stop the thread, and wait for its end, while it
        interrupts code that holds the lock.
        """
        while not self.lock.acquire(timeout=0.1):
            if self._stopping:
                return False
        if self._stopping:
            self.lock.release()
        return not self._stopping

    def _read_all(self, nursery: NurseryProcess, readable: set[int]) -> None:
        # Workers first: a report about an item comes before the news that its worker has died.
        for slot in self.slots:
            if slot.channel is not None and slot.channel.fileno() in readable:
                try:
                    for message, _ in slot.channel.receive_all():
                        self._on_worker(slot, message)
                except ChannelClosedError:
                    slot.channel.close()
                    slot.channel = None  # the nursery tells how it ended
        if nursery.channel.fileno() in readable or nursery.pidfd in readable:
            try:
                for message, fds in nursery.channel.receive_all():
                    self._on_nursery(message, fds)
            except ChannelClosedError:
                self._on_nursery_end(nursery)

    def _hand_out(self) -> None:
        """Ask worker 0 for the first item, and hand the ring to the workers that are ready."""
        first, slot = self.first, self.slots[0]
        if first is not None and first is not self._asked and slot.ready:
            self._asked = first
            if self.first_result is None:
                slot.send(first)
        if first is not None and self.rehearsal and self.first_result is None:
            for slot in self.slots[1:]:
                if slot.ready and not slot.rehearsed:
                    slot.rehearsed = True
                    slot.send(Rehearse(first))
        if self.ring is None:
            return
        for slot in self.slots:
            owner = slot.number + 1
            ring = self.ring.of(owner)
            if slot.ready and slot.ring is not ring and not (slot.number and self.kept):
                ring.admit(owner)
                slot.ring = ring
                slot.send(
                    Attach(ring.opener(), owner, self._supervisor.singly, ring.run_rows),
                    (ring.fileno(),),
                )
        # After all of that: a worker whose ring is closed ends if it has got no other one.
        while self.retired:
            self.retired.pop().close()

    def _on_first(self, result: FirstSpec | ItemFailure) -> None:
        # After an interrupted call worker 0 may have been asked twice.
        if self.first is not None and result.row == self.first.row:
            self.first_result = result

    def _on_worker(self, slot: WorkerSlot, message: Any) -> None:
        if isinstance(message, ItemFailure):
            if self.ring is None:
                self._on_first(message)
            else:
                self.failures[message.row] = message
        elif isinstance(message, Parcel):
            self.parcels[message.row] = message.data
        elif isinstance(message, FirstSpec):
            self._on_first(message)
        elif isinstance(message, Ready):
            slot.ready, slot.batched = True, message.batched
            if slot.number == 0:
                self._asked = None
        elif isinstance(message, Claimed):
            self.kept = False
        elif isinstance(message, Left):
            slot.left = True
        elif isinstance(message, InitFailed):
            self._end_with(message.failure.exception())

    def _on_nursery(self, message: Any, fds: list[int]) -> None:
        if isinstance(message, Forked):
            self.slots[message.worker].made(message.pid, fds[0])
        elif isinstance(message, Died):
            slot = self.slots[message.worker]
            if slot.life == message.life:
                self._on_death(slot, message)
        elif isinstance(message, ForkFailed):
            self._end_with(
                WorkerStartError(f"worker {message.worker} could not be made: {message.text}")
            )
        elif isinstance(message, NurseryFailed):
            self._end_with(
                WorkerStartError(
                    "the dataset could be pickled, but not unpickled in the process of the "
                    f"workers:\n\n{message.text}"
                )
            )

    def _on_death(self, slot: WorkerSlot, died: Died) -> None:
        if slot.channel is not None:  # what it said last
            with contextlib.suppress(ChannelClosedError):
                for message, _ in slot.channel.receive_all():
                    self._on_worker(slot, message)
        if slot.left:
            slot.close()
            return
        if self.fatal is not None:
            return
        owner = slot.number + 1
        ring = slot.ring
        at = ring.row_at_work(owner) if ring is not None else self._first_at_work(slot)
        row, index = at if at is not None else (None, None)
        productive = self._others_have_worked(slot)
        self.last_death = time.monotonic()
        verdict = self._supervisor.on_death(
            Death(
                slot.number, died.pid, died.code, row, index, productive,
                batched=slot.batched and ring is not None, hung=slot.killed,
                attached=ring is not None,
                stack=slot.crash(),
            )
        )  # fmt: skip
        if verdict.error is not None:
            self._end_with(verdict.error)
            return
        if verdict.singly and row is not None:
            for other in self.slots:
                other.send(Singly(row))
        if ring is not None:
            ring.recover(owner)  # after the notes: they are read before the run is claimed again
        if slot.number == 0:
            self.kept = False
        self._request(slot)
        self._on_change()

    def _others_have_worked(self, dead: WorkerSlot) -> bool:
        """Return True if workers but the dead one have done something since the last death."""
        ring, before = self.ring, self._work
        if ring is None:
            return False
        owners = [slot.number + 1 for slot in self.slots]
        now = self._work = {owner: ring.of(owner).work_of(owner) for owner in owners}
        # The dead worker's row says nothing: it counts if the row is one that kills.
        parts = {owner: 2 if owner == dead.number + 1 else 3 for owner in owners}
        return any(
            before.get(owner, (0, 0, None))[: parts[owner]] != now[owner][: parts[owner]]
            for owner in owners
        )

    def _first_at_work(self, slot: WorkerSlot) -> tuple[int, Any] | None:
        if slot.number == 0 and slot.ready and self.first is not None:
            return self.first.row, self.first.index
        return None

    def _on_nursery_end(self, nursery: NurseryProcess) -> None:
        code = nursery.exit_code()
        end = f"was ended by signal {-code}" if code < 0 else f"exited with status {code}"
        hint = ""
        if not any(slot.ready for slot in self.slots) and code >= 0:
            hint = (
                "; its output says why. With spawn and forkserver, a script needs "
                "`if __name__ == '__main__':` around what starts a loop"
            )
        self._end_with(
            WorkerStartError(f"the process that makes the workers (pid {nursery.pid}) {end}{hint}")
        )
        for slot in self.slots:
            slot.kill()  # nobody else would end them while they make an item

    def _end_with(self, error: Exception) -> None:
        with self.lock:
            if self.fatal is None:
                self.fatal = error
            self._tell()
        self._on_change()

    def _request(self, slot: WorkerSlot) -> None:
        with contextlib.suppress(ChannelClosedError):  # the thread reads why
            slot.request_from(self._nursery.channel)
