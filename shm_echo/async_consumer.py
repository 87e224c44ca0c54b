"""Batches for coroutines and event loops: one thread waits, and the awaiting task takes.

An event loop must not sleep in the ring. So one helper thread for each server, started at first
use, sleeps there instead; it takes nothing. When something has happened, or a slice of waiting has
ended, it wakes the tasks that wait. Each of them then makes one round of looking and taking,
without an `await`: a task that is cancelled has taken nothing, or it returns what it took.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref

from shm_echo.consumer import Consumer, Sample
from shm_echo.ring.core import Result
from shm_echo.ring.core import _core_cpython as core
from shm_echo.validation import seconds
from shm_echo.wait_limits import NotReadyError, PolledWait

__all__ = ["AsyncConsumer"]

# Seconds of one wait in C when no task asks for less, as in a plain `sample()`.
_SLICE = 0.1


class AsyncConsumer:
    """The learner's end of one ring, for coroutines and event loops.

    Args:
        consumer: the end that takes batches.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._waker = _Waker(consumer.receiver)

    async def take(
        self,
        timeout: float | None,
        partial: bool = False,
        until_closed_by: int | None = None,
        copy: bool = False,
    ) -> Sample | None:
        """Await the next batch and return it, or None at the end of the stream.

        Args:
            timeout: seconds to wait; None waits without limit.
            partial: end the batch now and return the samples that it has.
            until_closed_by: as for `Consumer.take`.
            copy: return private arrays and free the ring's memory at once.
        """
        polled = PolledWait(seconds("timeout", timeout))
        try:
            while True:
                # Written out, because each call that returns is a place for an interrupt, as is the
                # end of a `with`. No await comes after the taking: a cancelled task loses nothing.
                handover = self._consumer.handover()
                try:
                    sample = self._consumer.take(
                        handover, None, partial, until_closed_by, copy, polled
                    )
                    handover.confirm()
                    return sample
                except NotReadyError:
                    handover.put_back()
                except BaseException:
                    handover.put_back()
                    raise
                await self._waker.sleep(polled.pause)
        except BaseException:
            if partial:
                self._consumer.unseal()
            raise

    def fileno(self) -> int:
        """Return a descriptor that is readable when a batch may be there."""
        if self._waker.open_descriptor():
            self._consumer.around_each_take(self._waker.look_away, self._waker.watch_again)
        return self._waker.fd

    def close(self) -> None:
        """Wake every task and every loop, and end the thread. The consumer is closed already."""
        self._waker.stop()


class _Waker:
    """The helper thread: it waits for batches, and wakes tasks and the descriptor.

    Args:
        receiver: the ring's C consumer.

    Attributes:
        fd: an eventfd that is readable when a batch may be there; -1 unless it was opened.
    """

    def __init__(self, receiver: core.Receiver) -> None:
        self._receiver = receiver
        self._changed = threading.Condition()  # guards all below
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None], float]] = []
        self._thread: threading.Thread | None = None
        self._watched = False  # the next event makes the descriptor readable
        self._stopped = False
        self.fd = -1

    # ---------------------------------------------------------------- the callers' side

    async def sleep(self, pause: float) -> None:
        """Sleep until something happens in the ring, for at most `pause` seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        # The thread may be in a longer wait, which another task asked for.
        timer = loop.call_later(pause, _wake, future)
        sleeper = (loop, future, pause)
        with self._changed:
            if self._stopped:
                _wake(future)
            else:
                self._sleepers.append(sleeper)
                self._work()
        try:
            await future
        finally:
            timer.cancel()
            with self._changed:
                if sleeper in self._sleepers:  # by identity: futures have no other equality
                    self._sleepers.remove(sleeper)
                    if not self._sleepers and not self._watched:
                        self._receiver.wake()  # nobody needs the wait that is in progress

    def open_descriptor(self) -> bool:
        """Open the descriptor, and watch for it; return False if it is open already."""
        with self._changed:
            if self.fd >= 0:
                return False
            self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            # Not in stop(): a loop in another thread must see the end of the stream, and a
            # number that is closed and used again must not be in its set.
            weakref.finalize(self, os.close, self.fd)
            self._watched = True
            self._work()
            return True

    def look_away(self) -> None:
        """Make the descriptor unreadable, before a batch is looked for."""
        with self._changed:
            if self._stopped:
                return
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self.fd)
            self._watched = False

    def watch_again(self) -> None:
        """Make the descriptor readable at the next event, after a batch was looked for.

        Not before: the thread would hold the consumer's lock, and a call that may not wait for it
        would find no batch.
        """
        with self._changed:
            if self._stopped:
                return
            self._watched = True
            self._work()

    def stop(self) -> None:
        """End the thread, and wake all that sleep. The ring must be closed already, or soon."""
        with self._changed:
            self._stopped = True
            self._wake_all()
            self._changed.notify()
        self._receiver.wake()

    def _work(self) -> None:
        """Make the thread wait for a batch; the lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shm-echo waker", daemon=True)
            self._thread.start()
        self._changed.notify()

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._stopped or self._sleepers or self._watched):
                    self._changed.wait()
                if self._stopped:
                    return
                pause = min((pause for _, _, pause in self._sleepers), default=_SLICE)
            result = self._receiver.watch(int(pause * 1e9))
            with self._changed:
                self._wake_all(descriptor=result != Result.TIMEOUT)

    def _wake_all(self, descriptor: bool = True) -> None:
        """Wake all that sleep; the lock is held."""
        sleepers, self._sleepers = self._sleepers, []
        for loop, future, _ in sleepers:
            with contextlib.suppress(RuntimeError):  # that loop was closed
                loop.call_soon_threadsafe(_wake, future)
        if self._watched and descriptor:
            self._watched = False
            os.eventfd_write(self.fd, 1)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
