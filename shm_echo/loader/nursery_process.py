"""The trainer's side of the nursery: its start, its end, and the channel to it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import threading
from typing import Any

from shm_echo.loader.channel import Channel, ChannelClosedError, wait_readable
from shm_echo.loader.forked_process import ForkedProcess
from shm_echo.loader.messages import End, WorkerSetup
from shm_echo.loader.nursery import nursery_main
from shm_echo.loader.transfer import Transfer, make_process, start_process
from shm_echo.uninterrupted import run_uninterrupted

__all__ = ["NurseryProcess"]

# Seconds that the nursery needs beyond the grace of its workers, on a busy machine.
_EXTRA_GRACE = 10.0


class NurseryProcess:
    """A nursery that is not started yet.

    Args:
        method: the start method.
        setup: what each worker gets.
    """

    channel: Channel  # from `start` on

    def __init__(self, method: str, setup: WorkerSetup) -> None:
        self._method = method
        self._setup = setup
        self._channel: Channel | None = None
        self._theirs: socket.socket | None = None
        self._trainer: io.FileIO | None = None
        self._process: Any = None  # a Popen of multiprocessing, or a ForkedProcess
        self._pidfd: io.FileIO | None = None
        # Held while something is made or ended.
        self._busy = threading.RLock()
        self._closed = False

    def start(self) -> None:
        """Start the process.

        An exception of a signal handler may end this call anywhere: `close` ends what was made.

        Raises:
            WorkerStartError: a part of the setup cannot be pickled, or no process can be made.
        """
        run_uninterrupted(self._prepare)
        process, trainer = self._process, self._trainer
        if isinstance(process, ForkedProcess) and trainer is not None and not self._closed:
            # In this thread: the child shall inherit what belongs to the thread of the loop, such
            # as locks that it holds and may take again.
            process.fork(trainer.fileno())
            if self._closed:  # by a signal handler that came before the fork
                process.kill()
                process.wait()
        run_uninterrupted(self._watch_process)

    def _prepare(self) -> None:
        """Make all but the process; with spawn and forkserver, that too."""
        with self._busy:
            if self._closed:
                return
            self.channel, self._theirs = Channel.pair()
            self._channel = self.channel
            self._trainer = io.FileIO(os.pidfd_open(os.getpid()))
            # It waits there before the start: a trainer that dies just after the start leaves no
            # orphan.
            self.channel.send("trainer", [self._trainer.fileno()])
            fork = self._method == "fork"
            # A fork has this end, too, and closes it: else it would never see that we close ours.
            inherited = self.channel.fileno() if fork else -1
            transfer = Transfer(self._setup, self._method)
            process = make_process(self._method, nursery_main, self._theirs, transfer, inherited)
            self._process = ForkedProcess(process) if fork else start_process(self._method, process)

    def _watch_process(self) -> None:
        with self._busy:
            if self._closed:
                return
            # Our child until it is waited for, or at least the child of a fork server that waits
            # for it only when it has ended: the number is still its own.
            self._pidfd = io.FileIO(os.pidfd_open(self.pid))
            self._close_spare()

    def _close_spare(self) -> None:
        """Close what only the new process uses."""
        if self._theirs is not None:
            self._theirs.close()
        if self._trainer is not None:
            self._trainer.close()

    @property
    def pid(self) -> int:
        """The process; 0 before it was made."""
        return int(self._process.pid) if self._process is not None else 0

    @property
    def pidfd(self) -> int:
        """A descriptor of the process, from `start` to `close`."""
        assert self._pidfd is not None
        return self._pidfd.fileno()

    def exit_code(self) -> int:
        """Wait for the end of the nursery, and return its exit status, negative for a signal."""
        code = self._process.wait()
        return -1 if code is None else int(code)

    def close(self, grace: float) -> None:
        """End the nursery and its workers, which get `grace` seconds for an end of their own.

        An exception of a signal handler ends the wait for that, not the work.
        """
        run_uninterrupted(lambda: self._close(grace))

    def _close(self, grace: float) -> None:
        with self._busy:
            if self._closed:
                return
            if self.pid:
                self._end(grace)
                self._process.close()  # the pipes that multiprocessing keeps to it
            self._close_spare()
            if self._channel is not None:
                self._channel.close()
            if self._pidfd is not None:
                self._pidfd.close()
            self._closed = True

    def _end(self, grace: float) -> None:
        if self._pidfd is not None and not self._pidfd.closed:
            with contextlib.suppress(ChannelClosedError):
                self.channel.send(End(grace))
            if not wait_readable([self.pidfd], grace + _EXTRA_GRACE):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        elif self._pidfd is None:  # the start was interrupted
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._process.wait()
