"""The nursery: a process with one thread that makes the workers.

It is made before the first worker, by fork, spawn or forkserver. A worker that has died is replaced
by a fork of the nursery, never of the trainer's process, which may have threads or a GPU by then.
The nursery has no other work: it reaps its workers, tells the trainer about their ends, and ends
them all when the trainer's process has ended.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

from shm_echo.loader.channel import Channel, ChannelClosedError, wait_readable
from shm_echo.loader.messages import (
    Died,
    End,
    Fork,
    Forked,
    ForkFailed,
    NurseryFailed,
    NurseryReady,
    WorkerSetup,
)
from shm_echo.loader.signals import set_child_signals, show_stack_on_signal
from shm_echo.loader.transfer import Transfer, TransferError
from shm_echo.loader.worker_main import run_worker

__all__ = ["nursery_main"]


@dataclass(frozen=True)
class _Child:
    worker: int
    life: int
    pid: int


def nursery_main(sock: socket.socket, transfer: Transfer, inherited: int) -> NoReturn:
    """Run the nursery in a new process, to the end of that process.

    Args:
        sock: its end of the channel to the trainer. The first message carries the trainer's pidfd.
        transfer: the dataset, and what belongs to it.
        inherited: descriptor of the trainer's end of the channel that a fork has here, or -1.
    """
    status = 1
    try:
        if inherited >= 0:
            os.close(inherited)
        set_child_signals()
        status = _run(Channel(sock), transfer)
    except ChannelClosedError:
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        # Without the exit handlers of the process that this one was forked from.
        os._exit(status)


def _run(channel: Channel, transfer: Transfer) -> int:
    _, fds = channel.receive()
    try:
        setup = transfer.load()
    except TransferError as error:
        channel.send(NurseryFailed(str(error)))
        return 1
    # Objects from before the forks stay in shared pages: a collection would write to each of them.
    gc.freeze()
    nursery = _Nursery(channel, setup, fds[0])
    try:
        channel.send(NurseryReady())
        return nursery.run()
    finally:
        nursery.kill_all()


class _Nursery:
    def __init__(self, channel: Channel, setup: WorkerSetup, trainer: int) -> None:
        self._channel = channel
        self._setup = setup
        self._trainer = trainer
        self._children: dict[int, _Child] = {}  # by pidfd
        self._deadline: float | None = None

    def run(self) -> int:
        """Serve the trainer until it asks for the end, or has ended."""
        while self._deadline is None or self._children:
            timeout = None
            if self._deadline is not None:
                timeout = self._deadline - time.monotonic()
                if timeout <= 0:
                    return 0
            readable = wait_readable(
                [self._channel.fileno(), self._trainer, *self._children], timeout
            )
            if self._trainer in readable:
                return 0
            for pidfd in readable:
                if pidfd in self._children:
                    self._reap(pidfd)
            if self._channel.fileno() in readable:
                self._serve()
        return 0

    def kill_all(self) -> None:
        """Kill the workers that have not ended, and wait for their ends."""
        for pidfd in self._children:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pidfd, child in self._children.items():
            # One that hangs in the kernel does not end: the machine's init reaps it then.
            if wait_readable([pidfd], 5.0):
                os.waitpid(child.pid, 0)

    def _serve(self) -> None:
        for message, fds in self._channel.receive_all():
            if isinstance(message, Fork):
                self._fork(message, fds)
            elif isinstance(message, End):
                self._deadline = time.monotonic() + message.grace

    def _reap(self, pidfd: int) -> None:
        child = self._children.pop(pidfd)
        _, status = os.waitpid(child.pid, 0)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(status)
        self._channel.send(Died(child.worker, child.life, child.pid, code))

    def _fork(self, request: Fork, fds: list[int]) -> None:
        sock, stack = fds
        _flush()  # what is left in the buffers would be written twice
        try:
            pid = os.fork()
        except OSError as error:
            self._channel.send(ForkFailed(request.worker, str(error)))
            _close(fds)
            return
        if pid == 0:
            self._become_worker(request.worker, sock, stack)
        _close(fds)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:  # no descriptor is left
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._channel.send(ForkFailed(request.worker, str(error)))
            return
        self._children[pidfd] = _Child(request.worker, request.life, pid)
        self._channel.send(Forked(request.worker, request.life, pid), [pidfd])

    def _become_worker(self, number: int, sock: int, stack: int) -> NoReturn:
        status = 1
        try:
            self._channel.close()
            _close([*self._children])
            show_stack_on_signal(stack)
            with socket.socket(fileno=sock) as channel:  # unclosed, it warns under -X dev
                status = run_worker(self._setup, number, channel, self._trainer)
        except BaseException:
            traceback.print_exc()
        finally:
            _flush()
            os._exit(status)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Any exception: a closed or broken stream must not change how a process ends.
        with contextlib.suppress(Exception):
            _flush_stream(stream)


def _flush_stream(stream: Any) -> None:
    if stream is not None:
        stream.flush()
