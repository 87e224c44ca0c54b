"""The trainer's handles of one worker: its channel, its pidfd, the file of its stack."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from typing import Any

from shm_echo.loader.channel import Channel, ChannelClosedError
from shm_echo.loader.messages import Fork
from shm_echo.loader.signals import read_crash, read_stack

__all__ = ["WorkerSlot"]


class WorkerSlot:
    """The place of one worker, which replacements take over.

    Attributes:
        number: the number of the worker.
        life: how many workers have had this place before; tells late news apart.
        pid: the process; None until it is made and after its end.
        ready: True once it waits for requests.
        rehearsed: True once it was asked to make the first item, too.
        batched: True if its dataset makes the rows of a run together.
        ring: the ring that it has got last; None for none.
        killed: True once the loader itself has killed it.
        left: True once it ends because the ring is closed.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.life = -1
        self.pid: int | None = None
        self.ready = self.rehearsed = self.batched = self.killed = self.left = False
        self.ring: Any = None
        self.channel: Channel | None = None
        # Files close once only, even if a signal handler interrupts whoever closes them.
        self._pidfd: io.FileIO | None = None
        self._stack: io.FileIO | None = None

    def request_from(self, nursery: Channel) -> None:
        """Ask the nursery for a worker in this place.

        Raises:
            ChannelClosedError: the nursery has ended.
        """
        self.close()
        self.life += 1
        self.ready = self.rehearsed = self.batched = self.killed = self.left = False
        self.ring = None
        self._stack = io.FileIO(os.memfd_create("shm-echo-stack", os.MFD_CLOEXEC))
        self.channel, theirs = Channel.pair()
        with theirs:
            nursery.send(Fork(self.number, self.life), [theirs.fileno(), self._stack.fileno()])

    def made(self, pid: int, pidfd: int) -> None:
        """Note the process of the worker; takes over its pidfd."""
        self.pid, self._pidfd = pid, io.FileIO(pidfd)

    def send(self, message: Any, fds: tuple[int, ...] = ()) -> None:
        """Send a message to the worker. One that has ended gets none: its death is on its way."""
        if self.channel is not None:
            with contextlib.suppress(ChannelClosedError):
                self.channel.send(message, fds)

    def kill(self) -> None:
        """Kill the worker, if it has not ended."""
        if self._pidfd is not None and not self._pidfd.closed:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd.fileno(), signal.SIGKILL)

    def stack(self) -> str:
        """Return the Python stack of the worker, "" if it gives none."""
        if self.pid is None or self._pidfd is None or self._stack is None:
            return ""
        return read_stack(self.pid, self._pidfd.fileno(), self._stack.fileno())

    def crash(self) -> str:
        """Return the Python stack of a worker that has crashed, "" if it gave none."""
        return read_crash(self._stack.fileno()) if self._stack is not None else ""

    def close(self) -> None:
        """Close all descriptors of the worker."""
        self.pid = None
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self._pidfd is not None:
            self._pidfd.close()
            self._pidfd = None
        if self._stack is not None:
            self._stack.close()
            self._stack = None
