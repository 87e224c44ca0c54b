"""A thread that serves non-blocking sockets: the loop of `shm_acceptor` and `control_channel`."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork

__all__ = ["LogLimit", "SocketThread", "start_without_signals"]

_log = logging.getLogger("shm_echo")

# Seconds that `close` waits for the thread, which never waits for a peer.
_JOIN = 5.0


class LogLimit:
    """Lets one line a minute through for each subject.

    Args:
        clock: the time in seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}

    def warn(self, subject: str, text: str, *arguments: object) -> None:
        """Log a warning, unless one of this subject was logged within the last minute."""
        now = self._clock()
        if now >= self._next.get(subject, now):
            self._next[subject] = now + 60.0
            _log.warning(text, *arguments)


def start_without_signals(thread: threading.Thread) -> None:
    """Start a thread that has all signals blocked, so that they reach another one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SocketThread:
    """A thread with a selector. Each registered socket has a function that is called when ready.

    Subclasses register sockets in `selector`, with the function as the data, and override
    `seconds_to_next`, `on_time` and `close_all`. All of these run on the thread.

    Args:
        name: the name of the thread.

    Raises:
        DescriptorLimitError: this process may open no more descriptors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: deque[Callable[[], object]] = deque()
        self._wake_lock = threading.Lock()  # guards _wake against closing, and _calls
        self._stopping = False
        self._ended = False
        with FORK_LOCK:
            try:
                self.selector = selectors.DefaultSelector()
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            except OSError:
                raise descriptor_limit_error(f"the thread {name}") from None
            self.selector.register(self._wake, selectors.EVENT_READ, self._on_wake)
            register_at_fork(self)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # ------------------------------------------------------------ for other threads

    def start(self) -> None:
        """Start the thread."""
        start_without_signals(self._thread)

    def call_soon(self, function: Callable[[], object]) -> bool:
        """Call a function once, soon, on the thread.

        Returns:
            False if the thread has ended; then the function is not called.
        """
        with self._wake_lock:
            if self._ended:
                return False
            self._calls.append(function)
            os.eventfd_write(self._wake, 1)
            return True

    def wake(self) -> None:
        """Make the thread look at its calls and its time."""
        with self._wake_lock:
            if not self._ended:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End the thread, and close its sockets. Later calls do nothing."""
        self._stopping = True
        if self._thread.ident is None:
            self._end()
            return
        self.wake()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN)

    def after_fork_in_child(self) -> None:
        """Close the descriptors that a forked child has inherited, and send nothing."""
        self._stopping = True
        if not self._ended:
            self._ended = True
            self.close_in_child()
            self.selector.close()
            os.close(self._wake)

    # ------------------------------------------------------------ for subclasses

    def seconds_to_next(self, now: float) -> float | None:
        """Return the seconds until `on_time` has something to do; None if there is nothing."""

    def on_time(self, now: float) -> None:
        """Do what is due."""

    def close_all(self) -> None:
        """Close the sockets."""

    def close_in_child(self) -> None:
        """Close the sockets in the child of a fork: send nothing, take no lock."""
        self.close_all()

    def forget(self, sock: socket.socket) -> None:
        """Stop watching a socket; one that is not watched is left alone."""
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(sock)

    def watch(self, sock: socket.socket, events: int, function: Callable[[], None]) -> None:
        """Call a function when a socket is ready, instead of what was called before."""
        try:
            self.selector.modify(sock, events, function)
        except KeyError:
            self.selector.register(sock, events, function)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                for key, _ in self.selector.select(self._timeout()):
                    self._safely(key.data)
                while self._calls:
                    self._safely(self._calls.popleft())
                self.on_time(time.monotonic())
        except Exception:
            _log.exception("the thread %s has failed, and serves no longer", self._name)
        finally:
            self._end()

    def _timeout(self) -> float | None:
        if self._calls:
            return 0.0
        seconds = self.seconds_to_next(time.monotonic())
        return None if seconds is None else max(0.0, seconds)

    def _safely(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:
            _log.exception("an error in the thread %s, which goes on", self._name)

    def _on_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _end(self) -> None:
        with self._wake_lock:
            if self._ended:
                return
            self._ended = True
            os.close(self._wake)
        while self._calls:  # a call that hands over a socket is made still
            self._safely(self._calls.popleft())
        self.close_all()
        self.selector.close()
